"""Invertible normalisers of data; their statistics are buffers, so they are saved with the model."""

import torch
from torch import nn

KNOTS = 1001
SMALLEST = 1e-6  # standard deviation or half range up to which a dimension counts as constant


class Normalizer(nn.Module):
    """Base class: stores the range of the normalised data, `low` and `high`, (D,).

    A subclass defines `fit_map`, which fits its statistics, `forward` and `inverse`.
    """

    def __init__(self, dimensions: int):
        super().__init__()
        self.register_buffer("low", torch.zeros(dimensions))
        self.register_buffer("high", torch.zeros(dimensions))

    def fit(self, x: torch.Tensor):
        """Fits the map to (N, D) data."""
        self.fit_map(x)
        z = self(x)
        self.low.copy_(z.amin(0))
        self.high.copy_(z.amax(0))


class Gaussian(Normalizer):
    """Maps each of D dimensions to mean 0 and standard deviation 1; the inverse keeps constant dimensions constant."""

    def __init__(self, dimensions: int):
        super().__init__(dimensions)
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("std", torch.ones(dimensions))

    def fit_map(self, x: torch.Tensor):
        self.mean.copy_(x.double().mean(0))
        self.std.copy_(x.double().std(0).clamp_min(SMALLEST))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.mean) / self.std

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return z * self.std.where(self.std > SMALLEST, 0) + self.mean


class MinMax(Normalizer):
    """Maps each of D dimensions to [-1, 1]; the inverse keeps constant dimensions constant."""

    def __init__(self, dimensions: int):
        super().__init__(dimensions)
        self.register_buffer("middle", torch.zeros(dimensions))
        self.register_buffer("radius", torch.ones(dimensions))

    def fit_map(self, x: torch.Tensor):
        low, high = x.double().aminmax(dim=0)
        self.middle.copy_((low + high) / 2)
        self.radius.copy_(((high - low) / 2).clamp_min(SMALLEST))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.middle) / self.radius

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        return z * self.radius.where(self.radius > SMALLEST, 0) + self.middle


class Cdf(Normalizer):
    """Maps each dimension through its empirical distribution function to [-1, 1] (DWM, Decision Diffuser).

    The function is piecewise linear between `KNOTS` quantiles. Beyond the data it continues with the slope of the
    outermost thousandth, so that the inverse gives a state outside the data instead of clamping to its edge.
    """

    def __init__(self, dimensions: int):
        super().__init__(dimensions)
        self.register_buffer("quantiles", torch.zeros(dimensions, KNOTS))

    def fit_map(self, x: torch.Tensor):
        ordered = x.double().sort(0).values.T  # (D, N)
        position = torch.linspace(0, ordered.shape[1] - 1, KNOTS, dtype=torch.float64, device=x.device)
        below = position.long().clamp_max(ordered.shape[1] - 2)
        quantiles = torch.lerp(ordered[:, below], ordered[:, below + 1], (position - below)[None])
        self.quantiles.copy_(quantiles)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1]).T.contiguous()  # (D, batch)
        upper = torch.searchsorted(self.quantiles, flat).clamp(1, KNOTS - 1)
        low, high = self.quantiles.gather(1, upper - 1), self.quantiles.gather(1, upper)
        part = torch.where(high > low, (flat - low) / (high - low), 0.5)  # the middle between two equal quantiles
        cumulative = (upper - 1 + part) / (KNOTS - 1)
        return (2 * cumulative - 1).T.reshape(x.shape)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        flat = (z.reshape(-1, z.shape[-1]).T + 1) / 2 * (KNOTS - 1)
        lower = flat.long().clamp(0, KNOTS - 2)
        low, high = self.quantiles.gather(1, lower), self.quantiles.gather(1, lower + 1)
        return torch.lerp(low, high, flat - lower).T.reshape(z.shape)


NORMALIZERS = {"gaussian": Gaussian, "minmax": MinMax, "cdf": Cdf}

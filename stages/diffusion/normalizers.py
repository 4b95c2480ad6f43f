"""Maps from data to what a denoiser likes, and back; their statistics are buffers, so they travel in the checkpoint."""

import torch
from torch import nn

KNOTS = 1001
SMALLEST = 1e-6  # standard deviation; below it, a dimension counts as constant


class Normalizer(nn.Module):
    """What both have: the range of the normalised data, `low` and `high`, (D,)."""

    def __init__(self, dimensions: int):
        super().__init__()
        self.register_buffer("low", torch.zeros(dimensions))
        self.register_buffer("high", torch.zeros(dimensions))

    def fit(self, x: torch.Tensor):
        """(N, D) data."""
        self.fit_map(x)
        z = self(x)
        self.low.copy_(z.amin(0))
        self.high.copy_(z.amax(0))


class Standard(Normalizer):
    """Mean 0 and standard deviation 1 in each of D dimensions; one that is constant always comes back as it was."""

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


class Cdf(Normalizer):
    """Each dimension through its own empirical distribution function, to [-1, 1] (DWM, Decision Diffuser).

    The function is piecewise linear between `KNOTS` quantiles. Beyond the data it goes on with the slope of the
    outermost thousandth, so that the inverse is a state outside the data and not a silent copy of its edge.
    """

    def __init__(self, dimensions: int):
        super().__init__(dimensions)
        self.register_buffer("quantiles", torch.zeros(dimensions, KNOTS))

    def fit_map(self, x: torch.Tensor):
        ordered = x.double().sort(0).values.T  # (D, N)
        place = torch.linspace(0, ordered.shape[1] - 1, KNOTS, dtype=torch.float64, device=x.device)
        below = place.long().clamp_max(ordered.shape[1] - 2)
        quantiles = torch.lerp(ordered[:, below], ordered[:, below + 1], (place - below)[None])
        self.quantiles.copy_(quantiles)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1]).T.contiguous()  # (D, batch)
        upper = torch.searchsorted(self.quantiles, flat).clamp(1, KNOTS - 1)
        low, high = self.quantiles.gather(1, upper - 1), self.quantiles.gather(1, upper)
        part = torch.where(high > low, (flat - low) / (high - low), 0.5)  # many equal values make a step, not a slope
        cumulative = (upper - 1 + part) / (KNOTS - 1)
        return (2 * cumulative - 1).T.reshape(x.shape)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        flat = (z.reshape(-1, z.shape[-1]).T + 1) / 2 * (KNOTS - 1)
        lower = flat.long().clamp(0, KNOTS - 2)
        low, high = self.quantiles.gather(1, lower), self.quantiles.gather(1, lower + 1)
        return torch.lerp(low, high, flat - lower).T.reshape(z.shape)


NORMALIZERS = {"standard": Standard, "cdf": Cdf}

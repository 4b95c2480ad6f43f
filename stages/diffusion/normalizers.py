"""Maps from data to what a denoiser likes, and back; their statistics are buffers, so they travel in the checkpoint."""

import torch
from torch import nn

KNOTS = 1001
SMALLEST = 1e-6  # standard deviation, or half the range; up to it, a dimension counts as constant


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


class Gaussian(Normalizer):
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


class MinMax(Normalizer):
    """Each of D dimensions to [-1, 1]; one that is constant always comes back as it was."""

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


NORMALIZERS = {"gaussian": Gaussian, "minmax": MinMax, "cdf": Cdf}


class StepNormalizer(nn.Module):
    """Of the steps of a window: a reward, perhaps whether the task ends there (0 or 1), perhaps the action, and the
    state after it.

    The terminal goes to ±1 as it is; SynthER leaves it as it is too.

    Arguments:
        states, rewards: kinds of `NORMALIZERS`; actions have that of the states.
        actions: how many of its dimensions are the action's, 0 where a step does not hold it.
    """

    def __init__(self, state: int, terminal: bool, states: str, rewards: str, actions: int = 0):
        super().__init__()
        self.rewards, self.states = NORMALIZERS[rewards](1), NORMALIZERS[states](state)
        self.actions = NORMALIZERS[states](actions) if actions else None
        self.split = [1, int(terminal), actions, state]

    def fit(self, steps: torch.Tensor):
        """(N, D) steps of the data."""
        rewards, _, actions, states = steps.split(self.split, dim=-1)
        self.rewards.fit(rewards)
        self.states.fit(states)
        if self.actions:
            self.actions.fit(actions)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """(…, D) → the same normalised."""
        rewards, terminals, actions, states = steps.split(self.split, dim=-1)
        own = [self.actions(actions)] if self.actions else []
        return torch.cat([self.rewards(rewards), 2 * terminals - 1, *own, self.states(states)], dim=-1)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        rewards, terminals, actions, states = z.split(self.split, dim=-1)
        own = [self.actions.inverse(actions)] if self.actions else []
        return torch.cat(
            [self.rewards.inverse(rewards), (terminals + 1) / 2, *own, self.states.inverse(states)], dim=-1
        )

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The range of the normalised data, (D,) each."""
        one, middle = self.rewards.low.new_ones(self.split[1]), [self.actions] if self.actions else []
        lows, highs = ([getattr(part, end) for part in (*middle, self.states)] for end in ("low", "high"))
        return torch.cat([self.rewards.low, -one, *lows]), torch.cat([self.rewards.high, one, *highs])

"""Diffusion models of windows for all learners at once, given the state that a window begins in."""

from collections.abc import Sequence

import torch
from torch import nn

from stages.diffusion.embedding import features
from stages.diffusion.process import Edm
from stages.policy.draws import Draw
from stages.policy.networks import LayerNorm, Linear


class Block(nn.Module):
    """A pre-normalised residual layer, as in the world model."""

    def __init__(self, width: int, streams: Sequence[torch.Generator]):
        super().__init__()
        self.norm, self.linear = LayerNorm(width, len(streams)), Linear(width, width, streams)

    def forward(self, x):
        return x + self.linear(nn.functional.silu(self.norm(x)))


class Residual(nn.Module):
    """A residual MLP of all learners: (learners, batch, in) → (learners, batch, out)."""

    def __init__(self, inputs: int, outputs: int, settings, streams: Sequence[torch.Generator]):
        super().__init__()
        self.enter = Linear(inputs, settings.width, streams)
        self.blocks = nn.ModuleList(Block(settings.width, streams) for _ in range(settings.blocks))
        self.norm = LayerNorm(settings.width, len(streams))
        self.leave = Linear(settings.width, outputs, streams)

    def forward(self, x):
        x = self.enter(x)
        for block in self.blocks:
            x = block(x)
        return self.leave(nn.functional.silu(self.norm(x)))


class Denoiser(Residual):
    """A diffusion model of windows, given the state that they begin in and, if `returns`, the return to reach.

    Arguments:
        step: numbers in a step of the noisy window; outputs: numbers in a step of the clean estimate, its last ones.
    """

    def __init__(self, state: int, step: int, outputs: int, returns: bool, settings, streams):
        given = state + features.width + returns * (features.width + 1)
        super().__init__(settings.horizon * step + given, settings.horizon * outputs, settings, streams)
        self.returns, self.outputs, self.process = returns, outputs, Edm(settings)

    def raw(self, points, level, condition):
        """The network F: scaled noisy windows (learners, batch, H, D) and noise labels (learners, batch) → F."""
        output = super().forward(torch.cat([points.flatten(-2), features(level), condition], dim=-1))
        return output.unflatten(-1, (points.shape[-2], self.outputs))

    def condition(self, states, returns=None, known=None) -> torch.Tensor:
        """States (learners, batch, S), normalised returns and whether they are given, (learners, batch, 1) each."""
        if not self.returns:
            return states
        return torch.cat([states, features(returns[..., 0]) * known, known], dim=-1)

    def forward(self, points, sigma, condition) -> torch.Tensor:
        """Noisy windows (learners, batch, H, D), levels σ (learners, batch) → clean estimate of their last columns."""
        scale, skip, out = (part[..., None, None] for part in self.process.coefficients(sigma))
        return skip * points[..., -self.outputs :] + out * self.raw(scale * points, sigma.log() / 4, condition)

    def loss(self, steps, exists, condition, normal, uniform, noise, first_weight: float) -> torch.Tensor:
        """EDM's loss averaged over the steps that exist, the first one with a weight of its own: (learners,).

        Arguments:
            steps: (learners, batch, H, D), clean; exists: (learners, batch, H).
            normal, uniform: (learners, batch, 1); noise: (learners, batch, H · D).
        """
        sigma = self.process.draw(normal, uniform)[..., 0]
        points = steps + sigma[..., None, None] * noise.view_as(steps)
        error = (self(points, sigma, condition) - steps[..., -self.outputs :]).square().mean(-1) * exists
        error = torch.cat([first_weight * error[..., :1], error[..., 1:]], dim=-1)
        return (self.process.weight(sigma) * error.sum(-1)).sum(-1) / exists.sum((1, 2))


def draws_of_window(horizon: int, step: int, name: str = "") -> dict[str, Draw]:
    """The random numbers of `Denoiser.loss`, their names beginning with `name`."""
    return {
        f"{name}level": Draw("normal", 1),
        f"{name}uniform": Draw("uniform", 1),
        f"{name}noise": Draw("normal", horizon * step),
    }


def leveled(count: int, states) -> torch.Tensor:
    """(learners, batch) tensor of one noise level, for (learners, batch, S) states."""
    return torch.full(states.shape[:2], float(count), device=states.device)

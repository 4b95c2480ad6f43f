"""The small preset's denoiser: a residual MLP over the flattened window."""

import torch
from torch import nn

from stages.diffusion.embedding import features


class Block(nn.Module):
    """A pre-normalised residual layer."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(nn.functional.silu(self.norm(x)))


class MlpDenoiser(nn.Module):
    """A residual MLP on the flattened window and its `model.Condition`."""

    def __init__(self, horizon: int, step: int, state: int, action: int, config):
        super().__init__()
        conditions = state + action + features.width * 2 + 1
        self.enter = nn.Linear(horizon * step + conditions, config.width)
        self.blocks = nn.Sequential(*[Block(config.width) for _ in range(config.blocks)])
        self.leave = nn.Sequential(nn.LayerNorm(config.width), nn.SiLU(), nn.Linear(config.width, horizon * step))

    def forward(self, x, level, condition):
        """Scaled noisy window (B, H, D), noise label (B,), Condition → (B, H, D)."""
        known = condition.returns_known[:, None]
        returns = features(condition.returns) * known
        inputs = [x.flatten(1), condition.states, condition.actions, returns, known, features(level)]
        hidden = self.blocks(self.enter(torch.cat(inputs, dim=1)))
        return self.leave(hidden).view_as(x)

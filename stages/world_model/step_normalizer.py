"""Normalises the steps of a window: rewards, terminal flags, actions and states separately."""

import torch
from torch import nn

from stages.diffusion.normalizers import NORMALIZERS


class StepNormalizer(nn.Module):
    """Normaliser of a window's steps: reward, optional terminal flag (0 or 1) and action, and next state.

    The terminal flag is mapped to ±1 without statistics.

    Arguments:
        states, rewards: names in `NORMALIZERS`; actions use that of the states.
        actions: number of action dimensions, 0 if a step holds no action.
    """

    def __init__(self, state: int, terminal: bool, states: str, rewards: str, actions: int = 0):
        super().__init__()
        self.rewards, self.states = NORMALIZERS[rewards](1), NORMALIZERS[states](state)
        self.actions = NORMALIZERS[states](actions) if actions else None
        self.split = [1, int(terminal), actions, state]

    def fit(self, steps: torch.Tensor):
        """Fits all parts to (N, D) steps of the data."""
        rewards, _, actions, states = steps.split(self.split, dim=-1)
        self.rewards.fit(rewards)
        self.states.fit(states)
        if self.actions:
            self.actions.fit(actions)

    def forward(self, steps: torch.Tensor) -> torch.Tensor:
        """Normalises steps (…, D)."""
        rewards, terminals, actions, states = steps.split(self.split, dim=-1)
        normalized = [self.actions(actions)] if self.actions else []
        return torch.cat([self.rewards(rewards), 2 * terminals - 1, *normalized, self.states(states)], dim=-1)

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        """Maps normalised steps (…, D) back."""
        rewards, terminals, actions, states = z.split(self.split, dim=-1)
        inverted = [self.actions.inverse(actions)] if self.actions else []
        return torch.cat(
            [self.rewards.inverse(rewards), (terminals + 1) / 2, *inverted, self.states.inverse(states)], dim=-1
        )

    def bounds(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The range of the normalised data, (D,) each."""
        terminal = self.rewards.low.new_ones(self.split[1])
        parts = [self.actions, self.states] if self.actions else [self.states]
        low = torch.cat([self.rewards.low, -terminal, *(part.low for part in parts)])
        high = torch.cat([self.rewards.high, terminal, *(part.high for part in parts)])
        return low, high

"""Batches for all learners at once, drawn from data that stay on the device."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.common.transitions import Transitions


@dataclass(frozen=True)
class Batch:
    """(learners, batch) transitions, states normalised and rewards scaled as the settings say."""

    states_and_actions: torch.Tensor  # (learners, batch, S + A)
    rewards: torch.Tensor  # (learners, batch)
    discounts: torch.Tensor  # (learners, batch)
    next_states: torch.Tensor  # (learners, batch, S)
    next_actions: torch.Tensor | None = None  # (learners, batch, A), where they are asked for
    next_known: torch.Tensor | None = None  # (learners, batch), 1 where the data tell the next action, else 0

    @property
    def states(self) -> torch.Tensor:
        return self.states_and_actions[..., : self.next_states.shape[-1]].contiguous()

    @property
    def actions(self) -> torch.Tensor:
        return self.states_and_actions[..., self.next_states.shape[-1] :]


def following_actions(data: Transitions) -> tuple[np.ndarray, np.ndarray]:
    """The action that the data took next, (N, A), and whether they tell it, (N, 1) of 0 and 1.

    They do where the next row starts in the very state where this one ends.
    """
    known = np.zeros((len(data), 1), dtype=np.float32)
    known[:-1, 0] = (data.observations[1:] == data.next_observations[:-1]).all(1)
    return np.roll(data.actions, -1, axis=0), known


class Batches:
    """Real and synthetic transitions as one table of rows on the device, drawn with replacement.

    Learner i learns from the synthetic rows of generator i mod generators. States are normalised by the real data's
    mean and standard deviation (plus 1e-3, as TD3+BC does), rewards are `reward_scale` times themselves plus
    `reward_shift`; the scale "returns" is 1000 / (largest - smallest episode return), IQL's for locomotion.

    Arguments:
        real: all real transitions.
        chosen: those of them that are learned from.
        settings: `batch`, `normalize_states`, `reward_scale` and `reward_shift`.

    Attributes:
        mean, std: (S,) tensors, what the states were normalised by.
        largest_return: an upper bound of the discounted return's size that such rewards and discounts allow.
    """

    def __init__(
        self,
        real: Transitions,
        chosen: Transitions,
        synthetic: Transitions | None,
        learners: int,
        settings,
        next_actions: bool,
        device: torch.device,
    ):
        self.sizes = (real.observations.shape[1], real.actions.shape[1])
        self.next_actions, self.settings, batch = next_actions, settings, settings.batch
        mean, std = real.observations.mean(0, dtype=np.float64), real.observations.std(0, dtype=np.float64) + 1e-3
        if not settings.normalize_states:
            mean, std = np.zeros_like(mean), np.ones_like(std)
        self.mean, self.std = (torch.from_numpy(value.astype(np.float32)).to(device) for value in (mean, std))
        self.scale = reward_scale(real) if settings.reward_scale == "returns" else settings.reward_scale
        self.rows = torch.cat([self.table(data, device) for data in (chosen, synthetic) if data is not None])
        rewards, discounts = (self.rows[:, sum(self.sizes) + k] for k in (0, 1))
        self.largest_return = float((rewards.abs() / (1 - discounts)).max())

        # Row k of a learner's batch comes from first[learner, k] and the count[learner, k] rows that follow.
        self.first = torch.zeros(learners, batch, device=device)
        self.count = torch.full((learners, batch), len(chosen), device=device, dtype=torch.float64)
        self.generators = None
        if synthetic is not None:
            ids, offsets, counts = np.unique(synthetic.generator, return_index=True, return_counts=True)
            self.generators = [int(ids[learner % len(ids)]) for learner in range(learners)]
            made = batch - round(batch * float(synthetic.real_fraction))
            for learner, own in enumerate(self.generators):
                self.first[learner, batch - made :] = float(len(chosen) + offsets[own])
                self.count[learner, batch - made :] = float(counts[own])
        self.first = self.first.long()

    def table(self, data: Transitions, device) -> torch.Tensor:
        """(N, S + A + 2 + S), and A + 1 more columns with the next actions."""
        columns = [
            data.observations,
            data.actions,
            (data.rewards * self.scale + self.settings.reward_shift)[:, None].astype(np.float32),
            data.discounts[:, None],
            data.next_observations,
            *(following_actions(data) if self.next_actions else ()),
        ]
        rows = torch.from_numpy(np.concatenate(columns, axis=1)).to(device)
        states, actions = self.sizes
        for start in (0, states + actions + 2):
            rows[:, start : start + states].sub_(self.mean).div_(self.std)
        return rows

    def __call__(self, uniform: torch.Tensor) -> Batch:
        """(learners, batch) float64 draws from [0, 1) → the batch."""
        rows = self.rows[self.first + (uniform * self.count).long()]
        states, actions = self.sizes
        widths = [states + actions, 1, 1, states, *([actions, 1] if self.next_actions else [])]
        states_and_actions, rewards, discounts, *rest = rows.split(widths, dim=-1)
        next_states, *following = (part.contiguous() for part in rest)
        if following:
            following[1] = following[1][..., 0]
        return Batch(states_and_actions.contiguous(), rewards[..., 0], discounts[..., 0], next_states, *following)


def reward_scale(real: Transitions) -> float:
    """1000 / (largest - smallest episode return), IQL's normalisation of locomotion rewards."""
    returns = real.returns()
    return float(1000 / (returns.max() - returns.min()))

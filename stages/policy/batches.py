"""Draws batches for all learners at once from data that stay on the device."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.common.transitions import Transitions


@dataclass(frozen=True)
class Batch:
    """(learners, batch) transitions, with normalised states and scaled rewards."""

    states_and_actions: torch.Tensor  # (learners, batch, S + A)
    rewards: torch.Tensor  # (learners, batch)
    discounts: torch.Tensor  # (learners, batch)
    next_states: torch.Tensor  # (learners, batch, S)
    next_actions: torch.Tensor | None = None  # (learners, batch, A), if the algorithm uses them
    next_known: torch.Tensor | None = None  # (learners, batch), 1 if the data hold the next action, else 0

    @property
    def states(self) -> torch.Tensor:
        return self.states_and_actions[..., : self.next_states.shape[-1]].contiguous()

    @property
    def actions(self) -> torch.Tensor:
        return self.states_and_actions[..., self.next_states.shape[-1] :]


def following_actions(data: Transitions) -> tuple[np.ndarray, np.ndarray]:
    """The next action of each row, (N, A), and whether the data hold it, (N, 1) of 0 and 1.

    The data hold it if the following row starts in exactly the state in which this row ends.
    """
    known = np.zeros((len(data), 1), dtype=np.float32)
    known[:-1, 0] = (data.observations[1:] == data.next_observations[:-1]).all(1)
    return np.roll(data.actions, -1, axis=0), known


class Batches:
    """Real and synthetic transitions in one table on the device, from which batches are drawn with replacement.

    Learner i uses the synthetic rows of generator i mod generators. States are normalised by the real data's mean and
    standard deviation (plus 1e-3, as in TD3+BC). Each step's reward r becomes `reward_scale` · r + `reward_shift`; the
    scale "returns" is 1000 / (largest - smallest episode return), as in IQL on locomotion.

    Arguments:
        real: all real transitions.
        chosen: the real transitions to learn from.
        settings: `batch`, `normalize_states`, `reward_scale` and `reward_shift`.
        next_actions: whether batches hold the next actions.

    Attributes:
        mean, std: (S,) tensors that normalise states.
        largest_return: upper bound on the absolute discounted return, given these rewards and discounts.
        generators: each learner's generator; None without synthetic data.
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
        sets = [data for data in (chosen, synthetic) if data is not None]
        width = 2 * self.sizes[0] + self.sizes[1] + 2 + (self.sizes[1] + 1 if next_actions else 0)
        self.rows = torch.empty(sum(map(len, sets)), width, device=device)
        for data, rows in zip(sets, self.rows.split([len(data) for data in sets]), strict=True):
            self.fill(rows, data)
        rewards, discounts = (self.rows[:, sum(self.sizes) + k] for k in (0, 1))
        self.largest_return = float((rewards.abs() / (1 - discounts)).max())

        # Element k of a learner's batch is drawn from the count[learner, k] rows that start at first[learner, k].
        self.first = torch.zeros(learners, batch, dtype=torch.long, device=device)  # float32 is exact up to 2^24 only
        self.count = torch.full((learners, batch), len(chosen), dtype=torch.float64, device=device)
        self.generators = None
        if synthetic is not None:
            ids, offsets, counts = np.unique(synthetic.generator, return_index=True, return_counts=True)
            positions = [learner % len(ids) for learner in range(learners)]
            self.generators = [int(ids[position]) for position in positions]
            real_rows = round(batch * float(synthetic.real_fraction))
            for learner, position in enumerate(positions):
                self.first[learner, real_rows:] = len(chosen) + int(offsets[position])
                self.count[learner, real_rows:] = int(counts[position])

    def fill(self, rows: torch.Tensor, data: Transitions):
        """Writes the data into `rows`, (N, S + A + 2 + S), and the next actions into A + 1 more columns.

        Columns are copied one at a time, so that a large data set is not in memory twice.
        """
        shift = self.settings.reward_shift  # for each step, so the sum of n steps gets it Σ γʰ times
        shift = shift if data.discount_sum is None else shift * data.discount_sum
        columns = [
            data.observations,
            data.actions,
            (data.rewards * self.scale + shift)[:, None].astype(np.float32),
            data.discounts[:, None],
            data.next_observations,
            *(following_actions(data) if self.next_actions else ()),
        ]
        for part, column in zip(rows.split([column.shape[1] for column in columns], dim=1), columns, strict=True):
            part.copy_(torch.from_numpy(column))
        states, actions = self.sizes
        for start in (0, states + actions + 2):
            rows[:, start : start + states].sub_(self.mean).div_(self.std)

    def __call__(self, uniform: torch.Tensor) -> Batch:
        """The batch for uniform draws from [0, 1), (learners, batch) float64."""
        rows = self.rows[self.first + (uniform * self.count).long()]
        states, actions = self.sizes
        widths = [states + actions, 1, 1, states, *([actions, 1] if self.next_actions else [])]
        states_and_actions, rewards, discounts, *rest = rows.split(widths, dim=-1)
        next_states, *next_actions = (part.contiguous() for part in rest)
        if next_actions:
            next_actions[1] = next_actions[1][..., 0]
        return Batch(states_and_actions.contiguous(), rewards[..., 0], discounts[..., 0], next_states, *next_actions)


def reward_scale(real: Transitions) -> float:
    """IQL's scale of locomotion rewards: 1000 / (largest - smallest episode return)."""
    returns = real.returns()
    return float(1000 / (returns.max() - returns.min()))

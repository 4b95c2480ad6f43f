"""Draws batches for all learners at once from data that stay on the device."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from stages.common.transitions import Transitions, steps_left


@dataclass(frozen=True)
class Batch:
    """(learners, batch) transitions, with normalised states and scaled rewards."""

    states_and_actions: torch.Tensor  # (learners, batch, S + A)
    rewards: torch.Tensor  # (learners, batch)
    discounts: torch.Tensor  # (learners, batch)
    next_states: torch.Tensor  # (learners, batch, S)
    extra: dict[str, torch.Tensor] = field(default_factory=dict)  # (learners, batch, width) each, see `Batches`
    window: "Window | None" = None  # for an algorithm that has a horizon

    @property
    def states(self) -> torch.Tensor:
        return self.states_and_actions[..., : self.next_states.shape[-1]].contiguous()

    @property
    def actions(self) -> torch.Tensor:
        return self.states_and_actions[..., self.next_states.shape[-1] :]


@dataclass(frozen=True)
class Window:
    """H transitions from each one of a batch on. Beyond the episode's end the last one is repeated."""

    actions: torch.Tensor  # (learners, batch, H, A)
    next_states: torch.Tensor  # (learners, batch, H, S)
    exists: torch.Tensor  # (learners, batch, H), 1 within the episode, 0 beyond its end


class Batches:
    """Real and synthetic transitions in one table on the device, from which batches are drawn with replacement.

    Learner i uses the synthetic rows of generator i mod generators. States are normalised by the real data's mean and
    standard deviation (plus 1e-3, as in TD3+BC). Each step's reward r becomes `reward_scale` · r + `reward_shift`; the
    scale "returns" is 1000 / (largest - smallest episode return), as in IQL on locomotion.

    Arguments:
        real: all real transitions.
        chosen: the real transitions to learn from.
        settings: `batch`, `normalize_states`, `reward_scale` and `reward_shift`.
        columns: gives what the algorithm needs of a transition beyond (s, a, r, d, s'): Transitions of N rows →
            {name: (N, width) float32 array}, which are `extra` of a batch. None: nothing. Its `constants`, {name:
            array}, if there are any, are kept with the policy.
        horizon: H of the batches' windows, 0 for none; `chosen` must then be whole episodes.

    Attributes:
        mean, std: (S,) tensors that normalise states.
        largest_return: upper bound on the absolute discounted return, given these rewards and discounts.
        constants: those of `columns`.
        generators: each learner's generator; None without synthetic data.
    """

    def __init__(
        self,
        real: Transitions,
        chosen: Transitions,
        synthetic: Transitions | None,
        learners: int,
        settings,
        columns: Callable[[Transitions], dict[str, np.ndarray]] | None,
        device: torch.device,
        horizon: int = 0,
    ):
        self.sizes = (real.observations.shape[1], real.actions.shape[1])
        self.settings, batch = settings, settings.batch
        mean, std = real.observations.mean(0, dtype=np.float64), real.observations.std(0, dtype=np.float64) + 1e-3
        if not settings.normalize_states:
            mean, std = np.zeros_like(mean), np.ones_like(std)
        self.mean, self.std = (torch.from_numpy(value.astype(np.float32)).to(device) for value in (mean, std))
        self.scale = reward_scale(real) if settings.reward_scale == "returns" else settings.reward_scale
        sets = [data for data in (chosen, synthetic) if data is not None]
        extras = [columns(data) if columns else {} for data in sets]
        constants = getattr(columns, "constants", {})
        self.constants = {name: torch.from_numpy(value).to(device) for name, value in constants.items()}
        self.offsets = torch.arange(horizon, device=device)
        self.left = torch.from_numpy(steps_left(chosen.episode)).to(device) if horizon else None
        self.extra = {name: array.shape[1] for name, array in extras[0].items()}
        states, actions = self.sizes
        self.widths = [states + actions, 1, 1, states, *self.extra.values()]
        self.rows = torch.empty(sum(map(len, sets)), sum(self.widths), device=device)
        for data, extra, rows in zip(sets, extras, self.rows.split([len(data) for data in sets]), strict=True):
            self.fill(rows, data, extra)
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

    def fill(self, rows: torch.Tensor, data: Transitions, extra: dict[str, np.ndarray]):
        """Writes the data into `rows`: (N, S + A + 2 + S), and more columns for what is extra.

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
            *extra.values(),
        ]
        for part, column in zip(rows.split([column.shape[1] for column in columns], dim=1), columns, strict=True):
            part.copy_(torch.from_numpy(column))
        states, actions = self.sizes
        for start in (0, states + actions + 2):
            rows[:, start : start + states].sub_(self.mean).div_(self.std)

    def __call__(self, uniform: torch.Tensor) -> Batch:
        """The batch for uniform draws from [0, 1), (learners, batch) float64."""
        index = self.first + (uniform * self.count).long()
        rows = self.rows[index]
        states_and_actions, rewards, discounts, *rest = rows.split(self.widths, dim=-1)
        next_states, *extra = (part.contiguous() for part in rest)
        extra = dict(zip(self.extra, extra, strict=True))
        window = self.window(index) if len(self.offsets) else None
        return Batch(states_and_actions.contiguous(), rewards[..., 0], discounts[..., 0], next_states, extra, window)

    def window(self, index: torch.Tensor) -> Window:
        """The windows that begin at rows `index`, (learners, batch)."""
        left = self.left[index][..., None]
        states_and_actions, _, _, next_states, *_ = self.rows[index[..., None] + self.offsets.minimum(left - 1)].split(
            self.widths, dim=-1
        )
        actions = states_and_actions[..., self.sizes[0] :].contiguous()
        return Window(actions, next_states.contiguous(), (self.offsets < left).to(actions))


def reward_scale(real: Transitions) -> float:
    """IQL's scale of locomotion rewards: 1000 / (largest - smallest episode return)."""
    returns = real.returns()
    return float(1000 / (returns.max() - returns.min()))

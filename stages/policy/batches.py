"""Batches for all learners at once, drawn from data that stay on the device."""

from dataclasses import dataclass

import numpy as np
import torch

from stages.common.transitions import Transitions


@dataclass(frozen=True)
class Batch:
    """States normalised, actions, rewards, discounts and next states of (learners, batch) transitions."""

    states_and_actions: torch.Tensor  # (learners, batch, S + A)
    rewards: torch.Tensor  # (learners, batch)
    discounts: torch.Tensor  # (learners, batch)
    next_states: torch.Tensor  # (learners, batch, S)

    @property
    def states(self) -> torch.Tensor:
        return self.states_and_actions[..., : self.next_states.shape[-1]].contiguous()

    @property
    def actions(self) -> torch.Tensor:
        return self.states_and_actions[..., self.next_states.shape[-1] :]


class Batches:
    """Real and synthetic transitions as one table of rows on the device, drawn with replacement.

    Learner i learns from the synthetic rows of generator i mod generators. States are normalised by the real data's
    mean and standard deviation (plus 1e-3, as TD3+BC does).

    Attributes:
        mean, std: (S,) tensors, what the states were normalised by.
    """

    def __init__(
        self, real: Transitions, synthetic: Transitions | None, learners: int, batch: int, device: torch.device
    ):
        self.states = real.observations.shape[1]
        self.sizes = (self.states, real.actions.shape[1])
        mean, std = real.observations.mean(0, dtype=np.float64), real.observations.std(0, dtype=np.float64) + 1e-3
        self.mean, self.std = (torch.from_numpy(value.astype(np.float32)).to(device) for value in (mean, std))
        tables = [self.table(data, device) for data in (real, synthetic) if data is not None]
        self.rows = torch.cat(tables)

        # Row k of a learner's batch comes from first[learner, k] and the count[learner, k] rows that follow.
        self.first = torch.zeros(learners, batch, device=device)
        self.count = torch.full((learners, batch), len(real), device=device, dtype=torch.float64)
        self.generators = None
        if synthetic is not None:
            ids, offsets, counts = np.unique(synthetic.generator, return_index=True, return_counts=True)
            self.generators = [int(ids[learner % len(ids)]) for learner in range(learners)]
            made = batch - round(batch * float(synthetic.real_fraction))
            for learner, own in enumerate(self.generators):
                self.first[learner, batch - made :] = float(len(real) + offsets[own])
                self.count[learner, batch - made :] = float(counts[own])
        self.first = self.first.long()

    def table(self, data: Transitions, device) -> torch.Tensor:
        """(N, S + A + 2 + S)."""
        columns = [
            data.observations,
            data.actions,
            data.rewards[:, None],
            data.discounts[:, None],
            data.next_observations,
        ]
        rows = torch.from_numpy(np.concatenate(columns, axis=1)).to(device)
        for part in (rows[:, : self.states], rows[:, -self.states :]):
            part.sub_(self.mean).div_(self.std)
        return rows

    def __call__(self, uniform: torch.Tensor) -> Batch:
        """(learners, batch) float64 draws from [0, 1) → the batch."""
        rows = self.rows[self.first + (uniform * self.count).long()]
        split = sum(self.sizes)
        return Batch(
            rows[..., :split].contiguous(), rows[..., split], rows[..., split + 1], rows[..., split + 2 :].contiguous()
        )

"""The record that stages exchange: transitions, real or synthetic, as an .npz file."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from stages.common.files import write_arrays

WHOLE = {"real_fraction", "cost"}  # fields of the whole record, not of each row


@dataclass(frozen=True)
class Transitions:
    """N transitions with S observation and A action dimensions; float32 unless stated.

    The TD target is `rewards + discounts · Q(next_observations)`, however the transition came about: γ for one
    step, γⁿ for n steps, 0 where the task ended. A time limit ends the episode, not the task: there the discount stays.

    Attributes:
        observations: (N, S).
        actions: (N, A), within [-1, 1].
        rewards: (N,); of n steps, their discounted sum.
        next_observations: (N, S).
        discounts: (N,), within [0, 1].
        episode: (N,) int32, real data only: the index of the episode; rows of one episode are consecutive and in order.
        timeouts: (N,) bool, real data only: the episode ended here without the task ending.
        generator: (N,) int8, synthetic data only: which independently trained generator made the row, in rising order.
        step: (N,) int16, imagined windows only: the row's position in its window, from 0.
        lambda_return: (N,), n-step transitions only: the λ for which the number of steps was drawn; an algorithm
            learns from the rows made for its own λ.
        real_fraction: (), synthetic data only: the real share of each training batch.
        discount_sum: (N,), n-step transitions only: Σ γʰ over the steps taken, which is what a constant added
            to every reward adds to their sum; 1 for one step.
        cost: () str, synthetic data only: JSON, see `stages/synthetic_data/cost.py`.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray
    discounts: np.ndarray
    episode: np.ndarray | None = None
    timeouts: np.ndarray | None = None
    generator: np.ndarray | None = None
    step: np.ndarray | None = None
    lambda_return: np.ndarray | None = None
    discount_sum: np.ndarray | None = None
    real_fraction: np.ndarray | None = None
    cost: np.ndarray | None = None

    def __post_init__(self):
        count = len(self.observations)
        for name, array in self.arrays().items():
            if name not in WHOLE and len(array) != count:
                raise ValueError(f"{name} has {len(array)} rows, observations has {count}")
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name} has values that are not finite")
        if self.observations.shape != self.next_observations.shape:
            raise ValueError(
                f"observations {self.observations.shape}, next_observations {self.next_observations.shape}"
            )
        if np.abs(self.actions).max(initial=0) > 1:
            raise ValueError(f"actions reach {np.abs(self.actions).max():g}; they must lie within [-1, 1]")
        if self.discounts.min(initial=0) < 0 or self.discounts.max(initial=0) > 1:
            raise ValueError("discounts must lie within [0, 1]")

    @classmethod
    def of_steps(cls, parts: list) -> "Transitions":
        """Joins recorded steps, parts of (observations, actions, rewards, next_observations, discounts, timeouts).

        An episode ends where the discount is 0 or at a timeout.
        """
        observations, actions, rewards, following, discounts, timeouts = map(np.concatenate, zip(*parts, strict=True))
        ends = (discounts == 0) | timeouts
        return cls(
            observations=observations,
            actions=actions,
            rewards=rewards,
            next_observations=following,
            discounts=discounts,
            episode=np.concatenate([[0], np.cumsum(ends)[:-1]]).astype(np.int32),
            timeouts=timeouts,
        )

    def __len__(self) -> int:
        return len(self.observations)

    def rows(self, which: np.ndarray) -> "Transitions":
        """The rows where `which`, (N,) bool, is true."""
        return replace(self, **{name: array[which] for name, array in self.arrays().items() if name not in WHOLE})

    def lengths(self) -> np.ndarray:
        """(episodes,) steps of each episode, real data only."""
        return np.bincount(self.episode)

    def returns(self) -> np.ndarray:
        """(episodes,) undiscounted return of each episode, real data only."""
        return np.bincount(self.episode, weights=self.rewards)

    def terminal(self) -> np.ndarray:
        """(N,) bool: the task ended with that transition."""
        return self.discounts == 0

    def held_out(self, share: float, rng: np.random.Generator) -> np.ndarray:
        """(N,) bool: the rows of a random `share` of the episodes, at least one if the share is above 0."""
        episodes = np.unique(self.episode)
        count = min(int(np.ceil(share * len(episodes))), len(episodes) - 1)
        return np.isin(self.episode, rng.choice(episodes, count, replace=False))

    def largest_return(self, discount: float) -> float:
        """The largest absolute return-to-go, real data only, or 1 if all are 0: the scale if no paper gives one."""
        return float(np.abs(return_to_go(self.rewards, self.episode, discount)).max()) or 1.0

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields that are not None."""
        present = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in present.items() if array is not None}

    def save(self, path: Path | str):
        write_arrays(path, self.arrays())

    @classmethod
    def load(cls, path: Path | str) -> "Transitions":
        """Reads the record in `path`.

        Raises:
            SystemExit: if the file is missing or is no such record, naming it.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{name: file[name] for name in file.files})
        except (OSError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise SystemExit(f"{path}: not a record of transitions: {error}") from None


def return_to_go(rewards: np.ndarray, episode: np.ndarray, discount: float) -> np.ndarray:
    """(N,) float64: Σₖ γᵏ r of the rest of the trajectory, from each transition to the end of its episode.

    The return of the rest of the trajectory, not of the window as DWM's Algorithm 17 prints: its target returns only
    make sense for the former.
    """
    from scipy.signal import lfilter  # takes longer to import than all that stages without it need

    starts = np.flatnonzero(np.diff(episode, prepend=episode[0] - 1))
    parts = np.split(rewards.astype(np.float64), starts[1:])
    return np.concatenate([lfilter([1.0], [1.0, -discount], part[::-1])[::-1] for part in parts])


def steps_left(episode: np.ndarray) -> np.ndarray:
    """(N,) number of transitions from each one, inclusive, to the end of its episode."""
    ends = np.append(np.flatnonzero(np.diff(episode)), len(episode) - 1)
    return ends[np.searchsorted(ends, np.arange(len(episode)))] - np.arange(len(episode)) + 1

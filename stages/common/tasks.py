"""What is known of each environment, as data: physics, reference scores, scales, and the names of data sets.

Sources: D4RL `infos.py` (reference returns), the DWM paper's appendix (return scales; arXiv 2402.03570),
Gymnasium's `-v4` environments (healthy states), D4RL's files (numbers of transitions, rounded).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

EPISODE_LIMIT = 1000  # steps, for every task here
TIERS = ("random", "medium", "medium-replay", "medium-expert", "expert")


@dataclass(frozen=True)
class Task:
    """One environment.

    Attributes:
        environment: Gymnasium id; D4RL's v2 data are evaluated on `-v4`.
        reference: D4RL's (random, expert) returns, which score 0 and 100.
        return_scale: discounted returns-to-go are divided by it (DWM).
        healthy: states (..., S) → (...) bool; an episode ends where it is False.
    """

    environment: str
    reference: tuple[float, float]
    return_scale: float
    healthy: Callable[[np.ndarray], np.ndarray]

    def score(self, returns):
        """Undiscounted episode returns → D4RL's normalised score, 0 for random and 100 for expert."""
        low, high = self.reference
        return 100 * (np.asarray(returns) - low) / (high - low)


def hopper_healthy(states):
    inside = np.abs(states[..., 1:]).max(-1) < 100
    return inside & (states[..., 0] > 0.7) & (np.abs(states[..., 1]) < 0.2)


def walker2d_healthy(states):
    return (states[..., 0] > 0.8) & (states[..., 0] < 2.0) & (np.abs(states[..., 1]) < 1.0)


def always_healthy(states):
    return np.ones(states.shape[:-1], dtype=bool)


TASKS = {
    "hopper": Task("Hopper-v4", (-20.272305, 3234.3), 400, hopper_healthy),
    "walker2d": Task("Walker2d-v4", (1.629008, 4592.3), 550, walker2d_healthy),
    "halfcheetah": Task("HalfCheetah-v4", (-280.178953, 12135.0), 1200, always_healthy),
}

NAME = re.compile(rf"({'|'.join(TASKS)})-({'|'.join(sorted(TIERS, key=len, reverse=True))})(-v2)?")

D4RL_TRANSITIONS = {  # in D4RL's own v2 files, rounded
    "random": 1_000_000,
    "medium": 1_000_000,
    "expert": 1_000_000,
    "medium-expert": 2_000_000,
    "medium-replay": {"hopper": 402_000, "walker2d": 302_000, "halfcheetah": 202_000},
}


def check_dataset(name: str) -> str:
    """`<task>-<tier>` for data of our own, `<task>-<tier>-v2` for D4RL's files.

    Raises:
        ValueError: naming the tasks and the tiers.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"is not known; allowed: ({'|'.join(TASKS)})-({'|'.join(TIERS)}), with -v2 for D4RL's own files"
        )
    return name


def parse(dataset: str) -> tuple[str, str]:
    """A data set's name → (task, tier): `hopper-medium-replay` → `("hopper", "medium-replay")`."""
    return NAME.fullmatch(check_dataset(dataset)).groups()[:2]


def task_of(dataset: str) -> Task:
    """The task that a data set is about."""
    return TASKS[parse(dataset)[0]]

"""Facts about each data set: those known before it is read, and the record that the data stage leaves for later stages.

Sources: D4RL `infos.py` (reference returns, files), the DWM paper's appendix (return scales; arXiv 2402.03570),
Gymnasium's environments (healthy states), TensorFlow Datasets' records of D4RL (sha256), D4RL's files (their sizes).
"""

import csv
import json
import re
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np

from stages.common.files import write_json
from stages.tasks.environments import ENVIRONMENTS, name_of

EPISODE_LIMIT = 1000  # steps, for every gym-mujoco task; no task here has more
TIERS = ("random", "medium", "medium-replay", "medium-expert", "expert")
RETURN_SCALES = {"hopper": 400, "walker2d": 550, "halfcheetah": 1200}  # DWM's
LOCAL = re.compile(rf"({'|'.join(RETURN_SCALES)})-({'|'.join(sorted(TIERS, key=len, reverse=True))})")
MINARI = re.compile(r"([-\w]+/)*[-\w]+-v\d+")  # (namespaces/)name-v0
D4RL_TRANSITIONS = {  # in D4RL's own v2 files, rounded
    "random": 1_000_000,
    "medium": 1_000_000,
    "expert": 1_000_000,
    "medium-expert": 2_000_000,
    "medium-replay": {"hopper": 402_000, "walker2d": 302_000, "halfcheetah": 202_000},
}


@dataclass(frozen=True)
class Task:
    """What later stages need to know about a data set: `data/<dataset>/task.json`.

    Attributes:
        environment: where its policies are evaluated, as `simulator.make` takes it.
        episode_limit: steps after which an episode is truncated.
        return_scale: divisor of discounted returns-to-go (DWM's, or the largest in the data).
        reference: returns that score 0 and 100, of D4RL's random policy and expert; None if there are none.
    """

    environment: dict
    episode_limit: int
    return_scale: float
    reference: tuple[float, float] | None

    def score(self, returns):
        """D4RL's normalised score of undiscounted episode returns; without a reference, the returns themselves."""
        if self.reference is None:
            return np.asarray(returns)[()]
        low, high = self.reference
        return 100 * (np.asarray(returns) - low) / (high - low)

    @property
    def healthy(self):
        """The environment's own rule: states (…, S) → (…) bool, False where it ends the task; None if unknown."""
        return HEALTHY.get(name_of(self.environment))

    def save(self, dataset: str):
        write_json(f"data/{dataset}/task.json", asdict(self))

    @classmethod
    def load(cls, dataset: str) -> "Task":
        """Reads the record that the data stage wrote.

        Raises:
            SystemExit: if there is none, naming the file.
        """
        path = Path("data") / dataset / "task.json"
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise SystemExit(f"{path}: not a record of a task: {error}") from None


def hopper_healthy(states):
    inside = np.abs(states[..., 1:]).max(-1) < 100
    return inside & (states[..., 0] > 0.7) & (np.abs(states[..., 1]) < 0.2)


def walker2d_healthy(states):
    return (states[..., 0] > 0.8) & (states[..., 0] < 2.0) & (np.abs(states[..., 1]) < 1.0)


def ant_healthy(states):
    return (states[..., 0] >= 0.2) & (states[..., 0] <= 1.0)


def always_healthy(states):
    return np.ones(states.shape[:-1], dtype=bool)


RULES = {"Hopper": hopper_healthy, "Walker2d": walker2d_healthy, "Ant": ant_healthy, "HalfCheetah": always_healthy}
HEALTHY = {f"{name}-{version}": rule for name, rule in RULES.items() for version in ("v4", "v5")}


@dataclass(frozen=True)
class D4rlFile:
    """A row of d4rl.csv: one of D4RL's data sets.

    Attributes:
        environment: key of ENVIRONMENTS.
        reference: D4RL's (random, expert) returns.
        size, sha256: of the file; None if not recorded.
        path: relative to D4RL's folder of data sets.
    """

    name: str
    environment: str
    reference: tuple[float, float]
    size: int | None
    sha256: str | None
    path: str


@cache
def d4rl_files() -> dict[str, D4rlFile]:
    """D4RL's data sets by name."""
    with Path(__file__).with_name("d4rl.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["name"]: D4rlFile(
            name=row["name"],
            environment=row["environment"],
            reference=(float(row["random"]), float(row["expert"])),
            size=int(row["bytes"]) if row["bytes"] else None,
            sha256=row["sha256"] or None,
            path=row["path"],
        )
        for row in rows
    }


def check_dataset(name: str, source: str):
    """Checks that a data set of that name can come from that source.

    Raises:
        ValueError: naming what is allowed.
    """
    if source == "local" and not LOCAL.fullmatch(name):
        raise ValueError(f"is not known; allowed with source local: ({'|'.join(RETURN_SCALES)})-({'|'.join(TIERS)})")
    if source == "d4rl" and name not in d4rl_files():
        groups = dict.fromkeys(known.split("-")[0] for known in d4rl_files())
        raise ValueError(f"is not known; allowed with source d4rl: the names in d4rl.csv, of {', '.join(groups)}")
    if source == "minari" and not MINARI.fullmatch(name):
        raise ValueError("is not a Minari id, such as D4RL/door/human-v2")


def parse(dataset: str) -> tuple[str, str]:
    """A local data set's name → (task, tier): `hopper-medium-replay` → `("hopper", "medium-replay")`."""
    return LOCAL.fullmatch(dataset).groups()


def gym_mujoco(name: str) -> Task:
    """The task of one of the three robots that local data are made for."""
    return Task(ENVIRONMENTS[name], EPISODE_LIMIT, RETURN_SCALES[name], d4rl_files()[f"{name}-medium-v2"].reference)


def environment_of(dataset: str, source: str) -> dict | None:
    """The entry of `environments.py` in which policies of that data set are evaluated; None for Minari's."""
    if source == "minari":
        return None
    return ENVIRONMENTS[parse(dataset)[0] if source == "local" else d4rl_files()[dataset].environment]


def matches(pattern: str, dataset: str) -> bool:
    """Whether a pattern such as `antmaze-*`, written without D4RL's version, matches the data set's name."""
    return fnmatchcase(re.sub(r"-v\d+$", "", dataset), pattern)

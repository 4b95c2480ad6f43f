"""What is known of each data set before it is read, and the record of it that the data stage leaves for later stages.

Sources: D4RL `infos.py` (reference returns, files), the DWM paper's appendix (return scales; arXiv 2402.03570),
Gymnasium's environments (healthy states), TensorFlow Datasets' records of D4RL (sha256), D4RL's files (their sizes).
"""

import csv
import json
import re
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from stages.common.environments import ENVIRONMENTS, name_of
from stages.common.files import write_json

EPISODE_LIMIT = 1000  # steps; of every gym-mujoco task, and the longest of all tasks here
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
    """What later stages know of a data set: `data/<dataset>/task.json`.

    Attributes:
        environment: where its policies are evaluated, as `simulator.make` takes it.
        episode_limit: steps after which an episode is cut.
        return_scale: discounted returns-to-go are divided by it (DWM's, or the largest of the data).
        reference: returns that score 0 and 100, D4RL's random policy and expert; None where nobody has stored any.
    """

    environment: dict
    episode_limit: int
    return_scale: float
    reference: tuple[float, float] | None

    def score(self, returns):
        """Undiscounted episode returns → D4RL's normalised score; without a reference, the returns themselves."""
        if self.reference is None:
            return np.asarray(returns)[()]
        low, high = self.reference
        return 100 * (np.asarray(returns) - low) / (high - low)

    @property
    def healthy(self):
        """The environment's own rule: states (…, S) → (…) bool, False where it ends an episode; None if not known."""
        return HEALTHY.get(name_of(self.environment))

    def save(self, dataset: str):
        write_json(f"data/{dataset}/task.json", asdict(self))

    @classmethod
    def load(cls, dataset: str) -> "Task":
        """The record of a data set, as the data stage left it.

        Raises:
            SystemExit: where there is none, naming the file.
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
        size, sha256: of the file, None where nobody has recorded them.
        path: below D4RL's folder of data sets.
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
    """Whether a data set of that name can come from that source.

    Raises:
        ValueError: naming what is allowed.
    """
    if source == "local" and not LOCAL.fullmatch(name):
        raise ValueError(f"is not known; allowed with source local: ({'|'.join(RETURN_SCALES)})-({'|'.join(TIERS)})")
    if source == "d4rl" and name not in d4rl_files():
        kinds = dict.fromkeys(known.split("-")[0] for known in d4rl_files())
        raise ValueError(f"is not known; allowed with source d4rl: the names in d4rl.csv, of {', '.join(kinds)}")
    if source == "minari" and not MINARI.fullmatch(name):
        raise ValueError("is no Minari id; those look like D4RL/door/human-v2")


def parse(dataset: str) -> tuple[str, str]:
    """A local data set's name → (task, tier): `hopper-medium-replay` → `("hopper", "medium-replay")`."""
    return LOCAL.fullmatch(dataset).groups()


def gym_mujoco(name: str) -> Task:
    """The task of that name among the three that local data sets are made for."""
    return Task(ENVIRONMENTS[name], EPISODE_LIMIT, RETURN_SCALES[name], d4rl_files()[f"{name}-medium-v2"].reference)

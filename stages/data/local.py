"""Locally collected data: rollouts of the behaviour policies shipped in `behaviours/`, in the manner of D4RL.

`random` draws actions uniformly; `medium` and `expert` are one SAC snapshot each; `medium-expert` is half of each;
`medium-replay` mixes snapshots of one SAC training, evenly spaced up to the medium one, as D4RL's replay data hold what
SAC collected on its way there. Actions are stochastic, as in D4RL. Differs from D4RL in that each snapshot represents a
stretch of training, within which the policy does not change.

A data set has the same bytes on every x86-64 processor since 2013 (with FMA instructions): the simulator is chaotic, so
actions must not depend on the last bits of matrix products, exp and tanh, which differ between processors. They are
computed in float64 and rounded to multiples of 2⁻¹⁶. `recorded.csv` holds the md5 that result (`recorded.py`).
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from stages.common.progress import progress
from stages.common.rng import numpy_stream
from stages.common.transitions import Transitions
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.simulator import make
from stages.tasks.tasks import parse

BEHAVIOURS = Path(__file__).parent / "behaviours"
PARTS = 10  # at least, of each data set; processes take them as they become free
GRID = 2.0**16  # actions are multiples of 1 / GRID, some 10¹⁰ times coarser than what differs between processors


class Behaviour:
    """A tanh-Gaussian SAC actor in NumPy, for one observation at a time; equal actions on every processor."""

    def __init__(self, path: Path):
        self.weights = {name: weight.astype(np.float64) for name, weight in load_file(path).items()}

    def layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def act(self, observation: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(S,) observation and (A,) standard normal noise, both float64 → (A,) action in [-1, 1], float32; zero noise:
        the mean action.
        """
        hidden = np.maximum(self.layer("hidden0", observation), 0)
        hidden = np.maximum(self.layer("hidden1", hidden), 0)
        deviation = np.exp(np.clip(self.layer("log_std", hidden), -20, 2))
        action = np.tanh(self.layer("mean", hidden) + deviation * noise)
        return (np.round(action * GRID) / GRID).astype(np.float32)  # exact: a multiple of 2⁻¹⁶ has 17 bits at most

    def draw(self, observation: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return self.act(observation, rng.standard_normal(shape))


class Uniform:
    """Actions drawn uniformly from [-1, 1]."""

    def draw(self, observation: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-1, 1, shape).astype(np.float32)


def behaviours(task: str, tier: str) -> list[Path | None]:
    """The snapshots of a tier in training order; None stands for the random policy.

    Raises:
        SystemExit: if none is shipped, naming the data sets that are.
    """
    tiers = {}
    for index in sorted(BEHAVIOURS.glob("*/index.json")):
        shipped = {"random": [None]}
        for name, files in json.loads(index.read_text())["tiers"].items():
            shipped[name] = [index.parent / file for file in files]
        if shipped.keys() >= {"medium", "expert"}:
            shipped["medium-expert"] = [*shipped["medium"], *shipped["expert"]]
        tiers |= {f"{index.parent.name}-{name}": paths for name, paths in shipped.items()}
    if f"{task}-{tier}" not in tiers:
        raise SystemExit(
            f"params.yaml: datasets: no behaviours are shipped for {task}-{tier}; allowed: {', '.join(tiers)}"
        )
    return tiers[f"{task}-{tier}"]


def rollouts(environment: dict, policy, count: int, discount: float, rng: np.random.Generator):
    """Yields `count` transitions, in order, as (observation, action, reward, next observation, discount, timeout).

    The last episode is truncated at `count` and counts as timed out.
    """
    env = make(environment)
    observation = None
    for left in range(count - 1, -1, -1):
        if observation is None:
            observation, _ = env.reset(seed=int(rng.integers(2**31)))
        action = policy.draw(observation, env.action_space.shape, rng)
        following, reward, terminated, truncated, _ = env.step(action)
        timeout = not terminated and (truncated or left == 0)
        yield observation, action, reward, following, discount * (not terminated), timeout
        observation = None if terminated or truncated else following
    env.close()


def part(environment: dict, snapshot: Path | None, count: int, discount: float, names: tuple) -> list[np.ndarray]:
    """The columns of `rollouts` as arrays; `names` is the random stream's."""
    policy = Uniform() if snapshot is None else Behaviour(snapshot)
    rows = rollouts(environment, policy, count, discount, numpy_stream(*names))
    dtypes = [np.float32] * 5 + [bool]
    return [np.array(column, dtype=dtype) for column, dtype in zip(zip(*rows, strict=True), dtypes, strict=True)]


def shares(count: int, parts: int) -> list[int]:
    """Splits `count` into `parts` whole numbers that differ by one at most, without zeros."""
    return [share for share in (count // parts + (k < count % parts) for k in range(parts)) if share]


def collect(dataset: str, transitions: int, discount: float, processes: int) -> Transitions:
    """Collects `transitions` transitions of a data set, in equal shares from its behaviour policies.

    A share is collected in parts, each with its own random stream and its last episode truncated; `processes` processes
    take parts as they become free, so the data do not depend on their number.
    """
    task, tier = parse(dataset)
    snapshots = behaviours(task, tier)
    sizes = [
        (snapshot, size)
        for snapshot, share in zip(snapshots, shares(transitions, len(snapshots)), strict=False)
        for size in shares(share, -(-PARTS // len(snapshots)))
    ]
    jobs = [
        (ENVIRONMENTS[task], snapshot, size, discount, ("data", dataset, k)) for k, (snapshot, size) in enumerate(sizes)
    ]
    # Forked processes start at once; libraries survive a fork on Linux only.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        pending = [pool.submit(part, *job) for job in jobs]
        parts = [pending[k].result() for k in progress(range(len(jobs)), f"collect {dataset}", unit="part")]
    return Transitions.of_steps(parts)

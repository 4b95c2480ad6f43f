"""Data of our own: rollouts of the behaviour policies shipped in `behaviours/`, in the manner of D4RL.

`medium-replay` mixes the snapshots of one SAC training, evenly spaced up to the medium one, as D4RL's replay data hold
what SAC saw on its way there; `medium` is the medium one alone. Actions are stochastic, as D4RL's are. Differs from
D4RL in that
snapshots stand for stretches of training: within one, the policy does not change.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from stages.common.progress import progress
from stages.common.rng import numpy_stream
from stages.common.simulator import make
from stages.common.tasks import D4RL_TRANSITIONS, TASKS, parse
from stages.common.transitions import Transitions

BEHAVIOURS = Path(__file__).parent / "behaviours"


class Behaviour:
    """A tanh-Gaussian SAC actor, in NumPy: one observation at a time."""

    def __init__(self, path: Path):
        self.weights = load_file(path)

    def layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def act(self, observation: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """(S,) observation and (A,) standard normal noise → (A,) action in [-1, 1], float32; zero noise: the mean
        action.
        """
        hidden = np.maximum(self.layer("hidden0", observation.astype(np.float32)), 0)
        hidden = np.maximum(self.layer("hidden1", hidden), 0)
        deviation = np.exp(np.clip(self.layer("log_std", hidden), -20, 2))
        return np.tanh(self.layer("mean", hidden) + deviation * noise.astype(np.float32))


def behaviours(task: str, tier: str) -> list[Behaviour]:
    """The behaviour policies of a tier, in the order of their training.

    Raises:
        SystemExit: where none is shipped, naming the data sets that are.
    """
    tiers = {
        f"{index.parent.name}-{name}": [index.parent / file for file in files]
        for index in sorted(BEHAVIOURS.glob("*/index.json"))
        for name, files in json.loads(index.read_text())["tiers"].items()
    }
    if f"{task}-{tier}" not in tiers:
        raise SystemExit(
            f"params.yaml: datasets: no behaviours are shipped for {task}-{tier}; allowed: {', '.join(tiers)}"
        )
    return [Behaviour(path) for path in tiers[f"{task}-{tier}"]]


def rollouts(environment: str, behaviour: Behaviour, count: int, discount: float, rng: np.random.Generator):
    """Yields `count` transitions, in order, as (observation, action, reward, next observation, discount, timeout).

    The last episode is cut at `count`, and counts as timed out.
    """
    env = make(environment)
    observation = None
    for left in range(count - 1, -1, -1):
        if observation is None:
            observation, _ = env.reset(seed=int(rng.integers(2**31)))
        action = behaviour.act(observation, rng.standard_normal(env.action_space.shape))
        following, reward, terminated, truncated, _ = env.step(action)
        timeout = not terminated and (truncated or left == 0)
        yield observation, action, reward, following, discount * (not terminated), timeout
        observation = None if terminated or truncated else following
    env.close()


def collect(dataset: str, transitions: int | str, discount: float) -> Transitions:
    """`transitions` transitions of a data set, in equal parts from its behaviours; each part has a random stream of its
    own.

    Arguments:
        transitions: a number, or "d4rl" for the size of D4RL's own file.
    """
    task, tier = parse(dataset)
    policies = behaviours(task, tier)
    if transitions == "d4rl":
        size = D4RL_TRANSITIONS[tier]
        transitions = size[task] if isinstance(size, dict) else size
    shares = [transitions // len(policies) + (k < transitions % len(policies)) for k in range(len(policies))]

    rows = []
    for k in progress(range(len(policies)), f"collect {dataset}", unit="behaviour"):
        rows += rollouts(TASKS[task].environment, policies[k], shares[k], discount, numpy_stream("data", dataset, k))
    observations, actions, rewards, following, discounts, timeouts = map(np.array, zip(*rows, strict=True))
    ends = (discounts == 0) | timeouts
    return Transitions(
        observations=observations.astype(np.float32),
        actions=actions.astype(np.float32),
        rewards=rewards.astype(np.float32),
        next_observations=following.astype(np.float32),
        discounts=discounts.astype(np.float32),
        episode=np.concatenate([[0], np.cumsum(ends)[:-1]]).astype(np.int32),
        timeouts=timeouts,
    )

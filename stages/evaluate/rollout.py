"""Plays episodes of many policies at once, with one batched forward pass for all of them at each step."""

import numpy as np
import torch

from stages.common.progress import progress
from stages.common.rng import numpy_stream, seed_of
from stages.tasks.simulator import make
from stages.tasks.tasks import Task

CHUNK = 100  # steps whose noise is drawn together


class Noise:
    """Standard normal numbers for stochastic policies, step by step.

    Each episode of each seed has its own stream, the same for all methods, algorithms and snapshots, as its start is.

    Arguments:
        width: numbers for each action.
        names: the first names of the random streams.
    """

    def __init__(self, width: int, snapshots: int, seeds: int, count: int, names: tuple):
        self.shape, self.snapshots, self.step = (seeds, count, CHUNK, width), snapshots, 0
        self.streams = [numpy_stream(*names, *divmod(each, count), "actions") for each in range(seeds * count)]

    def __call__(self) -> torch.Tensor:
        """(snapshots · seeds, count, width) numbers of the next step."""
        if self.step % CHUNK == 0:
            drawn = [stream.standard_normal(self.shape[2:], dtype=np.float32) for stream in self.streams]
            self.numbers = torch.from_numpy(np.stack(drawn).reshape(self.shape)).repeat(self.snapshots, 1, 1, 1)
        self.step += 1
        return self.numbers[:, :, (self.step - 1) % CHUNK]


def episodes(
    task: Task, policy, snapshots: int, seeds: int, count: int, mean, std, names: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """Plays `count` whole episodes with each policy.

    Each seed index has its own episode starts, the same for all methods, algorithms and snapshots. Methods are
    therefore compared from the same starts, and intervals over seeds include the randomness of the starts.

    The environments are stepped in a loop. Gymnasium's vector environment would step finished environments until the
    last one is done, and early policies' episodes are short.

    Arguments:
        policy: acts for (snapshots × seeds) policies, seeds varying fastest, see `stages/policy/acting.py`.
        count: episodes of each policy.
        mean, std: (S,) tensors that normalise states.
        names: the first names of the random streams that the starts come from; they name the data set.

    Returns:
        undiscounted returns (policies, count), float64, and episode lengths (policies, count), int.
    """
    policies, noise, memory = snapshots * seeds, Noise(policy.noise, snapshots, seeds, count, names), None
    envs = [make(task.environment) for _ in range(policies * count)]
    starts = [
        envs[policy * count + episode].reset(seed=seed_of(*names, policy % seeds, episode) % 2**31)[0]
        for policy in range(policies)
        for episode in range(count)
    ]
    states = np.array(starts, dtype=np.float32)
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), dtype=int)
    running = list(range(len(envs)))
    for _ in progress(range(task.episode_limit), f"evaluate {policies} policies x {count} episodes"):
        normalised = (torch.from_numpy(states).view(policies, count, -1) - mean) / std
        actions, memory = policy(normalised, noise(), memory)
        actions = actions.view(len(envs), -1).numpy()
        unfinished = []
        for k in running:
            states[k], reward, terminated, truncated, _ = envs[k].step(actions[k])
            returns[k] += reward
            lengths[k] += 1
            if not (terminated or truncated):
                unfinished.append(k)
        running = unfinished
        if not running:
            break
    for env in envs:
        env.close()
    return returns.reshape(policies, count), lengths.reshape(policies, count)

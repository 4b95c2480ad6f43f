"""Plays episodes of many policies at once, with one batched forward pass for all of them at each step."""

import numpy as np
import torch

from stages.common.progress import progress
from stages.common.rng import seed_of
from stages.tasks.simulator import make
from stages.tasks.tasks import Task


def act(layers: list[tuple[torch.Tensor, torch.Tensor]], states: torch.Tensor) -> torch.Tensor:
    """Normalised states (policies, episodes, S) → deterministic actions (policies, episodes, A).

    Arguments:
        layers: weights (policies, in, out) and biases (policies, 1, out); ReLU follows all layers but the last, which
            tanh follows.
    """
    for weight, bias in layers[:-1]:
        states = torch.baddbmm(bias, states, weight).relu_()
    weight, bias = layers[-1]
    return torch.baddbmm(bias, states, weight).tanh()


def episodes(task: Task, layers, mean, std, seeds: int, count: int, names: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Plays `count` whole episodes with each policy.

    Each seed index has its own episode starts, the same for all methods, algorithms and snapshots. Methods are
    therefore compared from the same starts, and intervals over seeds include the randomness of the starts.

    The environments are stepped in a loop. Gymnasium's vector environment would step finished environments until the
    last one is done, and early policies' episodes are short.

    Arguments:
        layers: those of (snapshots × seeds) policies, seeds varying fastest, see `act`.
        mean, std: (S,) tensors that normalise states.
        seeds: number of seeds.
        names: the first names of the random streams that the starts come from; they name the data set.

    Returns:
        undiscounted returns (policies, count), float64, and episode lengths (policies, count), int.
    """
    policies = len(layers[0][0])
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
        actions = act(layers, normalised).view(len(envs), -1).numpy()
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

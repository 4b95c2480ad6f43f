"""Many policies × episodes, stepped together: one batched forward pass for all, then each environment that runs."""

import numpy as np
import torch

from stages.common.progress import progress
from stages.common.rng import seed_of
from stages.common.simulator import make
from stages.common.tasks import Task


def act(layers: list[tuple[torch.Tensor, torch.Tensor]], states: torch.Tensor) -> torch.Tensor:
    """States (policies, episodes, S), normalised → the deterministic actions (policies, episodes, A).

    Arguments:
        layers: weights (policies, in, out) and biases (policies, 1, out), ReLU between them and tanh at the end.
    """
    for weight, bias in layers[:-1]:
        states = torch.baddbmm(bias, states, weight).relu_()
    weight, bias = layers[-1]
    return torch.baddbmm(bias, states, weight).tanh()


def episodes(task: Task, layers, mean, std, count: int, names: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Plays `count` whole episodes with each policy; episode k starts alike for all policies, and for all methods.

    A loop over environments, not Gymnasium's vector environment: that one steps finished environments until the last is
    done, and early policies fall soon.

    Arguments:
        mean, std: (S,) tensors that normalise states.
        names: of the data set, from which the episodes' seeds follow.

    Returns:
        undiscounted returns (policies, count) float64, and lengths (policies, count) int.
    """
    policies = len(layers[0][0])
    envs = [make(task.environment) for _ in range(policies * count)]
    starts = [env.reset(seed=seed_of(*names, k % count) % 2**31)[0] for k, env in enumerate(envs)]
    states = np.array(starts, dtype=np.float32)
    returns, lengths = np.zeros(len(envs)), np.zeros(len(envs), dtype=int)
    running = list(range(len(envs)))
    for _ in progress(range(task.episode_limit), f"evaluate {policies} policies x {count} episodes"):
        given = (torch.from_numpy(states).view(policies, count, -1) - mean) / std
        actions = act(layers, given).view(len(envs), -1).numpy()
        going = []
        for k in running:
            states[k], reward, terminated, truncated, _ = envs[k].step(actions[k])
            returns[k] += reward
            lengths[k] += 1
            if not (terminated or truncated):
                going.append(k)
        running = going
        if not running:
            break
    for env in envs:
        env.close()
    return returns.reshape(policies, count), lengths.reshape(policies, count)

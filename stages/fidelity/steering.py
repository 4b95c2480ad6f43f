"""Does asking for more return bring more? `python -m stages.fidelity.steering --dataset D` → results/D/steering.json.

The world model imagines windows from the same real states and actions, with the same noise, for returns-to-go from low
to high. What a window reaches is its discounted rewards and then, discounted too, what the data know of its last state:
the mean return-to-go of the real states nearest to it.
"""

import argparse

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from stages.augment.generate import imagined, target
from stages.common.files import write_json
from stages.common.params import load
from stages.common.rng import numpy_stream, torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions, return_to_go
from stages.diffusion import world_model
from stages.idm import model as idm

READS = ("discount", "target_return", "device", "threads", "sampler", "fidelity")
REFERENCE = 100_000  # real states at most, among which neighbours are sought


class Value:
    """States (N, S) → (N,) the mean return-to-go of the nearest real states, in the task's scale."""

    def __init__(self, data: Transitions, returns: np.ndarray, neighbours: int, rng: np.random.Generator):
        rows = rng.permutation(len(data))[:REFERENCE]
        self.scale = data.observations.std(0).clip(1e-6)
        self.tree = cKDTree(data.observations[rows] / self.scale)
        self.returns, self.neighbours = returns[rows], neighbours

    def __call__(self, states: np.ndarray) -> np.ndarray:
        nearest = self.tree.query(states / self.scale, k=[*range(1, self.neighbours + 1)])[1]
        return self.returns[nearest].mean(1)


def reached(states, rewards, ended, discount: float, value, scale: float) -> np.ndarray:
    """(N,) return-to-go of windows: states (N, H + 1, S), rewards and ended (N, H); nothing follows an end."""
    before_end = np.cumsum(ended, axis=1) - ended == 0
    powers = discount ** np.arange(rewards.shape[1])
    beyond = discount ** rewards.shape[1] * value(states[:, -1]) * ~ended.any(1)
    return (powers * rewards * before_end).sum(1) / scale + beyond


def rank_correlation(asked: np.ndarray, got: np.ndarray) -> float:
    """Spearman's, along the last axis, averaged over the others; 0 where nothing varies."""
    a, b = (rankdata(x, axis=-1) for x in np.broadcast_arrays(asked, got))
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return float(np.mean((a * b).sum(-1) / np.where(size > 0, size, 1)))


def steer(data: Transitions, dataset: str, task: Task, models, inverses, params, device) -> dict:
    """The record of the data set's world models; returns are over the task's scale.

    Returns:
        {"asked": quantiles of the data's return-to-go and the target return, "reached": {"mean", "p10", "p90"} for
        each, "start": mean return-to-go of the starts in the data, "rank_correlation": {"within_starts": between asked
        and reached for one start, averaged over starts, "pooled": over all windows, whose starts differ more than what
        is asked of them can}}.
    """
    rng = numpy_stream("steering", dataset)
    returns = return_to_go(data.rewards, data.episode, params.discount) / task.return_scale
    asked = [float(np.quantile(returns, quantile)) for quantile in params.fidelity.asked]
    asked.append(target(data, params.target_return, params.discount, task))
    value = Value(data, returns, params.fidelity.neighbours, rng)
    starts = rng.choice(len(data), min(params.fidelity.starts, len(data)), replace=False)
    parts = []
    for k, rows in enumerate(np.array_split(starts, len(models))):
        states, actions = (torch.from_numpy(x[rows]).to(device) for x in (data.observations, data.actions))
        got = []
        for ask in asked:
            stream = torch_stream("steering", dataset, k, device=device)  # the same noise for all
            wanted = torch.full((len(rows),), ask, device=device)
            given = (models[k], inverses[k], task.healthy, states, actions, wanted)
            path, _, rewards, ended = imagined(*given, params.sampler, stream)
            got.append(reached(path, rewards, ended, params.discount, value, task.return_scale))
        parts.append(np.stack(got, axis=1))  # (starts, asked)
    found = np.concatenate(parts)
    return {
        "asked": asked,
        "target": asked[-1],
        "reached": {
            "mean": found.mean(0),
            **{name: np.quantile(found, q, axis=0) for name, q in (("p10", 0.1), ("p90", 0.9))},
        },
        "start": returns[starts].mean(),
        "rank_correlation": {
            "within_starts": rank_correlation(np.array(asked), found),
            "pooled": rank_correlation(np.tile(asked, len(found)), found.ravel()),
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
    models = world_model.load(f"models/{dataset}/diffusion.safetensors", device)
    inverses = idm.load(f"models/{dataset}/idm.safetensors", device)
    record = steer(data, dataset, task, models, inverses, params, device)
    write_json(f"results/{dataset}/steering.json", record, digits=5)


if __name__ == "__main__":
    main()

"""Does asking for more return bring more? `python -m stages.fidelity.steering --dataset D` → results/D/steering.json.

What a window reaches is its discounted rewards and then, discounted too, what the data say of its last state. Asked for
are, first, the same returns-to-go of every start, from low to high, with the same noise; second, of each start what its
real trajectory went on to reach. A few steps change little of what a state and an action have already decided, in the
data as in the model: so the same is measured of the real windows, and of the model when nothing is asked.
"""

import argparse

import numpy as np
import torch
from scipy.stats import rankdata

from stages.augment.generate import imagined, target
from stages.common.files import write_json
from stages.common.params import load
from stages.common.rng import numpy_stream, torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions, return_to_go
from stages.diffusion import world_model
from stages.diffusion.windows import steps_left
from stages.fidelity.value import Value
from stages.idm import model as idm

READS = ("discount", "target_return", "device", "threads", "sampler", "fidelity")


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


def real_windows(data: Transitions, rows: np.ndarray, horizon: int):
    """States (N, H + 1, S), rewards and ended (N, H) of the data's own windows from those rows, all of full length."""
    steps = rows[:, None] + np.arange(horizon)
    states = np.concatenate([data.observations[rows][:, None], data.next_observations[steps]], axis=1)
    return states, data.rewards[steps], data.discounts[steps] == 0


def steer(data: Transitions, dataset: str, task: Task, models, inverses, params, device) -> dict:
    """The record of the data set's world models; returns are over the task's scale.

    Returns:
        {"asked": quantiles of the data's return-to-go and the target return, "target", "reached": {"mean", "p10",
        "p90"} for each, "start": mean return-to-go of the starts in the data, "rank_correlation"}, the last with
        "within_starts": of asked and reached for one start, averaged over starts; "own": of the start's own
        return-to-go and what is reached when it is asked, {"asked", "unasked", "data": of the real window}; "beyond":
        the same after what the start's state and action tell is taken off both.
    """
    rng, discount, scale = numpy_stream("steering", dataset), params.discount, task.return_scale
    returns = return_to_go(data.rewards, data.episode, discount) / scale
    asked = [float(np.quantile(returns, quantile)) for quantile in params.fidelity.asked]
    asked.append(target(data, params.target_return, discount, task))
    after = np.where(data.discounts == 0, 0, (returns - data.rewards / scale) / discount)
    value = Value(data.next_observations, after, f"{dataset} states", device)
    pairs = np.concatenate([data.observations, data.actions], axis=1)
    told = Value(pairs, returns, f"{dataset} pairs", device)

    horizon = models[0].sizes["horizon"]
    whole = np.flatnonzero(steps_left(data.episode) >= horizon)
    starts = rng.choice(whole, min(params.fidelity.starts, len(whole)), replace=False)
    edges = np.linspace(0, len(starts), len(models) + 1).astype(int)

    def ask(wanted: np.ndarray, guidance: float) -> np.ndarray:
        """What the starts' windows reach, (N,), when each is asked for its own of (N,); always with the same noise."""
        sampler, found = params.sampler.model_copy(update={"guidance": guidance}), []
        for k in range(len(models)):
            rows, stream = starts[edges[k] : edges[k + 1]], torch_stream("steering", dataset, k, device=device)
            mine = wanted[edges[k] : edges[k + 1]].astype(np.float32)
            given = (torch.from_numpy(x).to(device) for x in (data.observations[rows], data.actions[rows], mine))
            path, _, rewards, ended = imagined(models[k], inverses[k], task.healthy, *given, sampler, stream)
            found.append(reached(path, rewards, ended, discount, value, scale))
        return np.concatenate(found)

    guidance = params.sampler.guidance
    found = np.stack([ask(np.full(len(starts), one), guidance) for one in asked], axis=1)  # (starts, asked)
    own = returns[starts]
    windows = {
        "asked": ask(own, guidance),
        "unasked": ask(own, 0.0),
        "data": reached(*real_windows(data, starts, horizon), discount, value, scale),
    }
    known = told(pairs[starts])
    return {
        "asked": asked,
        "target": asked[-1],
        "reached": {
            "mean": found.mean(0),
            **{name: np.quantile(found, q, axis=0) for name, q in (("p10", 0.1), ("p90", 0.9))},
        },
        "start": own.mean(),
        "rank_correlation": {
            "within_starts": rank_correlation(np.array(asked), found),
            "own": {name: rank_correlation(own, got) for name, got in windows.items()},
            "beyond": {name: rank_correlation(own - known, got - known) for name, got in windows.items()},
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

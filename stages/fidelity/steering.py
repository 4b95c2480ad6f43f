"""Return conditioning: whether windows conditioned on a larger return-to-go reach a larger one.

`python -m stages.fidelity.steering --dataset D` writes results/D/steering.json. A window reaches its discounted rewards
plus the discounted value of its last state, as estimated from the data (`value.py`). The world model is conditioned in
two ways: every start on the same returns-to-go, from low to high and with the same noise; and each start on its own
return-to-go in the data. Within a few steps a return-to-go depends little on anything but the first state and action,
in the data as in the model. So the real windows are measured too, and the model without conditioning.
"""

import numpy as np
import torch
from scipy.stats import rankdata

from stages.augment.imagine import completed_windows, target_return
from stages.common.files import write_json
from stages.common.rng import numpy_stream
from stages.common.settings import root
from stages.common.stage import begin
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions, return_to_go, steps_left
from stages.diffusion.settings import Sampler
from stages.fidelity.settings import Fidelity
from stages.fidelity.value import Value
from stages.idm import model as idm
from stages.synthetic_data.terminals import rule_of
from stages.tasks.tasks import Task
from stages.world_model import model as world_model

READS = root("discount", "target_return", "terminals", "device", "threads") | {"sampler": Sampler, "fidelity": Fidelity}


def reached(states, rewards, ended, discount: float, value, scale: float) -> np.ndarray:
    """(N,) return-to-go that windows reach, divided by `scale`; nothing counts after an end.

    Arguments:
        states: (N, H + 1, S); rewards, ended: (N, H).
        value: states (N, S) → (N,) return-to-go, already divided by `scale`.
    """
    before_end = np.cumsum(ended, axis=1) - ended == 0
    powers = discount ** np.arange(rewards.shape[1])
    beyond = discount ** rewards.shape[1] * value(states[:, -1]) * ~ended.any(1)
    return (powers * rewards * before_end).sum(1) / scale + beyond


def rank_correlation(asked: np.ndarray, achieved: np.ndarray) -> float:
    """Spearman's rank correlation along the last axis, averaged over the others; 0 if nothing varies."""
    a, b = (rankdata(x, axis=-1) for x in np.broadcast_arrays(asked, achieved))
    a, b = (x - x.mean(-1, keepdims=True) for x in (a, b))
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return float(np.mean((a * b).sum(-1) / np.where(size > 0, size, 1)))


def real_windows(data: Transitions, rows: np.ndarray, horizon: int):
    """States (N, H + 1, S), rewards and ended (N, H) of the data's windows that start at `rows`, all of full length."""
    steps = rows[:, None] + np.arange(horizon)
    states = np.concatenate([data.observations[rows][:, None], data.next_observations[steps]], axis=1)
    return states, data.rewards[steps], data.discounts[steps] == 0


def steer(data: Transitions, dataset: str, task: Task, models, inverses, params, device) -> dict:
    """The steering record of a data set's world models; returns are divided by the task's return scale.

    Returns:
        {"asked": quantiles of the data's return-to-go, then the target return; "target"; "reached": {"mean", "p10",
        "p90"}, each for every entry of "asked"; "start": mean return-to-go of the starts in the data;
        "rank_correlation"}. The last has "within_starts": correlation of asked and reached for one start, averaged over
        starts; "own": correlation of a start's return-to-go in the data with the one reached by windows conditioned on
        it ("asked"), by unconditioned windows ("unasked") and by the real window ("data"); "beyond": the same after
        subtracting from both what the start's state and action predict.
    """
    rng, discount, scale = numpy_stream("steering", dataset), params.discount, task.return_scale
    returns = return_to_go(data.rewards, data.episode, discount) / scale
    asked = [float(np.quantile(returns, quantile)) for quantile in params.fidelity.asked]
    asked.append(target_return(data, params.target_return, discount, task))
    after = np.where(data.discounts == 0, 0, (returns - data.rewards / scale) / discount)
    value = Value(data.next_observations, after, f"{dataset} states", device)
    pairs = np.concatenate([data.observations, data.actions], axis=1)
    predict = Value(pairs, returns, f"{dataset} pairs", device)

    horizon, healthy = models[0].sizes["horizon"], rule_of(task, params.terminals)
    full = np.flatnonzero(steps_left(data.episode) >= horizon)  # rows that start a window of full length
    starts = rng.choice(full, min(params.fidelity.starts, len(full)), replace=False)
    edges = np.linspace(0, len(starts), len(models) + 1).astype(int)

    def conditioned(targets: np.ndarray, guidance: float) -> np.ndarray:
        """(N,) return-to-go that the starts' windows reach if conditioned on `targets`, (N,); always the same noise."""
        sampler, parts = params.sampler.model_copy(update={"guidance": guidance}), []
        for k in range(len(models)):
            rows, stream = starts[edges[k] : edges[k + 1]], torch_stream("steering", dataset, k, device=device)
            wanted = targets[edges[k] : edges[k + 1]].astype(np.float32)
            given = (torch.from_numpy(x).to(device) for x in (data.observations[rows], data.actions[rows], wanted))
            path, _, rewards, ended = completed_windows(models[k], inverses[k], healthy, *given, sampler, stream)
            parts.append(reached(path, rewards, ended, discount, value, scale))
        return np.concatenate(parts)

    guidance = params.sampler.guidance
    grid = np.stack([conditioned(np.full(len(starts), one), guidance) for one in asked], axis=1)  # (starts, asked)
    own = returns[starts]
    windows = {
        "asked": conditioned(own, guidance),
        "unasked": conditioned(own, 0.0),
        "data": reached(*real_windows(data, starts, horizon), discount, value, scale),
    }
    predicted = predict(pairs[starts])
    return {
        "asked": asked,
        "target": asked[-1],
        "reached": {
            "mean": grid.mean(0),
            **{name: np.quantile(grid, q, axis=0) for name, q in (("p10", 0.1), ("p90", 0.9))},
        },
        "start": own.mean(),
        "rank_correlation": {
            "within_starts": rank_correlation(np.array(asked), grid),
            "own": {name: rank_correlation(own, reach) for name, reach in windows.items()},
            "beyond": {name: rank_correlation(own - predicted, reach - predicted) for name, reach in windows.items()},
        },
    }


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
    models = world_model.load(f"models/{dataset}/diffusion.safetensors", device)
    inverses = idm.load(f"models/{dataset}/idm.safetensors", device)
    record = steer(data, dataset, task, models, inverses, params, device)
    write_json(f"results/{dataset}/steering.json", record, digits=5)


if __name__ == "__main__":
    main()

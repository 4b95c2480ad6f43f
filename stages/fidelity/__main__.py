"""Measures the fidelity of one method's transitions → results/D/fidelity-M.json. Method `real` gives the floor."""

import json

import numpy as np
import torch

from stages.common.files import write_json
from stages.common.rng import numpy_stream
from stages.common.settings import root
from stages.common.stage import begin
from stages.common.timing import digest
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.fidelity.coverage import coverage, diversity
from stages.fidelity.errors import physics_errors
from stages.fidelity.settings import Fidelity
from stages.fidelity.windows import imagined, planar
from stages.idm import model as idm
from stages.tasks.environments import resettable
from stages.tasks.physics import Physics
from stages.tasks.tasks import Task

READS = root("discount", "device", "threads") | {"fidelity": Fidelity}


def sample_rows(
    data: Transitions, count: int, rng: np.random.Generator, among: np.ndarray | None = None
) -> Transitions:
    """Up to `count` random rows, in their original order.

    Arguments:
        among: (N,) bool, the rows to choose from; all rows by default.
    """
    rows = np.arange(len(data)) if among is None else np.flatnonzero(among)
    chosen = np.zeros(len(data), dtype=bool)
    chosen[rng.choice(rows, min(count, len(rows)), replace=False)] = True
    return data.rows(chosen)


def action_errors(data: Transitions, inverses: list[idm.InverseDynamics], device) -> dict:
    """Errors of the inverse model on the first step of each window, whose action is known.

    DAWM's later actions come from the inverse model itself, so they have no error to measure.
    """
    first = data.rows(data.step == 0) if data.step is not None else data
    generators = np.zeros(len(first), dtype=int) if first.generator is None else first.generator
    inferred = np.empty_like(first.actions)
    for k in np.unique(generators):
        states, following = (
            torch.from_numpy(array[generators == k]).to(device)
            for array in (first.observations, first.next_observations)
        )
        inferred[generators == k] = inverses[k].infer(states, following).cpu().numpy()
    error = (inferred - first.actions).astype(np.float64)
    return {
        "r2": 1 - np.square(error).mean() / max(first.actions.astype(np.float64).var(0).mean(), 1e-9),
        "median_absolute_error": np.median(np.abs(error)),
        "p90_absolute_error": np.quantile(np.abs(error), 0.9),
    }


def cost(data: Transitions, path: str) -> dict | None:
    """The set's cost record (`synthetic_data.cost`) with its number of transitions, and the file's md5 as "sampled".

    None if the set has no cost record, as real data have none.
    """
    if data.cost is None:
        return None
    return {**json.loads(str(data.cost)), "sampled": digest(path), "transitions": len(data)}


def fidelity(data: Transitions, real: Transitions, task: Task, inverses, params, dataset: str, method: str, device):
    """The fidelity record of one method; entries that cannot be measured are None.

    Physics and inverse dynamics need one-step transitions, so a method of n-step transitions has neither. Physics also
    needs an environment whose observation determines the simulator's state.
    """
    count, rng = params.fidelity.transitions, numpy_stream("fidelity", dataset, method)
    halves = numpy_stream("fidelity", dataset, "halves")
    half = real.held_out(0.5, halves)
    first, second = (sample_rows(real, count, halves, among) for among in (half, ~half))
    sample = sample_rows(data, count, rng)
    step = np.zeros(len(sample), dtype=int) if sample.step is None else sample.step
    single = bool(np.isin(data.discounts, [0, np.float32(params.discount)]).all())
    physics = Physics(task.environment) if single and resettable(task.environment) else None
    drawn = physics and method != "real" and planar(task.environment)
    windows = numpy_stream("fidelity", dataset, method, "windows")
    starts = np.searchsorted(real.episode, real.episode)  # rows of an episode are consecutive
    return {
        "dataset": dataset,
        "method": method,
        "physics": physics and physics_errors(sample, step, real, physics),
        "imagined": imagined(data, real, physics, windows) if drawn else None,
        "inverse_dynamics": action_errors(sample, inverses, device) if single else None,
        "terminal_rate": {"measured": (data.discounts == 0).mean(), "real": (real.discounts == 0).mean()},
        "coverage": coverage(second if method == "real" else sample, first, second, params.fidelity.neighbours),
        "diversity": diversity(sample, step, real, np.arange(len(real)) - starts, first, params.fidelity.neighbours),
    }


def main():
    given, params = begin(__doc__, READS, "dataset", "method")
    dataset, method, device = given.dataset, given.method, setup(params.device, params.threads)
    real, path = Transitions.load(f"data/{dataset}/real.npz"), f"data/{dataset}/{method}.npz"
    data = real if method == "real" else Transitions.load(path)
    inverses = idm.load(f"models/{dataset}/idm.safetensors", device)
    record = fidelity(data, real, Task.load(dataset), inverses, params, dataset, method, device)
    write_json(f"results/{dataset}/fidelity-{method}.json", {**record, "cost": cost(data, path)}, digits=6)


if __name__ == "__main__":
    main()

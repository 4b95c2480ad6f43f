"""Measures how true one method's transitions are: writes results/D/fidelity-M.json. Method `real` gives the floor."""

import argparse
import json

import numpy as np
import torch

from stages.common.cost import digest
from stages.common.files import write_json
from stages.common.params import load
from stages.common.rng import numpy_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.fidelity.coverage import coverage, diversity
from stages.fidelity.physics import Physics, physics_errors
from stages.idm import model as idm

READS = ("discount", "device", "threads", "fidelity")


def some(data: Transitions, count: int, rng: np.random.Generator, among: np.ndarray | None = None) -> Transitions:
    """So many rows at random, in their order, or all where there are fewer."""
    rows = np.arange(len(data)) if among is None else np.flatnonzero(among)
    which = np.zeros(len(data), dtype=bool)
    which[rng.choice(rows, min(count, len(rows)), replace=False)] = True
    return data.rows(which)


def action_errors(data: Transitions, inverses: list[idm.InverseDynamics], device) -> dict:
    """What the inverse model says of the first step of each window, whose action is known.

    Later actions of DAWM are the inverse model's own, so they have no error to show.
    """
    first = data.rows(data.step == 0) if data.step is not None else data
    generators = np.zeros(len(first), dtype=int) if first.generator is None else first.generator
    said = np.empty_like(first.actions)
    for k in np.unique(generators):
        states, following = (
            torch.from_numpy(array[generators == k]).to(device)
            for array in (first.observations, first.next_observations)
        )
        said[generators == k] = inverses[k].infer(states, following).cpu().numpy()
    error = (said - first.actions).astype(np.float64)
    return {
        "r2": 1 - np.square(error).mean() / max(first.actions.astype(np.float64).var(0).mean(), 1e-9),
        "median_absolute_error": np.median(np.abs(error)),
        "p90_absolute_error": np.quantile(np.abs(error), 0.9),
    }


def cost(data: Transitions, path: str) -> dict | None:
    """What the transitions in that file took, see `cost.made`; with their number, and the file's md5 as "sampled"."""
    if data.made is None:
        return None
    return {**json.loads(str(data.made)), "sampled": digest(path), "transitions": len(data)}


def fidelity(data: Transitions, real: Transitions, task: Task, inverses, params, dataset: str, method: str, device):
    """The record of one method; entries that cannot be had are None.

    Physics and actions need single steps, so a method of n-step transitions has neither; and physics an environment
    whose observation tells the simulator's state.
    """
    count, rng = params.fidelity.transitions, numpy_stream("fidelity", dataset, method)
    halves = numpy_stream("fidelity", dataset, "halves")
    half = real.held_out(0.5, halves)
    first, second = (some(real, count, halves, among) for among in (half, ~half))
    sample = some(data, count, rng)
    step = np.zeros(len(sample), dtype=int) if sample.step is None else sample.step
    single = bool(np.isin(data.discounts, [0, np.float32(params.discount)]).all())
    physics = Physics(task.environment) if single and Physics.knows(task.environment) else None
    starts = np.searchsorted(real.episode, real.episode)  # rows of an episode are consecutive
    return {
        "dataset": dataset,
        "method": method,
        "physics": physics and physics_errors(sample, step, real, physics),
        "inverse_dynamics": action_errors(sample, inverses, device) if single else None,
        "terminal_rate": {"found": (data.discounts == 0).mean(), "real": (real.discounts == 0).mean()},
        "coverage": coverage(second if method == "real" else sample, first, second),
        "diversity": diversity(sample, step, real, np.arange(len(real)) - starts, first, params.fidelity.neighbours),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("dataset", "method"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    params = load(*READS)
    device = setup(params.device, params.threads)
    real = Transitions.load(f"data/{given.dataset}/real.npz")
    path = f"data/{given.dataset}/{given.method}.npz"
    data = real if given.method == "real" else Transitions.load(path)
    inverses = idm.load(f"models/{given.dataset}/idm.safetensors", device)
    record = fidelity(data, real, Task.load(given.dataset), inverses, params, given.dataset, given.method, device)
    record = {**record, "cost": cost(data, path)}
    write_json(f"results/{given.dataset}/fidelity-{given.method}.json", record, digits=6)


if __name__ == "__main__":
    main()

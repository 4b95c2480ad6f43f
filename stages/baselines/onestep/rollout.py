"""Makes the one-step models' training set for one data set: writes data/D/onestep.npz."""

import argparse

import torch
from safetensors.torch import load_file

from stages.augment.generate import generate
from stages.augment.joined import joined, total
from stages.baselines.onestep.dynamics import OneStep
from stages.baselines.onestep.train import build
from stages.common.cost import made, parameters, timed
from stages.common.params import load
from stages.common.progress import progress
from stages.common.rng import torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions

READS = (
    "generators",
    "horizon",
    "discount",
    "real_fraction",
    "device",
    "threads",
    "budget",
    "augment",
    "onestep",
)


def rollout(model: OneStep, healthy, states, actions, horizon: int, penalty: float, stream: torch.Generator):
    """Rollouts from real states (B, S) with the data's actions (B, A) first and the cloned behaviour's then.

    Arguments:
        healthy: states (…, S) → (…) bool, False where the task ends; None where that is not known.
        penalty: times the models' uncertainty is what rewards are to be lowered by.

    Returns:
        what `complete` takes, NumPy: states (B, H + 1, S), actions (B, H, A), rewards, ended and penalties (B, H).
    """
    path, acted, rewards, ended, penalties = [states], [actions], [], [], []
    for step in range(horizon):
        reward, end, following, uncertainty = model.step(path[-1], acted[-1], stream)
        for found, value in ((rewards, reward), (path, following), (penalties, penalty * uncertainty)):
            found.append(value)
        ended.append(torch.zeros(len(states), dtype=torch.bool) if end is None else end)
        if step < horizon - 1:
            acted.append(model.behave(following, stream))
    path, acted, rewards, ended, penalties = (
        torch.stack([part.cpu() for part in parts], dim=1).numpy() for parts in (path, acted, rewards, ended, penalties)
    )
    return path, acted, rewards, ended if healthy is None else ~healthy(path[:, 1:]), penalties


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    with timed(f"data/{dataset}/onestep.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained, config, found = f"models/{dataset}/onestep.safetensors", params.onestep.dynamics, []
        models = torch.nn.ModuleList(build(data, task, dataset, k, config) for k in range(params.generators))
        models.to(device).eval().load_state_dict(load_file(trained, str(device)))
        for k, model in enumerate(progress(models, f"onestep {dataset}", unit="generator")):
            stream = torch_stream("onestep", dataset, k, "rollouts", device=device)

            def imagine(states, actions, model=model, stream=stream):
                return rollout(model, task.healthy, states, actions, params.horizon, params.onestep.penalty, stream)

            found.append(generate(data, imagine, params, f"onestep {dataset} generator {k}", stream))
        parts, counts = zip(*found, strict=True)
        seen, horizon = total(counts), params.horizon
        passes = seen["windows"] * (horizon * config.members + horizon - 1) / seen["kept"]
        told = made([trained], parameters(models[0].dynamics, models[0].behaviour), passes, seen)
        own = params.onestep.real_fraction
        joined(parts, params.real_fraction if own is None else own, told).save(f"data/{dataset}/onestep.npz")


if __name__ == "__main__":
    main()

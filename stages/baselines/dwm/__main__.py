"""Makes DWM's training set for one data set: writes data/D/dwm.npz."""

import argparse

import numpy as np
import torch

from stages.augment.complete import Bounds
from stages.augment.generate import ends, target
from stages.augment.joined import joined, total
from stages.baselines.dwm.value_expansion import lengths, n_step
from stages.common.cost import made, parameters, timed
from stages.common.params import load
from stages.common.progress import progress
from stages.common.rng import numpy_stream, torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion import world_model
from stages.diffusion.samplers import evaluations

READS = ("discount", "target_return", "device", "threads", "sampler", "augment", "budget", "dwm")


def expand(data: Transitions, dataset: str, task: Task, generator: int, model, params, device) -> tuple[dict, dict]:
    """`dwm.futures` futures of every real state and action, each as one transition for each of `dwm.lambda_returns`.

    Arguments:
        params: has `discount`, `target_return`, `sampler`, `augment` and `dwm`.

    Returns:
        columns (n, …), and the counts {"windows", "kept", "dropped"}; kept and dropped are transitions.

    Raises:
        SystemExit: where a larger share than `augment.max_drop` stands on states or rewards outside the data's bounds.
    """
    names, config = ("dwm", dataset, generator), params.dwm
    stream, rng = torch_stream(*names, device=device), numpy_stream(*names, "lengths")
    bounds, asked = Bounds(data, params.augment.margin), target(data, params.target_return, params.discount, task)
    starts = np.tile(np.arange(len(data)), config.futures)
    parts = []
    for rows in np.split(starts, range(params.augment.batch, len(starts), params.augment.batch)):
        states, actions = (torch.from_numpy(array[rows]).to(device) for array in (data.observations, data.actions))
        returns = torch.full((len(rows),), asked, device=device)
        windows = model.imagine(states, actions, returns, params.sampler, stream)
        path, rewards, ended = windows.states.cpu().numpy(), windows.rewards.cpu().numpy(), ends(windows, task.healthy)
        believable = bounds.believable(rewards, path)
        for weight in config.lambda_returns:
            steps = lengths(len(rows), path.shape[1], weight, rng)
            sums, following, discounts, sound = n_step(path, rewards, ended, steps, params.discount, believable)
            columns = {
                "observations": data.observations[rows],
                "actions": data.actions[rows],
                "rewards": sums,
                "next_observations": following,
                "discounts": discounts,
                "lambda_return": np.full(len(rows), weight, dtype=np.float32),
            }
            parts.append({name: column[sound] for name, column in columns.items()})
    merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    asked_for, kept = len(starts) * len(config.lambda_returns), len(merged["rewards"])
    if asked_for - kept > params.augment.max_drop * asked_for:
        told = f"{asked_for - kept:,} of {asked_for:,} transitions, outside the data's bounds"
        raise SystemExit(f"{' '.join(map(str, names))}: dropped {told}; more than augment.max_drop allows")
    return merged, {"windows": len(starts), "kept": kept, "dropped": asked_for - kept}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    with timed(f"data/{dataset}/dwm.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained = f"models/{dataset}/diffusion.safetensors"
        models = world_model.load(trained, device)
        found = [
            expand(data, dataset, task, k, model, params, device)
            for k, model in enumerate(progress(models, f"dwm {dataset}", unit="generator"))
        ]
        parts, counts = zip(*found, strict=True)
        seen = total(counts)
        each = seen["kept"] / len(params.dwm.lambda_returns)  # an algorithm learns from those of its own λ
        passes = seen["windows"] * evaluations(params.sampler) / each
        told = made([trained], parameters(models[0].network), passes, seen)
        joined(parts, params.dwm.real_fraction, told).save(f"data/{dataset}/dwm.npz")


if __name__ == "__main__":
    main()

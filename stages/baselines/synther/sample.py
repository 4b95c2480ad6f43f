"""Makes SynthER's training set for one data set: writes data/D/synther.npz."""

import argparse
from collections import Counter

import numpy as np
import torch
from safetensors.torch import load_file

from stages.augment.complete import Bounds
from stages.augment.joined import joined, total
from stages.baselines.synther.model import SynthEr
from stages.common.cost import made, parameters, timed
from stages.common.params import load
from stages.common.progress import progress
from stages.common.rng import torch_stream
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations

READS = ("generators", "discount", "device", "threads", "budget", "augment.margin", "augment.max_drop", "synther")


def sample(data: Transitions, model: SynthEr, params, name: str, stream: torch.Generator) -> tuple[dict, dict]:
    """`synther.transitions` transitions: columns (n, …), and the counts {"made", "kept", "dropped"}.

    Raises:
        SystemExit: where a larger share than `augment.max_drop` lies outside the data's bounds.
    """
    config, bounds, parts, counts = params.synther, Bounds(data, params.augment.margin), [], Counter()
    while counts["kept"] < config.transitions:
        states, actions, rewards, following, ended = model.sample(config.sample_batch, config.sampler, stream)
        keep = bounds.believable(rewards[:, None], np.stack([states, following], axis=1)).all(1)
        columns = {
            "observations": states,
            "actions": actions,
            "rewards": rewards,
            "next_observations": following,
            "discounts": np.where(ended, 0, params.discount).astype(np.float32),
        }
        parts.append({key: column[keep] for key, column in columns.items()})
        counts.update(made=len(keep), kept=int(keep.sum()), dropped=int((~keep).sum()))
        if not counts["kept"] or counts["dropped"] > params.augment.max_drop * counts["made"]:
            told = f"{counts['dropped']:,} of {counts['made']:,} imagined transitions, outside the data's bounds"
            raise SystemExit(f"{name}: dropped {told}; more than augment.max_drop = {params.augment.max_drop}")
    return {key: np.concatenate([part[key] for part in parts])[: config.transitions] for key in parts[0]}, dict(counts)


def load_models(path: str, data: Transitions, config, generators: int, device) -> list[SynthEr]:
    """What `train.py` wrote."""
    sizes = data.observations.shape[1], data.actions.shape[1]
    models = torch.nn.ModuleList(SynthEr(*sizes, config) for _ in range(generators)).to(device).eval()
    models.load_state_dict(load_file(path, str(device)))
    return list(models)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    with timed(f"data/{dataset}/synther.npz"):
        data, trained = Transitions.load(f"data/{dataset}/real.npz"), f"models/{dataset}/synther.safetensors"
        models = load_models(trained, data, params.synther.denoiser, params.generators, device)
        found = []
        for k, model in enumerate(progress(models, f"synther {dataset}", unit="generator")):
            stream = torch_stream("synther", dataset, k, "samples", device=device)
            found.append(sample(data, model, params, f"synther {dataset} generator {k}", stream))
        parts, counts = zip(*found, strict=True)
        seen = total(counts)
        passes = evaluations(params.synther.sampler) * seen["made"] / seen["kept"]
        told = made([trained], parameters(models[0].network), passes, seen)
        joined(parts, params.synther.real_fraction, told).save(f"data/{dataset}/synther.npz")


if __name__ == "__main__":
    main()

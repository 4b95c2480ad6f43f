"""Makes DAWM's training set for one data set: writes data/D/dawm.npz and results/D/augment.json."""

import argparse

import numpy as np

from stages.augment.generate import generate, imagining, target
from stages.augment.joined import joined, total
from stages.common.cost import made, parameters, timed
from stages.common.files import write_json
from stages.common.params import load
from stages.common.progress import progress
from stages.common.rng import torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion import world_model
from stages.diffusion.samplers import evaluations
from stages.idm import model as idm

READS = ("discount", "target_return", "real_fraction", "device", "threads", "budget", "sampler", "augment")


def statistics(data: Transitions) -> dict:
    """The same figures for real and for synthetic transitions."""
    return {
        "transitions": len(data),
        "reward_mean": data.rewards.mean(),
        "reward_std": data.rewards.std(),
        "terminal_rate": (data.discounts == 0).mean(),
        "action_std": data.actions.std(0),
        "saturated_actions": (np.abs(data.actions) > 0.999).mean(),
        "observation_mean": data.observations.mean(0),
        "observation_std": data.observations.std(0),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    with timed(f"data/{dataset}/dawm.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained = [f"models/{dataset}/{name}.safetensors" for name in ("diffusion", "idm")]
        models, inverses = world_model.load(trained[0], device), idm.load(trained[1], device)
        parts, counts = [], []
        for k in progress(range(len(models)), f"augment {dataset}", unit="generator"):
            stream = torch_stream("augment", dataset, k, device=device)
            imagine = imagining(data, task, models[k], inverses[k], params, stream)
            part, count = generate(data, imagine, params, f"augment {dataset} generator {k}", stream)
            parts.append(part)
            counts.append(count)
        seen, horizon = total(counts), models[0].sizes["horizon"]
        passes = seen["windows"] * (evaluations(params.sampler) + horizon - 1) / seen["kept"]
        size = parameters(models[0].network, inverses[0])
        synthetic = joined(parts, params.real_fraction, made(trained, size, passes, seen))
        synthetic.save(f"data/{dataset}/dawm.npz")
        figures = {
            **{f"generator {k}": count for k, count in enumerate(counts)},
            "terminals": "the environment's rule" if task.healthy else "the model's channel",
            "return_asked": target(data, params.target_return, params.discount, task),
            "real": statistics(data),
            "synthetic": statistics(synthetic),
        }
        write_json(f"results/{dataset}/augment.json", figures, digits=5)


if __name__ == "__main__":
    main()

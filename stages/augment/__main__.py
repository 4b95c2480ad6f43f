"""Makes DAWM's training set for one data set: writes data/D/dawm.npz and results/D/augment.json."""

import argparse

import numpy as np

from stages.augment.generate import generate, target
from stages.common.cost import timed
from stages.common.files import write_json
from stages.common.params import load
from stages.common.progress import progress
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion import world_model
from stages.idm import model as idm

READS = ("discount", "target_return", "real_fraction", "device", "threads", "sampler", "augment")


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
        data = Transitions.load(f"data/{dataset}/real.npz")
        models = world_model.load(f"models/{dataset}/diffusion.safetensors", device)
        inverses = idm.load(f"models/{dataset}/idm.safetensors", device)

        task = Task.load(dataset)
        parts, counts = [], {}
        for k in progress(range(len(models)), f"augment {dataset}", unit="generator"):
            part, counts[f"generator {k}"] = generate(data, dataset, task, k, models[k], inverses[k], params, device)
            parts.append(part)
        synthetic = Transitions(
            **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
            generator=np.repeat(np.arange(len(parts), dtype=np.int8), [len(part["rewards"]) for part in parts]),
            real_fraction=np.float32(params.real_fraction),
        )
        synthetic.save(f"data/{dataset}/dawm.npz")
        figures = {
            **counts,
            "terminals": "the environment's rule" if task.healthy else "the model's channel",
            "return_asked": target(data, params.target_return, params.discount, task),
            "real": statistics(data),
            "synthetic": statistics(synthetic),
        }
        write_json(f"results/{dataset}/augment.json", figures, digits=5)


if __name__ == "__main__":
    main()

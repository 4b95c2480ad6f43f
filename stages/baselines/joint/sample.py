"""Makes the joint model's training set for one data set: writes data/D/joint.npz."""

import argparse

from stages.augment.generate import generate, imagining
from stages.augment.joined import joined, total
from stages.common.cost import made, parameters, timed
from stages.common.params import load
from stages.common.progress import progress
from stages.common.rng import torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion import world_model
from stages.diffusion.samplers import evaluations

READS = ("discount", "target_return", "real_fraction", "device", "threads", "budget", "sampler", "augment")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    with timed(f"data/{dataset}/joint.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained, found = f"models/{dataset}/joint.safetensors", []
        models = world_model.load(trained, device)
        for k, model in enumerate(progress(models, f"joint {dataset}", unit="generator")):
            stream = torch_stream("joint", dataset, k, "windows", device=device)
            imagine = imagining(data, task, model, None, params, stream)
            found.append(generate(data, imagine, params, f"joint {dataset} generator {k}", stream))
        parts, counts = zip(*found, strict=True)
        seen = total(counts)
        passes = seen["windows"] * evaluations(params.sampler) / seen["kept"]
        told = made([trained], parameters(models[0].network), passes, seen)
        joined(parts, params.real_fraction, told).save(f"data/{dataset}/joint.npz")


if __name__ == "__main__":
    main()

"""Trains the joint models of one data set: writes models/D/joint.safetensors."""

import argparse

from stages.common.checkpoint import Checkpoint
from stages.common.cost import timed
from stages.common.params import load
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion.train import train
from stages.diffusion.world_model import save

READS = ("generators", "horizon", "discount", "device", "threads", "budget", "diffusion")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
    path = f"models/{dataset}/joint.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"joint {dataset}", params, files, device)
        given = Transitions.load(files[0]), dataset, Task.load(dataset)
        every = range(params.generators)
        models = [train(*given, k, params, device, checkpoint, joint=True)[0] for k in every]
        save(models, path)
        checkpoint.discard()


if __name__ == "__main__":
    main()

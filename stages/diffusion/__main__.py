"""Trains the world models of one data set: writes models/D/diffusion.safetensors and results/D/diffusion.json."""

import argparse

from stages.common.files import write_json
from stages.common.params import load
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion.train import train
from stages.diffusion.world_model import save

READS = ("generators", "horizon", "discount", "device", "threads", "diffusion")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    data = Transitions.load(f"data/{dataset}/real.npz")
    scale = Task.load(dataset).return_scale

    models, losses = zip(
        *(train(data, dataset, scale, k, params, device) for k in range(params.generators)), strict=True
    )
    save(models, f"models/{dataset}/diffusion.safetensors")
    write_json(f"results/{dataset}/diffusion.json", {f"generator {k}": loss for k, loss in enumerate(losses)}, digits=5)


if __name__ == "__main__":
    main()

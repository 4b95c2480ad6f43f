"""Trains the world models of one data set: writes models/D/diffusion.safetensors and results/D/diffusion.json."""

import argparse

from stages.common.checkpoint import Checkpoint
from stages.common.cost import timed
from stages.common.files import write_json
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
    with timed(f"models/{dataset}/diffusion.safetensors"):
        files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
        data, task = Transitions.load(files[0]), Task.load(dataset)

        checkpoint = Checkpoint(f"diffusion {dataset}", params, files, device)
        trained = [train(data, dataset, task, k, params, device, checkpoint) for k in range(params.generators)]
        models, losses = zip(*trained, strict=True)
        save(models, f"models/{dataset}/diffusion.safetensors")
        write_json(
            f"results/{dataset}/diffusion.json", {f"generator {k}": loss for k, loss in enumerate(losses)}, digits=5
        )
        checkpoint.discard()


if __name__ == "__main__":
    main()

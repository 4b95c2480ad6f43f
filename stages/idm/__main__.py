"""Trains the inverse dynamics models of one data set: writes models/D/idm.safetensors and results/D/idm.json."""

import argparse

from stages.common.cost import timed
from stages.common.files import write_json
from stages.common.params import load
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.idm.model import save
from stages.idm.train import train

READS = ("generators", "device", "threads", "budget", "idm")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    with timed(f"models/{dataset}/idm.safetensors"):
        data = Transitions.load(f"data/{dataset}/real.npz")

        models, errors = zip(
            *(train(data, dataset, k, params.idm, device) for k in range(params.generators)), strict=True
        )
        save(models, f"models/{dataset}/idm.safetensors")
        write_json(f"results/{dataset}/idm.json", {f"generator {k}": error for k, error in enumerate(errors)}, digits=5)


if __name__ == "__main__":
    main()

"""Trains one cell: `python -m stages.policy --dataset D --method M --algorithm A` → models/D/M-A.safetensors."""

import argparse

from stages.common.params import load
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.policy.trainer import save, train

READS = ("seeds", "device", "threads", "policy", "{algorithm}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--dataset", "--method", "--algorithm"):
        parser.add_argument(name, required=True)
    cell = parser.parse_args()
    params = load(*(key.format(algorithm=cell.algorithm) for key in READS))
    device = setup(params.device, params.threads)
    real = Transitions.load(f"data/{cell.dataset}/real.npz")
    synthetic = None if cell.method == "real" else Transitions.load(f"data/{cell.dataset}/{cell.method}.npz")

    settings = getattr(params, cell.algorithm)
    if hasattr(settings, "for_dataset"):
        settings = settings.for_dataset(cell.dataset.removesuffix("-v2"))
    names = (cell.dataset, cell.method, cell.algorithm)
    policies = train(real, synthetic, names, cell.algorithm, params.policy, params.seeds, settings, device)
    save(policies, f"models/{cell.dataset}/{cell.method}-{cell.algorithm}.safetensors")


if __name__ == "__main__":
    main()

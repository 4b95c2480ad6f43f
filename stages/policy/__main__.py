"""Trains one cell: `python -m stages.policy --dataset D --method M --algorithm A` → models/D/M-A.safetensors."""

import argparse
from importlib import import_module

from stages.common.algorithm_settings import settings_for
from stages.common.checkpoint import Checkpoint
from stages.common.cost import timed
from stages.common.params import load
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.policy.policies import save
from stages.policy.trainer import train

READS = ("seeds", "device", "threads", "policy", "evaluate.every", "{algorithm}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--dataset", "--method", "--algorithm"):
        parser.add_argument(name, required=True)
    cell = parser.parse_args()
    params = load(*(key.format(algorithm=cell.algorithm) for key in READS))
    device = setup(params.device, params.threads)
    with timed(f"models/{cell.dataset}/{cell.method}-{cell.algorithm}.safetensors"):
        names = (cell.dataset, cell.method, cell.algorithm)
        files = [f"data/{cell.dataset}/{name}.npz" for name in ("real", cell.method)]
        real = Transitions.load(files[0])
        synthetic = None if cell.method == "real" else Transitions.load(files[1])

        settings = settings_for(params.policy, getattr(params, cell.algorithm), cell.dataset)
        import_module(f"stages.algorithms.{cell.algorithm}")  # before the checkpoint, which looks at the code
        checkpoint = Checkpoint("policy " + " ".join(names), params, files, device)
        policies = train(real, synthetic, names, settings, params.seeds, params.evaluate.every, device, checkpoint)
        save(policies, f"models/{cell.dataset}/{cell.method}-{cell.algorithm}.safetensors")
        checkpoint.discard()


if __name__ == "__main__":
    main()

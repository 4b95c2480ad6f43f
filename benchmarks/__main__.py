"""Measures training and sampling speed: `python -m benchmarks [policies] [world-model] [sharing] [gpu]`.

Prints the tables of docs/performance.md. The part `gpu` also checks the updates of everything that is trained.
"""

import argparse

from benchmarks import gpu, policies, sharing, world_model
from benchmarks.timing import machine
from stages.check import algorithms
from stages.check.schema import Params
from stages.common.params import read, validate
from stages.common.torch_setup import setup

DEFAULT = {"policies": policies.table, "world-model": world_model.table, "sharing": sharing.table}
PARTS = {**DEFAULT, "gpu": gpu.table}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=list(DEFAULT), metavar="part", help=f"{', '.join(PARTS)}; default: all except gpu"
    )
    parser.add_argument("--algorithms", nargs="+", default=algorithms.names(), choices=algorithms.names())
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 1 5 10, and for gpu 1 5 10 50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--compile", choices=["auto", "true", "false"], default="auto")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    params = validate(Params, read())
    device = setup(params.device, params.threads)
    if given.parts == ["gpu"] and device.type != "cuda":
        print(gpu.NEEDS_CUDA)
        return
    print(f"{machine(device)}; compile: {given.compile}; {given.rounds} rounds")
    for part in given.parts:
        print()
        PARTS[part](params, device, given)


if __name__ == "__main__":
    main()

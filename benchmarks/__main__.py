"""Measures training and sampling speed: `python -m benchmarks [policies] [world-model] [sharing]`.

Prints the tables of docs/performance.md.
"""

import argparse

from benchmarks import policies, sharing, world_model
from benchmarks.timing import machine
from stages.check.schema import Params
from stages.common.params import read, validate
from stages.common.torch_setup import setup

PARTS = {"policies": policies.table, "world-model": world_model.table, "sharing": sharing.table}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=list(PARTS), metavar="part", help=f"{', '.join(PARTS)}; default: all"
    )
    parser.add_argument("--algorithms", nargs="+", default=list(policies.LEARNERS), choices=list(policies.LEARNERS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 5, 10])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="duration of each measurement")
    parser.add_argument("--compile", choices=["auto", "true", "false"], default="auto")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    params = validate(Params, read())
    device = setup(params.device, params.threads)
    print(f"{machine(device)}; compile: {given.compile}; {given.rounds} rounds")
    for part in given.parts:
        print()
        PARTS[part](params, device, given)


if __name__ == "__main__":
    main()

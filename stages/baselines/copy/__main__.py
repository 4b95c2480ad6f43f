"""Makes the control `copy` for one data set: writes data/D/copy.npz."""

import argparse

import numpy as np

from stages.augment.joined import joined
from stages.common.cost import made, timed
from stages.common.params import load
from stages.common.rng import numpy_stream
from stages.common.transitions import Transitions

READS = ("generators", "real_fraction", "budget")
COLUMNS = "observations", "actions", "rewards", "next_observations", "discounts"


def copied(data: Transitions, count: int, rng: np.random.Generator) -> dict:
    """`count` real transitions, each as often as any other, or once more: columns (count, …).

    Drawn with replacement, they would weigh the data anew, and the difference would be the control's own.
    """
    rows = np.concatenate([rng.permutation(len(data)) for _ in range(-(-count // len(data)))])[:count]
    return {name: getattr(data, name)[rows] for name in COLUMNS}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    with timed(f"data/{dataset}/copy.npz"):
        data, count = Transitions.load(f"data/{dataset}/real.npz"), params.budget.transitions
        parts = [copied(data, count, numpy_stream("copy", dataset, k)) for k in range(params.generators)]
        told = made([], 0, 0.0, {"kept": count * params.generators})
        joined(parts, params.real_fraction, told).save(f"data/{dataset}/copy.npz")


if __name__ == "__main__":
    main()

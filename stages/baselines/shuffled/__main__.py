"""Makes the control `shuffled` for one data set: writes data/D/shuffled.npz."""

import argparse
from dataclasses import replace

import numpy as np

from stages.common.cost import remade, timed
from stages.common.params import load
from stages.common.rng import numpy_stream
from stages.common.transitions import Transitions

READS = ()


def shuffled(dawm: Transitions, real: Transitions, rng: np.random.Generator) -> Transitions:
    """DAWM's transitions; all but the first action of each window is one of the data's, drawn at random."""
    drawn = real.actions[rng.integers(len(real), size=len(dawm))]
    return replace(dawm, actions=np.where((dawm.step > 0)[:, None], drawn, dawm.actions))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    load(*READS)
    with timed(f"data/{dataset}/shuffled.npz"):
        source = f"data/{dataset}/dawm.npz"
        dawm, real = Transitions.load(source), Transitions.load(f"data/{dataset}/real.npz")
        drawn = shuffled(dawm, real, numpy_stream("shuffled", dataset))
        replace(drawn, made=remade(source, dawm.made)).save(f"data/{dataset}/shuffled.npz")


if __name__ == "__main__":
    main()

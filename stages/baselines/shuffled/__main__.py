"""Generates the control `shuffled`: `python -m stages.baselines.shuffled --dataset D` → data/D/shuffled.npz."""

from dataclasses import replace

import numpy as np

from stages.common.rng import numpy_stream
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.transitions import Transitions
from stages.synthetic_data.cost import derived_cost_record

READS = {}


def shuffled(dawm: Transitions, real: Transitions, rng: np.random.Generator) -> Transitions:
    """DAWM's transitions with a random real action in place of each inferred one.

    The first action of a window is real and stays.
    """
    random_actions = real.actions[rng.integers(len(real), size=len(dawm))]
    return replace(dawm, actions=np.where((dawm.step > 0)[:, None], random_actions, dawm.actions))


def main():
    given, _ = begin(__doc__, READS, "dataset")
    dataset = given.dataset
    with timed(f"data/{dataset}/shuffled.npz"):
        source = f"data/{dataset}/dawm.npz"
        dawm, real = Transitions.load(source), Transitions.load(f"data/{dataset}/real.npz")
        control = shuffled(dawm, real, numpy_stream("shuffled", dataset))
        replace(control, cost=derived_cost_record(source, dawm.cost)).save(f"data/{dataset}/shuffled.npz")


if __name__ == "__main__":
    main()

"""Generates the control `copy`: `python -m stages.baselines.copy --dataset D` → data/D/copy.npz."""

import numpy as np

from stages.common.rng import numpy_stream
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.transitions import Transitions
from stages.synthetic_data.cost import cost_record
from stages.synthetic_data.join import joined

READS = root("generators", "real_fraction") | budget("transitions")
COLUMNS = "observations", "actions", "rewards", "next_observations", "discounts"


def copied(data: Transitions, count: int, rng: np.random.Generator) -> dict:
    """`count` real transitions in random order, as columns (count, …). The rows' frequencies differ by one at most.

    Drawing with replacement would reweight the data, and the control would differ from the real data for that reason.
    """
    rows = np.concatenate([rng.permutation(len(data)) for _ in range(-(-count // len(data)))])[:count]
    return {name: getattr(data, name)[rows] for name in COLUMNS}


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, count = given.dataset, params.budget.transitions
    with timed(f"data/{dataset}/copy.npz"):
        data = Transitions.load(f"data/{dataset}/real.npz")
        parts = [copied(data, count, numpy_stream("copy", dataset, k)) for k in range(params.generators)]
        cost = cost_record([], 0, 0.0, {"kept": count * params.generators})
        joined(parts, params.real_fraction, cost).save(f"data/{dataset}/copy.npz")


if __name__ == "__main__":
    main()

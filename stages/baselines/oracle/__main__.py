"""Generates the control `oracle`: `python -m stages.baselines.oracle --dataset D` → data/D/oracle.npz."""

from dataclasses import replace

import numpy as np

from stages.common.settings import root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.transitions import Transitions
from stages.synthetic_data.cost import derived_cost_record
from stages.tasks.environments import resettable
from stages.tasks.physics import Physics
from stages.tasks.tasks import Task

READS = root("discount")


def corrected(data: Transitions, physics: Physics, discount: float) -> Transitions:
    """The same states and actions with the simulator's next states, rewards and terminals.

    Rows for which the simulator's answer is not finite are left out.
    """
    next_states, rewards, ended = physics(data.observations, data.actions)
    finite = np.isfinite(next_states).all(1) & np.isfinite(rewards)
    consequences = {
        "next_observations": np.where(finite[:, None], next_states, 0).astype(np.float32),
        "rewards": np.where(finite, rewards, 0).astype(np.float32),
        "discounts": np.where(ended, 0, discount).astype(np.float32),
    }
    return replace(data, **consequences).rows(finite)


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, task = given.dataset, Task.load(given.dataset)
    if not resettable(task.environment):
        raise SystemExit(
            f"oracle {dataset}: the observation does not hold the simulator's state; leave oracle out of methods"
        )
    with timed(f"data/{dataset}/oracle.npz"):
        source = f"data/{dataset}/dawm.npz"
        dawm = Transitions.load(source)
        oracle = corrected(dawm, Physics(task.environment), params.discount)
        replace(oracle, cost=derived_cost_record(source, dawm.cost)).save(f"data/{dataset}/oracle.npz")


if __name__ == "__main__":
    main()

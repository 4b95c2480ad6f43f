"""Makes the control `oracle` for one data set: writes data/D/oracle.npz."""

import argparse
from dataclasses import replace

import numpy as np

from stages.common.cost import remade, timed
from stages.common.params import load
from stages.common.tasks import Task
from stages.common.transitions import Transitions
from stages.fidelity.physics import Physics

READS = ("discount",)


def corrected(data: Transitions, physics: Physics, discount: float) -> Transitions:
    """The same states and actions, with what the simulator says of them; without the rows on which it has no answer."""
    following, rewards, ended = physics(data.observations, data.actions)
    sound = np.isfinite(following).all(1) & np.isfinite(rewards)
    told = {
        "next_observations": np.where(sound[:, None], following, 0).astype(np.float32),
        "rewards": np.where(sound, rewards, 0).astype(np.float32),
        "discounts": np.where(ended, 0, discount).astype(np.float32),
    }
    return replace(data, **told).rows(sound)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params, task = load(*READS), Task.load(dataset)
    if not Physics.knows(task.environment):
        raise SystemExit(
            f"oracle {dataset}: its observation does not hold the simulator's state; leave oracle out of methods"
        )
    with timed(f"data/{dataset}/oracle.npz"):
        source = f"data/{dataset}/dawm.npz"
        dawm = Transitions.load(source)
        oracle = corrected(dawm, Physics(task.environment), params.discount)
        replace(oracle, made=remade(source, dawm.made)).save(f"data/{dataset}/oracle.npz")


if __name__ == "__main__":
    main()

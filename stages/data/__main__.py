"""Collects or reads one data set: `python -m stages.data --dataset D` → data/D/real.npz and results/D/data.json."""

import argparse

import numpy as np

from stages.common.files import write_json
from stages.common.params import load
from stages.common.tasks import EPISODE_LIMIT, task_of
from stages.common.transitions import Transitions
from stages.data import d4rl, local

READS = ("source", "discount", "data")


def summary(data: Transitions, dataset: str, source: str) -> dict:
    """What the report says of the data; returns and lengths are of whole episodes, so a cut last one is left out."""
    task = task_of(dataset)
    lengths = np.bincount(data.episode)
    ends = np.flatnonzero(np.append(np.diff(data.episode) != 0, True))
    whole = (data.discounts[ends] == 0) | (lengths >= EPISODE_LIMIT - 1)  # D4RL leaves out the last step
    returns = np.bincount(data.episode, weights=data.rewards)[whole]
    return {
        "source": source,
        "environment": task.environment,
        "transitions": len(data),
        "episodes": len(lengths),
        "terminals": int((data.discounts == 0).sum()),
        "timeouts": int(data.timeouts.sum()),
        "return_mean": returns.mean(),
        "return_std": returns.std(),
        "return_max": returns.max(),
        "score_mean": task.score(returns.mean()),
        "length_mean": lengths[whole].mean(),
        "saturated_actions": (np.abs(data.actions) > 0.999).mean(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)

    if params.source == "local":
        data = local.collect(dataset, params.data.transitions, params.discount)
    else:
        data = d4rl.read(dataset, params.data.directory, params.discount)
    data.save(f"data/{dataset}/real.npz")
    write_json(f"results/{dataset}/data.json", summary(data, dataset, params.source), digits=6)


if __name__ == "__main__":
    main()

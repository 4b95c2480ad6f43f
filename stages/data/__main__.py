"""Collects or reads one data set: `python -m stages.data --dataset D` → data/D/real.npz, data/D/task.json and
results/D/data.json.
"""

import argparse

import numpy as np

from stages.common.cost import timed
from stages.common.environments import name_of
from stages.common.files import write_json
from stages.common.params import load
from stages.common.simulator import make
from stages.common.tasks import Task, gym_mujoco, parse
from stages.common.transitions import Transitions
from stages.data import d4rl, local, minari

READS = ("source", "discount", "threads", "local", "d4rl")


def whole_episodes(data: Transitions, limit: int, source: str) -> np.ndarray:
    """(episodes,) bool: those that ended by themselves or by the time limit, and not where the data were cut."""
    ends = np.flatnonzero(np.append(np.diff(data.episode) != 0, True))
    terminal = data.discounts[ends] == 0
    if source == "local":  # parts end anywhere
        return terminal | (data.lengths() >= limit)
    return terminal | (np.arange(len(ends)) < len(ends) - 1)


def summary(data: Transitions, task: Task, source: str) -> dict:
    """What the report says of the data; returns and lengths are of whole episodes, or of all where none is whole."""
    lengths, returns = data.lengths(), data.returns()
    whole = whole_episodes(data, task.episode_limit, source)
    whole = whole if whole.any() else np.ones_like(whole)
    return {
        "source": source,
        "environment": name_of(task.environment),
        "transitions": len(data),
        "episodes": len(lengths),
        "terminals": int((data.discounts == 0).sum()),
        "timeouts": int(data.timeouts.sum()),
        "return_mean": returns[whole].mean(),
        "return_std": returns[whole].std(),
        "return_max": returns[whole].max(),
        "score_mean": task.score(returns[whole].mean()),
        "length_mean": lengths[whole].mean(),
        "saturated_actions": (np.abs(data.actions) > 0.999).mean(),
    }


def check_environment(data: Transitions, task: Task, dataset: str):
    """Ends the stage where policies of these data could not be evaluated, before anything is trained on them."""
    env = make(task.environment)
    found = data.observations.shape[1:], data.actions.shape[1:]
    wanted = env.observation_space.shape, env.action_space.shape
    env.close()
    if found != wanted:
        raise SystemExit(
            f"{dataset}: observations and actions have shapes {found},"
            f" those of {name_of(task.environment)} have {wanted}"
        )


def write(dataset: str, params):
    facts = {}
    if params.source == "local":
        data = local.collect(dataset, params.local.transitions, params.discount, params.threads)
        task = gym_mujoco(parse(dataset)[0])
    elif params.source == "d4rl":
        data, task, facts = d4rl.read(dataset, params.d4rl.directory, params.discount)
    else:
        data, task, facts = minari.read(dataset, params.discount)
    check_environment(data, task, dataset)
    data.save(f"data/{dataset}/real.npz")
    task.save(dataset)
    write_json(f"results/{dataset}/data.json", {**summary(data, task, params.source), **facts}, digits=6)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    with timed(f"data/{dataset}/real.npz"):
        write(dataset, params)


if __name__ == "__main__":
    main()

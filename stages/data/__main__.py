"""Collects or reads a data set: `python -m stages.data --dataset D` → data/D/real.npz, data/D/task.json and
results/D/data.json.
"""

import numpy as np

from stages.common.files import write_json
from stages.common.settings import root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.transitions import Transitions
from stages.data.recorded import as_recorded
from stages.data.settings import D4rl, Local
from stages.tasks.environments import name_of
from stages.tasks.simulator import make
from stages.tasks.tasks import Task, gym_mujoco, parse

READS = root("source", "discount", "threads") | {"local": Local, "d4rl": D4rl}


def whole_episodes(data: Transitions, limit: int, source: str) -> np.ndarray:
    """(episodes,) bool: episodes that ended by a terminal or the time limit, not because the data end there."""
    ends = np.flatnonzero(np.append(np.diff(data.episode) != 0, True))
    terminal = data.discounts[ends] == 0
    if source == "local":  # collected in parts, whose last episodes are truncated
        return terminal | (data.lengths() >= limit)
    return terminal | (np.arange(len(ends)) < len(ends) - 1)


def summary(data: Transitions, task: Task, source: str) -> dict:
    """Facts for the report; returns and lengths are of whole episodes, or of all if none is whole."""
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
    """Ends the stage if policies for these data could not be evaluated, before any are trained."""
    env = make(task.environment)
    shapes = data.observations.shape[1:], data.actions.shape[1:]
    expected = env.observation_space.shape, env.action_space.shape
    env.close()
    if shapes != expected:
        raise SystemExit(
            f"{dataset}: observations and actions have shapes {shapes},"
            f" those of {name_of(task.environment)} have {expected}"
        )


def check_episodes(data: Transitions, dataset: str):
    """Ends the stage if no episode could be held out for validation."""
    if len(data.lengths()) < 2:
        raise SystemExit(f"{dataset}: has a single episode; at least two are needed, since models are validated on one")


def write(dataset: str, params):
    """Collects or reads the data set and writes its three files. A source's libraries are loaded only if it is used."""
    facts = {}
    if params.source == "local":
        from stages.data import local

        data = local.collect(dataset, params.local.count(dataset), params.discount, params.threads)
        task = gym_mujoco(parse(dataset)[0])
    elif params.source == "d4rl":
        from stages.data import d4rl

        data, task, facts = d4rl.read(dataset, params.d4rl.directory, params.discount)
    else:
        from stages.data import minari

        data, task, facts = minari.read(dataset, params.discount)
    check_environment(data, task, dataset)
    check_episodes(data, dataset)
    path = f"data/{dataset}/real.npz"
    data.save(path)
    task.save(dataset)
    if params.source == "local":
        facts["as_recorded"] = as_recorded(path, dataset, len(data), params.discount)
    write_json(f"results/{dataset}/data.json", {**summary(data, task, params.source), **facts}, digits=6)


def main():
    given, params = begin(__doc__, READS, "dataset")
    with timed(f"data/{given.dataset}/real.npz"):
        write(given.dataset, params)


if __name__ == "__main__":
    main()

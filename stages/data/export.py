"""Exports a training set as a Minari data set, for other libraries to train on.

    python -m stages.data.export --dataset hopper-medium-replay --method dawm --id dawm-bench/hopper-dawm-v0

`minari.load_dataset` opens it by that id; MINARI_DATASETS_PATH is the folder. The metadata hold the provenance.
"""

import argparse
import json
import shutil
import subprocess
import warnings
from itertools import pairwise
from pathlib import Path

import gymnasium as gym
import minari
import numpy as np
import yaml
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.storage.datasets_root_dir import get_dataset_path

from stages.common.params import read
from stages.common.progress import progress
from stages.common.transitions import Transitions
from stages.tasks.environments import name_of
from stages.tasks.simulator import make
from stages.tasks.tasks import Task


def chains(data: Transitions) -> list[slice]:
    """Runs of rows in which each begins where the last one ended; each becomes a Minari episode."""
    joined = (data.next_observations[:-1] == data.observations[1:]).all(1) & (data.discounts[:-1] > 0)
    if data.timeouts is not None:
        joined &= ~data.timeouts[:-1]
    if data.generator is not None:
        joined &= data.generator[:-1] == data.generator[1:]
    cuts = [0, *(np.flatnonzero(~joined) + 1), len(data)]
    return [slice(start, end) for start, end in pairwise(cuts)]


def buffers(data: Transitions):
    """Yields an episode for each chain; `infos["discount"]` holds the discounts of n-step transitions."""
    several = len(np.unique(data.discounts[data.discounts > 0])) > 1
    for chain in chains(data):
        terminal = data.discounts[chain] == 0
        cut = np.zeros(len(terminal), dtype=bool)
        cut[-1] = not terminal[-1]
        yield EpisodeBuffer(
            observations=np.append(data.observations[chain], data.next_observations[chain][-1:], axis=0),
            actions=data.actions[chain],
            rewards=data.rewards[chain],
            terminations=terminal,
            truncations=cut,
            infos={"discount": data.discounts[chain]} if several else {},
        )


def output(*command: str) -> str | None:
    """The command's output, or None if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def provenance(dataset: str, method: str) -> dict:
    """Provenance of a training set: parameters, and revisions of the code and of the file."""
    path = f"data/{dataset}/{method}.npz"
    lock = yaml.safe_load(Path("dvc.lock").read_text()) if Path("dvc.lock").exists() else {}
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", []) if out["path"] == path]
    params = read()
    return {
        "suite": "DAWM Bench",
        "dataset": dataset,
        "method": method,
        "source": params["source"],
        "parameters": params,
        "git_revision": output("git", "rev-parse", "HEAD"),
        "git_changes": output("git", "status", "--porcelain", "--untracked-files=no") not in ("", None),
        "dvc_revision": outs[0]["md5"] if outs else None,  # of the training set, as dvc.lock has it
    }


def spec_of(env: gym.Env) -> EnvSpec:
    """The spec that recreates the environment, including its wrappers if they can be serialised.

    D4RL's mazes are recreated without wrappers, since their change of coordinates is a function.
    """
    try:
        env.spec.to_json()
    except (TypeError, ValueError):
        return env.unwrapped.spec
    return env.spec


def export(data: Transitions, task: Task, identity: str, origin: dict) -> minari.MinariDataset:
    """Creates the Minari data set of that id.

    Raises:
        SystemExit: if it exists already. If the export fails, nothing is left behind.
    """
    folder = get_dataset_path(identity)
    if folder.exists():
        raise SystemExit(f"{identity}: this Minari data set already exists in {folder}; choose another version")
    low, high = task.reference or (None, None)
    box = {"low": -np.inf, "high": np.inf, "shape": data.observations.shape[1:], "dtype": np.float32}
    episodes = progress(buffers(data), f"export {identity}", unit="episode", total=len(chains(data)))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is set to None", category=UserWarning)
            dataset = minari.create_dataset_from_buffers(
                identity,
                episodes,
                env=spec_of(make(task.environment)),
                observation_space=spaces.Box(**box),
                action_space=spaces.Box(-1, 1, data.actions.shape[1:], np.float32),
                ref_min_score=low,
                ref_max_score=high,
                algorithm_name=origin["method"],
                description=f"{origin['method']} on {origin['dataset']}, by DAWM Bench; see provenance",
            )
        dataset.storage.update_metadata({"provenance": origin})
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return dataset


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--method", required=True, help="real, dawm or any other in data/<dataset>/")
    parser.add_argument("--id", required=True, help="of the Minari data set, e.g. dawm-bench/hopper-dawm-v0")
    arguments = parser.parse_args()
    data = Transitions.load(f"data/{arguments.dataset}/{arguments.method}.npz")
    task = Task.load(arguments.dataset)
    origin = provenance(arguments.dataset, arguments.method)
    dataset = export(data, task, arguments.id, origin)
    summary = {
        "id": dataset.id,
        "episodes": dataset.total_episodes,
        "steps": dataset.total_steps,
        "environment": name_of(task.environment),
        "path": str(dataset.storage.data_path),
    }
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()

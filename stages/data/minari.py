"""Minari data sets of vectors, by id, from the local Minari folder or else from Minari's remote."""

import math

import minari
import numpy as np
from gymnasium import spaces

from stages.common.transitions import Transitions
from stages.tasks.tasks import Task

TOLERANCE = 0.01  # of half the action range: how far an action may lie outside; it is then clipped


class Unusable(Exception):
    """The data set cannot be used; the message says why."""


def flat(space: spaces.Space, values) -> np.ndarray:
    """(T, …) values of a Box, or of Dicts of Boxes, → (T, S), each row as `gymnasium.spaces.flatten` makes it."""
    if isinstance(space, spaces.Box):
        return np.asarray(values, dtype=np.float32).reshape(len(values), -1)
    if isinstance(space, spaces.Dict):
        return np.concatenate([flat(part, values[key]) for key, part in space.spaces.items()], axis=1)
    raise Unusable(f"has observations in {type(space).__name__}; only Box, and Dict of Box, can be used")


def within_one(space: spaces.Box, actions: np.ndarray) -> np.ndarray:
    """Scales (T, …) actions to (T, A), with the space's bounds at -1 and 1."""
    low, high = space.low.reshape(-1).astype(np.float64), space.high.reshape(-1).astype(np.float64)
    scaled = 2 * (actions.reshape(len(actions), -1) - low) / (high - low) - 1
    if not np.abs(scaled).max(initial=0) <= 1 + TOLERANCE:
        raise Unusable(f"has actions outside its action space, at {np.abs(scaled).max():g} where 1 is the bound")
    return scaled.clip(-1, 1).astype(np.float32)


def one_episode(data: minari.MinariDataset, episode, discount: float) -> tuple[np.ndarray, ...]:
    """The columns of Transitions, for the steps of one episode; it may hold several terminations."""
    states = flat(data.observation_space, episode.observations)
    if len(states) != len(episode.rewards) + 1:
        raise Unusable(f"has {len(states)} observations for {len(episode.rewards)} steps in episode {episode.id}")
    terminal = np.asarray(episode.terminations, dtype=bool)
    timeouts = np.zeros(len(terminal), dtype=bool)
    timeouts[-1] = not terminal[-1]
    return (
        states[:-1],
        within_one(data.action_space, episode.actions),
        np.asarray(episode.rewards, dtype=np.float32),
        states[1:],
        (discount * ~terminal).astype(np.float32),
        timeouts,
    )


def transitions(data: minari.MinariDataset, discount: float) -> Transitions:
    """All steps of all episodes."""
    if not isinstance(data.action_space, spaces.Box) or not data.action_space.is_bounded():
        raise Unusable(f"has actions in {data.action_space}; only a bounded Box can be used")
    parts = [one_episode(data, episode, discount) for episode in data.iterate_episodes() if len(episode)]
    if not parts:
        raise Unusable("has no steps")
    return Transitions.of_steps(parts)


def task_of(data: minari.MinariDataset, read: Transitions, discount: float) -> Task:
    """The task: the environment that the data set names for evaluation, and its reference scores if it stores any.

    Many Minari data sets store none (`mujoco/*`); their scores are plain returns.
    """
    spec = data.recover_environment(eval_env=True, disable_env_checker=True).spec
    metadata = data.storage.metadata
    reference = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    known = all(isinstance(score, (int, float)) and math.isfinite(score) for score in reference)
    return Task(
        environment={"spec": spec.to_json()},
        episode_limit=spec.max_episode_steps or int(read.lengths().max()),
        return_scale=read.largest_return(discount),
        reference=reference if known and reference[0] != reference[1] else None,
    )


def read(dataset: str, discount: float) -> tuple[Transitions, Task, dict]:
    """Reads the Minari data set of that id, downloading it if the local Minari folder does not hold it.

    MINARI_DATASETS_PATH and MINARI_REMOTE choose folder and remote, as in Minari.

    Returns:
        the transitions, the task, and facts about the data set: {"minari_version"}.

    Raises:
        SystemExit: in one line, if it cannot be downloaded or used.
    """
    try:
        data = minari.load_dataset(dataset, download=True)
        read_data = transitions(data, discount)
        task = task_of(data, read_data, discount)
    except Exception as error:  # Minari, its remotes and its storages raise many types
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise SystemExit(f"Minari data set {dataset}: {message}") from error
    return read_data, task, {"minari_version": data.minari_version}

"""Makes the simulator's environments, in the versions that the data were collected in."""

import warnings

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import FilterObservation, FlattenObservation, RescaleAction, TransformObservation

from stages.tasks.environments import name_of


def narrowed(env: gym.Env, columns: list[int] | None, offset: list[float] | None) -> gym.Env:
    """Restricts the environment's flat observation to those entries and adds the offset."""
    columns = np.arange(env.observation_space.shape[0]) if columns is None else np.array(columns)
    offset = np.zeros(len(columns)) if offset is None else np.array(offset)
    low, high = (bound[columns] + offset for bound in (env.observation_space.low, env.observation_space.high))
    return TransformObservation(env, lambda state: state[columns] + offset, gym.spaces.Box(low, high, dtype=np.float64))


def make(environment: dict) -> gym.Env:
    """Makes the environment of a task, with flat observations and actions within [-1, 1].

    A Dict observation is flattened as Gymnasium does, in the order of its keys, so goals are part of it.

    Arguments:
        environment: an entry of `environments.py`, or {"spec": a whole EnvSpec as JSON}, as Minari data sets carry it.

    Raises:
        SystemExit: if its package is not installed or its spaces cannot be used, naming the environment.
    """
    with warnings.catch_warnings():
        # D4RL's data belong to -v4, so Gymnasium's advice to move to v5 is suppressed.
        warnings.filterwarnings("ignore", message=".*(is out of date|share an object|environment's reward functions)")
        try:
            if "spec" in environment:
                env = gym.make(EnvSpec.from_json(environment["spec"]), disable_env_checker=True)
            else:
                limit = {key: environment[key] for key in ("max_episode_steps",) if key in environment}
                env = gym.make(environment["id"], disable_env_checker=True, **limit, **environment.get("kwargs", {}))
        except (gym.error.Error, ImportError) as error:
            raise SystemExit(f"{name_of(environment)} cannot be made here: {error}") from None
    if "keys" in environment:
        env = FilterObservation(env, environment["keys"])
    if not isinstance(env.observation_space, gym.spaces.Box) or len(env.observation_space.shape) != 1:
        env = FlattenObservation(env)
    if environment.keys() & {"columns", "offset"}:
        env = narrowed(env, environment.get("columns"), environment.get("offset"))
    if np.any(env.action_space.low != -1) or np.any(env.action_space.high != 1):
        one = np.ones_like(env.action_space.high)
        env = RescaleAction(env, -one, one)
    return env

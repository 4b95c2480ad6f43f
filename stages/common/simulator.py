"""The simulator, in the version that the data were made in."""

import warnings

import gymnasium as gym


def make(environment: str) -> gym.Env:
    """Gymnasium's environment of that id. D4RL's data belong to `-v4`, so Gymnasium's advice to move to v5 is not
    passed on.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is out of date")
        return gym.make(environment, disable_env_checker=True)

"""The simulator's answer for any state and action: reset to the state, step with the action."""

import mujoco
import numpy as np

from stages.tasks.environments import name_of
from stages.tasks.simulator import make

CLIP = 10.0  # bound at which Hopper and Walker2d clip observed velocities


class Physics:
    """One step of the true dynamics from any observation.

    The reset clears the warm start that MuJoCo's solver keeps between steps, so a result does not depend on earlier
    calls and differs from the recorded one by the solver's tolerance. Velocities that an observation shows at ±10 were
    clipped; from such a state the true step is unknown.
    """

    def __init__(self, environment: dict):
        self.env = make(environment).unwrapped
        self.env.reset(seed=0)
        self.cuts = not name_of(environment).startswith("HalfCheetah")

    def __call__(self, states: np.ndarray, actions: np.ndarray):
        """(N, S), (N, A) → next states (N, S), rewards (N,) and whether each step ended the task, (N,) bool."""
        env, positions = self.env, self.env.model.nq - 1
        steps = []
        for state, action in zip(states.astype(np.float64), actions.astype(np.float64), strict=True):
            mujoco.mj_resetData(env.model, env.data)
            env.set_state(np.concatenate([[0.0], state[:positions]]), state[positions:])
            following, reward, ended, _, _ = env.step(action)
            steps.append((following.copy(), reward, ended))
        following, rewards, ended = zip(*steps, strict=True)
        return np.array(following), np.array(rewards), np.array(ended)

    def cut(self, states: np.ndarray) -> np.ndarray:
        """(N,) bool: states with a clipped velocity; HalfCheetah clips none."""
        return self.cuts & (np.abs(states[:, self.env.model.nq - 1 :]) >= CLIP).any(1)

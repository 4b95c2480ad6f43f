"""The simulator as the judge: reset to a transition's state, step with its action, compare with what was imagined."""

import mujoco
import numpy as np

from stages.common.environments import name_of
from stages.common.simulator import make
from stages.common.transitions import Transitions

RESETTABLE = ("Hopper", "Walker2d", "HalfCheetah")  # the observation holds all of the state but the x position
CLIP = 10.0  # at which Hopper and Walker2d cut observed velocities
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


class Physics:
    """One step of the true dynamics from any observation.

    The reset forgets what MuJoCo's solver keeps from step to step (its warm start), so a result does not depend on
    what was asked before, and differs from the recorded one by the solver's tolerance. Velocities that an observation
    shows at ±10 were cut there; from such a state the true step is not known.
    """

    def __init__(self, environment: dict):
        self.env = make(environment).unwrapped
        self.env.reset(seed=0)
        self.cuts = not name_of(environment).startswith("HalfCheetah")

    @staticmethod
    def knows(environment: dict) -> bool:
        return name_of(environment).partition("-")[0] in RESETTABLE

    def __call__(self, states: np.ndarray, actions: np.ndarray):
        """(N, S), (N, A) → next states (N, S), rewards (N,) and whether each step ended the task, (N,) bool."""
        env, positions = self.env, self.env.model.nq - 1
        found = []
        for state, action in zip(states.astype(np.float64), actions.astype(np.float64), strict=True):
            mujoco.mj_resetData(env.model, env.data)
            env.set_state(np.concatenate([[0.0], state[:positions]]), state[positions:])
            following, reward, ended, _, _ = env.step(action)
            found.append((following.copy(), reward, ended))
        following, rewards, ended = zip(*found, strict=True)
        return np.array(following), np.array(rewards), np.array(ended)

    def cut(self, states: np.ndarray) -> np.ndarray:
        """(N,) bool: states with a velocity at the observation's limit; HalfCheetah's has none."""
        return self.cuts & (np.abs(states[:, self.env.model.nq - 1 :]) >= CLIP).any(1)


def quantiles(errors: np.ndarray) -> dict:
    """(N, …) → {name: (…)}."""
    return {name: np.quantile(errors, q, axis=0) for name, q in QUANTILES.items()}


def by_step(step: np.ndarray, measure) -> list:
    """`measure` of the rows at each place in the window, the first to the last."""
    return [measure(step == h) for h in range(step.max() + 1)]


def physics_errors(data: Transitions, step: np.ndarray, real: Transitions, physics: Physics) -> dict | None:
    """Errors of next states and rewards, in units of the real data's standard deviations, and terminals compared.

    Arguments:
        data: the transitions to judge; step: (N,) the place of each in its imagined window.

    Returns:
        {"transitions", "cut" (share of rows that start from a cut velocity), "overall": quantiles of the state's error
        over all dimensions and places, "worst_median" of any one of them, "state_error" and "reward_error": a record of
        quantiles for each place, a state's by dimension and over all; "terminals": rates, agreement, the simulator's
        that were missed and the said that are false}. Rows that start from a cut velocity are in the first two only;
        where no others are left at some place, None.
    """
    following, rewards, ended = physics(data.observations, data.actions)
    cut = physics.cut(data.observations)
    if not all(by_step(step, lambda rows: (rows & ~cut).any())):
        return None
    state_error = np.abs(data.next_observations - following) / real.observations.std(0).clip(1e-6)
    reward_error = np.abs(data.rewards - rewards) / max(real.rewards.std(), 1e-6)
    says = data.discounts == 0

    def of_states(rows):
        errors = state_error[rows & ~cut]
        return {
            **{name: value.tolist() for name, value in quantiles(errors).items()},
            "overall": {name: float(value) for name, value in quantiles(errors.reshape(-1)).items()},
        }

    def of_rewards(rows):
        return {name: float(value) for name, value in quantiles(reward_error[rows & ~cut]).items()}

    states = by_step(step, of_states)
    return {
        "transitions": len(data),
        "cut": cut.mean(),
        "overall": {name: float(value) for name, value in quantiles(state_error[~cut].reshape(-1)).items()},
        "worst_median": max(max(errors["median"]) for errors in states),
        "state_error": states,
        "reward_error": by_step(step, of_rewards),
        "terminals": {
            "rate": says[~cut].mean(),
            "simulator_rate": ended[~cut].mean(),
            "agreement": (says == ended)[~cut].mean(),
            "missed": (ended & ~says & ~cut).sum() / max((ended & ~cut).sum(), 1),
            "false": (says & ~ended & ~cut).sum() / max((says & ~cut).sum(), 1),
        },
    }

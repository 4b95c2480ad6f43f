"""Errors of synthetic transitions, measured against the simulator."""

import numpy as np

from stages.common.transitions import Transitions
from stages.tasks.physics import Physics

QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def quantiles(errors: np.ndarray) -> dict:
    """Quantiles along the first axis: (N, …) → {name: (…)}."""
    return {name: np.quantile(errors, q, axis=0) for name, q in QUANTILES.items()}


def by_step(step: np.ndarray, measure) -> list:
    """`measure(rows)` for each step of the window, in order; `rows` is the (N,) bool mask of that step's rows."""
    return [measure(step == h) for h in range(step.max() + 1)]


def physics_errors(data: Transitions, step: np.ndarray, real: Transitions, physics: Physics) -> dict | None:
    """Errors of next states and rewards, in standard deviations of the real data, and a comparison of the terminals.

    Arguments:
        data: the transitions to judge.
        step: (N,) index of each transition's step in its imagined window.

    Returns:
        {"transitions": their number, "cut": share of rows that start from a clipped velocity, "overall": quantiles of
        the state error over all dimensions and steps, "worst_median": the largest median of any dimension at any step,
        "state_error": for each step, quantiles by dimension and over all dimensions, "reward_error": quantiles for each
        step, "terminals": rates, agreement, share of the simulator's terminals that the data miss and share of the
        data's terminals that are false}. Rows that start from a clipped velocity count in the first two entries only.
        None if some step has no other rows.
    """
    following, rewards, ended = physics(data.observations, data.actions)
    cut = physics.cut(data.observations)
    if not all(by_step(step, lambda rows: (rows & ~cut).any())):
        return None
    state_error = np.abs(data.next_observations - following) / real.observations.std(0).clip(1e-6)
    reward_error = np.abs(data.rewards - rewards) / max(real.rewards.std(), 1e-6)
    terminal = data.discounts == 0

    def state_quantiles(rows):
        errors = state_error[rows & ~cut]
        return {
            **{name: value.tolist() for name, value in quantiles(errors).items()},
            "overall": {name: float(value) for name, value in quantiles(errors.reshape(-1)).items()},
        }

    def reward_quantiles(rows):
        return {name: float(value) for name, value in quantiles(reward_error[rows & ~cut]).items()}

    states = by_step(step, state_quantiles)
    return {
        "transitions": len(data),
        "cut": cut.mean(),
        "overall": {name: float(value) for name, value in quantiles(state_error[~cut].reshape(-1)).items()},
        "worst_median": max(max(errors["median"]) for errors in states),
        "state_error": states,
        "reward_error": by_step(step, reward_quantiles),
        "terminals": {
            "rate": terminal[~cut].mean(),
            "simulator_rate": ended[~cut].mean(),
            "agreement": (terminal == ended)[~cut].mean(),
            "missed": (ended & ~terminal & ~cut).sum() / max((ended & ~cut).sum(), 1),
            "false": (terminal & ~ended & ~cut).sum() / max((terminal & ~cut).sum(), 1),
        },
    }

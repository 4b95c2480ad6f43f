"""Imagined futures as transitions of n steps: diffusion model-based value expansion (DWM, arXiv 2402.03570, eq. 7)."""

import numpy as np


def lengths(count: int, horizon: int, weight: float, rng: np.random.Generator) -> np.ndarray:
    """(count,) numbers of steps n in 1 … H, so that the mean of the n-step returns is the λ-return, λ being `weight`.

    P(n) = (1 - λ) λⁿ⁻¹ for n < H and λᴴ⁻¹ for n = H, as the λ-return weights them (Sutton and Barto 2018, eq.
    12.3). A squared error's gradient is linear in its target, so a critic that learns from such draws has
    in expectation the gradient of the λ-return itself. With λ = 1 all have H steps.
    """
    if weight == 1:
        return np.full(count, horizon)
    return rng.geometric(1 - weight, count).clip(max=horizon) if weight > 0 else np.ones(count, dtype=int)


def n_step(states, rewards, ended, steps: np.ndarray, discount: float, believable: np.ndarray):
    """Windows as one transition each, from their first state over n steps or to the end of the task, if that is sooner.

    Arguments:
        states: (B, H, S), after each step; rewards, ended, believable: (B, H), the last two bool.
        steps: (B,), n of each window.

    Returns:
        rewards (B,), Σ γʰ r over the steps taken; next states (B, S); discounts (B,), γⁿ, or 0 where the task ended;
        and which of them stand on believable steps alone, (B,) bool.
    """
    rows = np.arange(len(states))
    first_end = np.where(ended.any(1), ended.argmax(1) + 1, states.shape[1])
    taken = np.minimum(steps, first_end)
    within = np.arange(states.shape[1]) < taken[:, None]
    powers = discount ** np.arange(states.shape[1])
    sums = np.where(within, powers * rewards.astype(np.float64), 0).sum(1)
    last = taken - 1
    discounts = np.where(ended[rows, last], 0.0, discount**taken)
    sound = (believable | ~within).all(1)
    return sums.astype(np.float32), states[rows, last], discounts.astype(np.float32), sound

"""Turns imagined futures into n-step transitions: DWM's value expansion (arXiv 2402.03570, eq. 7)."""

import numpy as np


def lengths(count: int, horizon: int, lambda_return: float, rng: np.random.Generator) -> np.ndarray:
    """(count,) random numbers of steps n in 1 … H for which the expected n-step return is the λ-return.

    P(n) = (1 - λ) λⁿ⁻¹ for n < H and λᴴ⁻¹ for n = H, the weights of the λ-return (Sutton and Barto 2018, eq. 12.3).
    The gradient of a squared error is linear in its target, so a critic that learns from such draws gets, in
    expectation, the gradient of the λ-return. With λ = 1, n is always H.
    """
    if lambda_return == 1:
        return np.full(count, horizon)
    return rng.geometric(1 - lambda_return, count).clip(max=horizon) if lambda_return > 0 else np.ones(count, dtype=int)


def n_step(
    states, rewards, ended, steps: np.ndarray, discount: float, plausible: np.ndarray
) -> tuple[dict, np.ndarray]:
    """Turns each window into one transition of n steps, or of fewer if the task ends sooner.

    Arguments:
        states: (B, H, S), the state after each step.
        rewards: (B, H).
        ended: (B, H) bool, whether the task ends with that step.
        steps: (B,), n of each window.
        plausible: (B, H) bool.

    Returns:
        a dict of columns over the steps taken: "rewards" (B,), Σ γʰ r; "next_observations" (B, S), the last state;
        "discounts" (B,), γⁿ, or 0 if the task ended; "discount_sum" (B,), Σ γʰ; and (B,) bool: whether all of those
        steps are plausible.
    """
    rows = np.arange(len(states))
    first_end = np.where(ended.any(1), ended.argmax(1) + 1, states.shape[1])
    taken = np.minimum(steps, first_end)
    within = np.arange(states.shape[1]) < taken[:, None]
    powers = discount ** np.arange(states.shape[1])
    last = taken - 1
    columns = {
        "rewards": np.where(within, powers * rewards.astype(np.float64), 0).sum(1),
        "next_observations": states[rows, last],
        "discounts": np.where(ended[rows, last], 0.0, discount**taken),
        "discount_sum": powers.cumsum()[last],
    }
    columns = {name: column.astype(np.float32) for name, column in columns.items()}
    return columns, (plausible | ~within).all(1)

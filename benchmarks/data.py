"""Something to train on: what the numbers are makes no difference to the speed."""

import numpy as np

from stages.common.transitions import Transitions


def random_transitions(states: int, actions: int, count: int) -> Transitions:
    """Episodes of a thousand steps with that many dimensions."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal((count, *shape), dtype=np.float32)

    episode = np.arange(count, dtype=np.int32) // 1000
    discounts = np.full(count, 0.99, dtype=np.float32)
    timeouts = np.arange(count) % 1000 == 999
    return Transitions(normal(states), np.tanh(normal(actions)), normal(), normal(states), discounts, episode, timeouts)

"""Random training data; their values do not affect the speed."""

import numpy as np

from stages.common.transitions import Transitions


def random_transitions(states: int, actions: int, count: int) -> Transitions:
    """`count` random transitions in episodes of 1000 steps, with `states` and `actions` dimensions."""
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.standard_normal((count, *shape), dtype=np.float32)

    episode = np.arange(count, dtype=np.int32) // 1000
    discounts = np.full(count, 0.99, dtype=np.float32)
    timeouts = np.arange(count) % 1000 == 999
    return Transitions(normal(states), np.tanh(normal(actions)), normal(), normal(states), discounts, episode, timeouts)

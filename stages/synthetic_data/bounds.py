"""Plausibility filter: drops synthetic values outside the real data's range."""

import numpy as np

from stages.common.transitions import Transitions


class Bounds:
    """The real data's range in each dimension, widened on each side by `margin` times its width.

    A synthetic value is implausible if it is not finite or lies outside this range, whichever method generated it.
    """

    def __init__(self, data: Transitions, margin: float):
        def widened_range(*arrays):
            low = np.min([array.min(0) for array in arrays], axis=0)
            high = np.max([array.max(0) for array in arrays], axis=0)
            return low - margin * (high - low), high + margin * (high - low)

        self.states = widened_range(data.observations, data.next_observations)
        self.rewards = widened_range(data.rewards)

    @staticmethod
    def inside(values: np.ndarray, limits) -> np.ndarray:
        low, high = limits
        return np.isfinite(values) & (values >= low) & (values <= high)

    def plausible(self, rewards: np.ndarray, states: np.ndarray) -> np.ndarray:
        """rewards (B, H), states (B, H, S) → (B, H) bool."""
        return self.inside(rewards, self.rewards) & self.inside(states, self.states).all(-1)


def check_dropped(name: str, kept: int, dropped: int, max_drop: float):
    """Ends the stage if the filter drops too many transitions.

    Arguments:
        name: method, data set and generator, for the message.
        max_drop: the largest share that may be dropped, `augment.max_drop`.

    Raises:
        SystemExit: if a larger share was dropped, or if nothing was kept.
    """
    if not kept or dropped > max_drop * (kept + dropped):
        raise SystemExit(
            f"{name}: dropped {dropped:,} of {kept + dropped:,} imagined transitions, which lie outside the data's"
            f" range; the largest share allowed is augment.max_drop = {max_drop:g}; train the model longer or change"
            " the sampler"
        )

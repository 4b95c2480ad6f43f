"""From imagined windows to one-step transitions: which of them can be kept, and with what discount."""

import numpy as np

from stages.common.transitions import Transitions


class Bounds:
    """The box of the real data, wider by `margin` times its size on each side; the simulator of what is believable.

    Imagined values that are not finite or lie outside are no basis for a policy, whatever made them.
    """

    def __init__(self, data: Transitions, margin: float):
        def box(*arrays):
            low = np.min([array.min(0) for array in arrays], axis=0)
            high = np.max([array.max(0) for array in arrays], axis=0)
            return low - margin * (high - low), high + margin * (high - low)

        self.states = box(data.observations, data.next_observations)
        self.rewards = box(data.rewards)

    @staticmethod
    def inside(values: np.ndarray, box) -> np.ndarray:
        return np.isfinite(values) & (values >= box[0]) & (values <= box[1])

    def believable(self, rewards: np.ndarray, states: np.ndarray) -> np.ndarray:
        """rewards (B, H), states (B, H, S) → (B, H) bool."""
        return self.inside(rewards, self.rewards) & self.inside(states, self.states).all(-1)


def complete(states, actions, rewards, ended, discount: float, bounds: Bounds, penalties=0.0):
    """Windows as rows of transitions.

    Arguments:
        states: (B, H + 1, S), the first real and the others imagined.
        actions: (B, H, A), the first real and the others inferred.
        rewards: (B, H).
        ended: (B, H) bool, whether the task ends with that step.
        penalties: (B, H), taken off the rewards that are kept.

    Returns:
        the transitions that are kept, as a dict of (n, …) arrays, and counts {"kept", "dropped", "after_terminal"}. A
        step that is not believable is dropped with all that follows it; so is what follows a terminal.
    """
    believable = bounds.believable(rewards, states[:, 1:])
    before_end = np.cumsum(ended, axis=1) - ended == 0
    sound = np.logical_and.accumulate(believable | ~before_end, axis=1)
    keep = before_end & sound
    kept = {
        "observations": states[:, :-1][keep],
        "actions": actions[keep],
        "rewards": (rewards - penalties).astype(np.float32)[keep],
        "next_observations": states[:, 1:][keep],
        "discounts": (discount * ~ended[keep]).astype(np.float32),
        "step": np.broadcast_to(np.arange(keep.shape[1], dtype=np.int16), keep.shape)[keep],
    }
    counts = {
        "kept": int(keep.sum()),
        "dropped": int((before_end & ~sound).sum()),
        "after_terminal": int((~before_end).sum()),
    }
    return kept, counts

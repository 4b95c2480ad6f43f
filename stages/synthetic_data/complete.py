"""Turns imagined windows into one-step transitions: selects the steps to keep and sets their discounts."""

import numpy as np

from stages.synthetic_data.bounds import Bounds


def to_transitions(states, actions, rewards, ended, discount: float, bounds: Bounds, penalties=0.0):
    """The plausible one-step transitions of imagined windows.

    An implausible step is dropped together with the rest of its window. Everything after a terminal step is left out.

    Arguments:
        states: (B, H + 1, S), the first real and the others imagined.
        actions: (B, H, A), the first real and the others inferred.
        rewards: (B, H).
        ended: (B, H) bool, whether the task ends with that step.
        penalties: (B, H), subtracted from the rewards after the filter.

    Returns:
        the transitions kept, as a dict of (n, …) arrays, and the counts {"kept", "dropped", "after_terminal"}.
    """
    plausible = bounds.plausible(rewards, states[:, 1:])
    before_end = np.cumsum(ended, axis=1) - ended == 0
    valid = np.logical_and.accumulate(plausible | ~before_end, axis=1)
    keep = before_end & valid
    columns = {
        "observations": states[:, :-1][keep],
        "actions": actions[keep],
        "rewards": (rewards - penalties).astype(np.float32)[keep],
        "next_observations": states[:, 1:][keep],
        "discounts": (discount * ~ended[keep]).astype(np.float32),
        "step": np.broadcast_to(np.arange(keep.shape[1], dtype=np.int16), keep.shape)[keep],
    }
    counts = {
        "kept": int(keep.sum()),
        "dropped": int((before_end & ~valid).sum()),
        "after_terminal": int((~before_end).sum()),
    }
    return columns, counts

"""The generators' transitions as one training set."""

import numpy as np

from stages.common.transitions import Transitions


def joined(parts: list[dict], real_fraction: float, made: np.ndarray) -> Transitions:
    """One record of the transitions of all generators, in their order.

    Arguments:
        parts: for each generator the columns of its transitions, (n, …) each; n may differ.
        real_fraction: the share of each training batch that is to be real.
        made: see `cost.made`.
    """
    return Transitions(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        generator=np.repeat(np.arange(len(parts), dtype=np.int8), [len(part["rewards"]) for part in parts]),
        real_fraction=np.float32(real_fraction),
        made=made,
    )


def total(counts: list[dict]) -> dict:
    """What the generators counted, in sum."""
    return {name: sum(count[name] for count in counts) for name in counts[0]}

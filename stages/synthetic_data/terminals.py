"""Decides where imagined tasks end: by the environment's rule or by a model's prediction, as `terminals` selects."""

import numpy as np

from stages.common.transitions import Transitions
from stages.tasks.tasks import Task


def rule_of(task: Task, terminals: str):
    """The environment's rule: states (…, S) → (…) bool, False where the task ends. None if a model must predict it.

    Arguments:
        terminals: `rule`, which uses the environment's rule if it is known, or `model`.
    """
    return task.healthy if terminals == "rule" else None


def terminals_learned(data: Transitions, task: Task, terminals: str) -> bool:
    """Whether a model must learn where tasks end: no rule applies, and the data contain ends to learn from."""
    return rule_of(task, terminals) is None and bool(data.terminal().any())


def ended(states: np.ndarray, healthy, learned: np.ndarray | None) -> np.ndarray:
    """(…) bool: whether the task ends in each of `states`, (…, S).

    Arguments:
        healthy: the environment's rule or None, see `rule_of`; it takes precedence over the model's prediction.
        learned: (…) bool, the model's prediction; None if the model has no such output, and then no task ends.
    """
    if healthy is not None:
        return ~healthy(states)
    return np.zeros(states.shape[:-1], dtype=bool) if learned is None else learned

"""Imagination backwards in time: the data turned round, and the steps of paths that end in real states."""

from dataclasses import replace

import numpy as np

from stages.common.transitions import Transitions
from stages.synthetic_data.bounds import Bounds


def turned_round(data: Transitions) -> Transitions:
    """The same transitions backwards: from the next state to the state, with the same action and reward.

    Each episode runs from its last transition to its first, and no task ends in it.
    """
    columns = {name: array[::-1] for name, array in data.arrays().items()}
    going_on = np.where(data.terminal(), data.discounts.max(), data.discounts)[::-1]
    states = {"observations": columns["next_observations"], "next_observations": columns["observations"]}
    episode = data.episode.max() - columns["episode"]
    last = np.append(np.diff(episode) > 0, True)
    turned = replace(data, **{**columns, **states, "discounts": going_on, "episode": episode, "timeouts": last})
    return replace(turned, **{name: np.ascontiguousarray(array) for name, array in turned.arrays().items()})


def single_steps(path, actions, rewards, ends, healthy, bounds: Bounds):
    """The steps of paths that were imagined backwards, as windows of one step each, as `to_transitions` takes them.

    A step is left out if its reward or the state that it starts from is implausible, or if a step nearer to the real
    state was left out. So is one that leads to an imagined state in which the task would have ended.

    Arguments:
        path: (B, H + 1, S), the real states first and then ever earlier ones.
        actions: (B, H, A), rewards: (B, H), of the steps that lead from each state to the one before it in `path`.
        ends: (B,) bool, whether the task ended in the real states.
        healthy: the environment's rule or None, see `terminals.rule_of`.

    Returns:
        states (B · H, 2, S), actions (B · H, 1, A), rewards (B · H, 1) and ended (B · H, 1) bool; rewards of steps left
        out are not finite, so that the filter drops and counts them.
    """
    valid = bounds.plausible(rewards, path[:, 1:])
    ended = np.zeros(rewards.shape, dtype=bool)
    ended[:, 0] = ends if healthy is None else ~healthy(path[:, 0])
    if healthy is not None:
        valid[:, 1:] &= healthy(path[:, 1:-1])
    valid = np.logical_and.accumulate(valid, axis=1)
    pairs = np.stack([path[:, 1:], path[:, :-1]], axis=2)
    rewards = np.where(valid, rewards, np.nan).astype(np.float32)
    return (
        pairs.reshape(-1, *pairs.shape[2:]),
        actions.reshape(-1, 1, actions.shape[-1]),
        rewards.reshape(-1, 1),
        ended.reshape(-1, 1),
    )

"""Coverage and diversity of a method's data, compared with the real data; no simulator is needed."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp

from stages.common.transitions import Transitions
from stages.fidelity.errors import by_step

SATURATED = 0.999


def columns(data: Transitions) -> np.ndarray:
    """(N, S + A + 1 + S): the continuous fields of each transition side by side."""
    return np.concatenate([data.observations, data.actions, data.rewards[:, None], data.next_observations], axis=1)


def correlations(x: np.ndarray) -> np.ndarray:
    """(D, D) correlation of each pair of columns; 0 if one of them is constant."""
    z = (x - x.mean(0)) / x.std(0).clip(1e-9)
    return z.T @ z / len(z)


def nearest(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(N,) distance from each row of `x` to the closest row of `reference`."""
    return cKDTree(reference).query(x)[0]


def action_novelty(data: Transitions, real: Transitions, neighbours: int) -> float:
    """Median distance from an action to the closest of those that the real data took in similar states.

    Similar states are the `neighbours` nearest of `real`. The distance is the root mean square over the dimensions of
    the action, in standard deviations of the real actions.
    """
    scale = real.observations.std(0).clip(1e-6)
    rows = cKDTree(real.observations / scale).query(data.observations / scale, k=neighbours)[1]
    apart = (real.actions[rows] - data.actions[:, None]) / real.actions.std(0).clip(1e-6)  # (N, neighbours, A)
    return float(np.median(np.sqrt(np.square(apart).mean(-1)).min(1)))


def coverage(data: Transitions, first: Transitions, second: Transitions, neighbours: int) -> dict:
    """Distances from the data to one half of the real episodes; the other half's distances are the floor.

    Arguments:
        first, second: rows of the real data that share no episode, about as many as `data` has.
        neighbours: see `action_novelty`.

    Returns:
        {"nearest_neighbour": median distance to `first` in transitions scaled by the real std, "marginal": mean over
        columns of the Kolmogorov-Smirnov distance, "correlation": mean absolute difference of pairwise correlations,
        "action_novelty"}, each {"measured": of `data`, "floor": of `second`}.
    """
    reference, floor, ours = columns(first), columns(second), columns(data)
    scale = reference.std(0).clip(1e-6)

    def marginal(x):
        return np.mean([ks_2samp(x[:, k], reference[:, k]).statistic for k in range(x.shape[1])])

    def correlation(x):
        return np.abs(correlations(x) - correlations(reference))[np.triu_indices(x.shape[1], 1)].mean()

    def nearest_neighbour(x):
        return np.median(nearest(x / scale, reference / scale))

    measures = {"nearest_neighbour": nearest_neighbour, "marginal": marginal, "correlation": correlation}
    return {
        **{name: {"measured": float(of(ours)), "floor": float(of(floor))} for name, of in measures.items()},
        "action_novelty": {
            "measured": action_novelty(data, first, neighbours),
            "floor": action_novelty(second, first, neighbours),
        },
    }


def spread_ratio(values: np.ndarray, real: np.ndarray) -> list[float]:
    """Standard deviation divided by the real one, by dimension; 1 if the real one is 0."""
    base = real.std(0)
    return np.where(base > 1e-6, values.std(0) / base.clip(1e-6), 1.0).tolist()


def local_spread(data: Transitions, states: np.ndarray, scale: np.ndarray, neighbours: int) -> np.ndarray:
    """(A,) variance of the actions among the rows nearest to each of `states`, (Q, S); the mean over `states`."""
    rows = cKDTree(data.observations / scale).query(states / scale, k=neighbours)[1]
    return data.actions[rows].var(axis=1).mean(0)


def diversity(
    data: Transitions, step: np.ndarray, real: Transitions, position: np.ndarray, first, neighbours: int
) -> dict:
    """Spread of states and actions, divided by the real data's spread.

    Step h of a window is compared with real steps at least h into their episode, since others cannot be reached.

    Arguments:
        step: (N,) index of each transition's step in its imagined window.
        position: (M,) index of each real row's step in its episode.
        first: rows of the real data at whose states neighbours are sought, in as many real rows as synthetic ones.

    Returns:
        {"actions", "states": for each step a list of ratios by dimension, "actions_among_neighbours": ratios by
        dimension, "saturated_actions"}. States are the next observations.
    """

    def ratios(name):
        values, base = getattr(data, name), getattr(real, name)
        masks = enumerate(by_step(step, lambda rows: rows))
        return [spread_ratio(values[rows], base[position >= h]) for h, rows in masks]

    scale = first.observations.std(0).clip(1e-6)
    states = first.observations[: max(len(first) // 4, 1)]
    count = min(len(data), len(real))
    evenly = np.isin(np.arange(len(real)), np.linspace(0, len(real) - 1, count).astype(int))
    ours = local_spread(data, states, scale, neighbours)
    theirs = local_spread(real.rows(evenly), states, scale, neighbours)
    return {
        "actions": ratios("actions"),
        "states": ratios("next_observations"),
        "actions_among_neighbours": np.sqrt(ours / theirs.clip(1e-9)).tolist(),
        "saturated_actions": float((np.abs(data.actions) > SATURATED).mean()),
    }

"""Does a method's data cover what the real data cover, and is it as varied? No simulator is needed."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import ks_2samp

from stages.common.transitions import Transitions
from stages.fidelity.physics import by_step

SATURATED = 0.999


def columns(data: Transitions) -> np.ndarray:
    """(N, S + A + 1 + S): everything in a transition that is continuous."""
    return np.concatenate([data.observations, data.actions, data.rewards[:, None], data.next_observations], axis=1)


def correlations(x: np.ndarray) -> np.ndarray:
    """Of each pair of columns; 0 where one does not vary."""
    z = (x - x.mean(0)) / x.std(0).clip(1e-9)
    return z.T @ z / len(z)


def nearest(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(N,) distance from each row to the closest of the reference."""
    return cKDTree(reference).query(x)[0]


def coverage(data: Transitions, first: Transitions, second: Transitions) -> dict:
    """Distances from the data to one half of the real episodes, and beside them those of the other half, the floor.

    Arguments:
        first, second: rows of the real data that share no episode, as many as `data` has, or nearly.

    Returns:
        {"nearest_neighbour": median distance to `first` in transitions scaled by the real std, "marginal": mean over
        columns of the Kolmogorov-Smirnov distance, "correlation": mean absolute difference of pairwise correlations},
        each {"found", "floor"}.
    """
    reference, other, found = columns(first), columns(second), columns(data)
    scale = reference.std(0).clip(1e-6)

    def marginal(x):
        return np.mean([ks_2samp(x[:, k], reference[:, k]).statistic for k in range(x.shape[1])])

    def correlation(x):
        return np.abs(correlations(x) - correlations(reference))[np.triu_indices(x.shape[1], 1)].mean()

    def closest(x):
        return np.median(nearest(x / scale, reference / scale))

    measures = {"nearest_neighbour": closest, "marginal": marginal, "correlation": correlation}
    return {name: {"found": float(of(found)), "floor": float(of(other))} for name, of in measures.items()}


def spread_ratio(found: np.ndarray, real: np.ndarray) -> list[float]:
    """Standard deviation over the real one, by dimension; 1 where the real one is 0."""
    base = real.std(0)
    return np.where(base > 1e-6, found.std(0) / base.clip(1e-6), 1.0).tolist()


def local_spread(data: Transitions, at: np.ndarray, scale: np.ndarray, neighbours: int) -> np.ndarray:
    """(A,) mean variance of the actions among the rows whose states are nearest to each of `at`, (Q, S)."""
    rows = cKDTree(data.observations / scale).query(at / scale, k=neighbours)[1]
    return data.actions[rows].var(axis=1).mean(0)


def diversity(
    data: Transitions, step: np.ndarray, real: Transitions, place: np.ndarray, first, neighbours: int
) -> dict:
    """How spread states and actions are, over the real ones.

    A window's later steps can only be compared with real steps that as many others precede in their episode.

    Arguments:
        step: (N,) place in the imagined window; place: (M,) in the episode, of the real rows.
        first: rows of the real data at whose states neighbours are sought, in as many real rows as synthetic ones.

    Returns:
        {"actions", "states": a list for each place of ratios by dimension, "actions_among_neighbours": ratios by
        dimension, "saturated_actions"}. States are the next observations.
    """

    def ratios(name):
        values, base = getattr(data, name), getattr(real, name)
        return [spread_ratio(values[rows], base[place >= h]) for h, rows in enumerate(by_step(step, lambda rows: rows))]

    scale = first.observations.std(0).clip(1e-6)
    at = first.observations[: max(len(first) // 4, 1)]
    count = min(len(data), len(real))
    evenly = np.isin(np.arange(len(real)), np.linspace(0, len(real) - 1, count).astype(int))
    ours = local_spread(data, at, scale, neighbours)
    theirs = local_spread(real.rows(evenly), at, scale, neighbours)
    return {
        "actions": ratios("actions"),
        "states": ratios("next_observations"),
        "actions_among_neighbours": np.sqrt(ours / theirs.clip(1e-9)).tolist(),
        "saturated_actions": float((np.abs(data.actions) > SATURATED).mean()),
    }

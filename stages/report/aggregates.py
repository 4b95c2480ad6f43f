"""Scores over all data sets as Agarwal et al. 2021 (arXiv 2108.13264) sum them up, for each method and algorithm.

Metrics take the seeds' scores of every data set and how often each bootstrap sample holds them, and so give the point
(each once) and its resamples by the same lines. The bootstrap is stratified: each data set's seeds are resampled apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.common.rng import numpy_stream
from stages.report.statistics import LEAST_FREEDOM, Draws, draw, expanded, percentiles

EXPERT = 100.0  # the normalised score up to which the optimality gap counts


class Runs(NamedTuple):
    """One cell: each seed's score, (seeds,), and its bootstrap samples."""

    values: np.ndarray
    draws: Draws


def drawn(cells: dict[tuple[str, str, str], tuple], resamples: int, *side: str) -> dict[tuple[str, str, str], Runs]:
    """(dataset, method, algorithm) → Runs. Algorithms share the draws of a data set and method, since policy i of each
    learns from the same generator.

    Arguments:
        cells: the same → each seed's score, (seeds,), and their generators' indices, or None where there are none.
        side: names that keep the chance of one run apart from another's.
    """
    draws: dict[tuple, Draws] = {}
    runs = {}
    for (dataset, method, algorithm), (values, generators) in cells.items():
        stratum = (*side, dataset, method)
        if stratum not in draws:
            draws[stratum] = draw(stratum, len(values), generators, numpy_stream("bootstrap", *stratum), resamples)
        runs[dataset, method, algorithm] = Runs(values, draws[stratum])
    return runs


@dataclass(frozen=True)
class Aggregate:
    """A metric and its interval, None where there are too few seeds for one."""

    point: float
    low: float | None
    high: float | None


def iqm(values: list[np.ndarray], times: list[np.ndarray]) -> np.ndarray:
    """Interquartile mean: of all runs without the lowest and the highest quarter, (resamples,)."""
    flat, counts = np.concatenate(values), np.concatenate(times, axis=1)
    order = np.argsort(flat)
    flat, counts = flat[order], counts[:, order]
    last = counts.cumsum(1)
    total = last[:, -1:]
    cut = np.floor(0.25 * total)  # runs left out on either side
    kept = np.clip(np.minimum(last, total - cut) - np.maximum(last - counts, cut), 0, None)
    return kept @ flat / (total - 2 * cut)[:, 0]


def task_means(values: list[np.ndarray], times: list[np.ndarray]) -> np.ndarray:
    """(data sets, resamples)"""
    return np.array([count @ value / count.sum(1) for value, count in zip(values, times, strict=True)])


def median(values, times) -> np.ndarray:
    """Of the data sets' means, (resamples,)."""
    return np.median(task_means(values, times), axis=0)


def mean(values, times) -> np.ndarray:
    """Of the data sets' means, (resamples,)."""
    return task_means(values, times).mean(0)


def optimality_gap(values, times) -> np.ndarray:
    """By how much runs fall short of `EXPERT` on average, not counting what is above it, (resamples,)."""
    return EXPERT - task_means([np.minimum(value, EXPERT) for value in values], times).mean(0)


METRICS: dict[str, Callable] = {"IQM": iqm, "median": median, "mean": mean, "optimality gap": optimality_gap}


def level(draws: list[Draws], confidence: float) -> float | None:
    """The share of the resamples that an interval must hold, as for means of equally uncertain strata; None with too
    few units.
    """
    counts = [draw.units for draw in draws]
    freedom = sum(count - 1 for count in counts)
    if freedom < LEAST_FREEDOM or min(counts) < 2:
        return None
    return expanded(confidence, min(counts) / (min(counts) - 1), freedom)


def bounded(point: float, resampled: np.ndarray, draws: list[Draws], confidence: float) -> Aggregate:
    share = level(draws, confidence)
    if share is None:
        return Aggregate(float(point), None, None)
    low, high = percentiles(resampled, share)
    return Aggregate(float(point), float(low), float(high))


def aggregate(metric: Callable, runs: list[Runs], confidence: float) -> Aggregate:
    """One of `METRICS`, of one method and algorithm on every data set."""
    values = [run.values for run in runs]
    (point,) = metric(values, [np.ones((1, len(value))) for value in values])
    return bounded(point, metric(values, [run.draws.times for run in runs]), [run.draws for run in runs], confidence)


def better(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m): whether each run of the first is above each of the second, ties as half (Mann and Whitney 1947)."""
    return np.heaviside(first[:, None] - second[None, :], 0.5)


def improvement(first: list[Runs], second: list[Runs], confidence: float) -> Aggregate:
    """Probability that a run of the first is above one of the second on the same data set, averaged over data sets."""
    tables = [better(one.values, other.values) for one, other in zip(first, second, strict=True)]
    resampled = []
    for one, other, table in zip(first, second, tables, strict=True):
        left, right = one.draws.times, other.draws.times
        resampled.append(((left @ table) * right).sum(1) / (left.sum(1) * right.sum(1)))
    draws = [run.draws for run in (*first, *second)]
    point = np.mean([table.mean() for table in tables])
    return bounded(point, np.mean(resampled, axis=0), draws, confidence)


def profile(runs: list[Runs], thresholds: np.ndarray, confidence: float):
    """Share of runs above each threshold: point, low and high, (thresholds,); with too few seeds no low and high."""
    above = [(run.values[:, None] > thresholds).astype(float) for run in runs]
    point = np.mean([share.mean(0) for share in above], axis=0)
    share = level([run.draws for run in runs], confidence)
    if share is None:
        return point, None, None
    parts = [run.draws.times @ part / run.draws.times.sum(1)[:, None] for run, part in zip(runs, above, strict=True)]
    return point, *percentiles(np.mean(parts, axis=0), share)

"""Aggregate scores over all data sets, after Agarwal et al. 2021 (arXiv 2108.13264), for each method and algorithm.

A metric takes the seeds' scores of every data set and how often each bootstrap sample holds them. So the same function
gives the point estimate (each seed once) and the resamples. The bootstrap is stratified: the seeds of each data set are
resampled separately.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.common.rng import numpy_stream
from stages.report.statistics.bootstrap import LEAST_FREEDOM, Resamples, expanded, percentiles, resample

EXPERT = 100.0  # the normalised score up to which the optimality gap counts


class Runs(NamedTuple):
    """One cell: each seed's score, (seeds,), and its bootstrap samples."""

    values: np.ndarray
    resamples: Resamples


def resampled_runs(
    cells: dict[tuple[str, str, str], tuple], count: int, *side: str
) -> dict[tuple[str, str, str], Runs]:
    """(dataset, method, algorithm) → Runs with `count` resamples.

    Algorithms share the resamples of a data set and method, since policy i of each learns from the same generator.

    Arguments:
        cells: the same keys → each seed's score, (seeds,), and their generators' indices, or None without generators.
        side: names that make the resamples of one run independent of another run's.
    """
    strata: dict[tuple, Resamples] = {}
    runs = {}
    for (dataset, method, algorithm), (values, generators) in cells.items():
        stratum = (*side, dataset, method)
        if stratum not in strata:
            strata[stratum] = resample(stratum, len(values), generators, numpy_stream("bootstrap", *stratum), count)
        runs[dataset, method, algorithm] = Runs(values, strata[stratum])
    return runs


@dataclass(frozen=True)
class Aggregate:
    """A metric and its interval, whose ends are None with too few seeds."""

    point: float
    low: float | None
    high: float | None


def iqm(values: list[np.ndarray], counts: list[np.ndarray]) -> np.ndarray:
    """Interquartile mean, (resamples,): the mean of all runs without the lowest and the highest quarter.

    Arguments:
        values: each data set's scores, (seeds,).
        counts: each data set's `Resamples.counts`, (resamples, seeds).
    """
    flat, times = np.concatenate(values), np.concatenate(counts, axis=1)
    order = np.argsort(flat)
    flat, times = flat[order], times[:, order]
    last = times.cumsum(1)
    total = last[:, -1:]
    cut = np.floor(0.25 * total)  # runs left out on either side
    kept = np.clip(np.minimum(last, total - cut) - np.maximum(last - times, cut), 0, None)
    return kept @ flat / (total - 2 * cut)[:, 0]


def task_means(values: list[np.ndarray], counts: list[np.ndarray]) -> np.ndarray:
    """Mean of each data set, (data sets, resamples)."""
    return np.array([count @ value / count.sum(1) for value, count in zip(values, counts, strict=True)])


def median(values, counts) -> np.ndarray:
    """Median of the data sets' means, (resamples,)."""
    return np.median(task_means(values, counts), axis=0)


def mean(values, counts) -> np.ndarray:
    """Mean of the data sets' means, (resamples,)."""
    return task_means(values, counts).mean(0)


def optimality_gap(values, counts) -> np.ndarray:
    """How far runs fall short of `EXPERT` on average, with scores above it counted as `EXPERT`, (resamples,)."""
    return EXPERT - task_means([np.minimum(value, EXPERT) for value in values], counts).mean(0)


METRICS: dict[str, Callable] = {"IQM": iqm, "median": median, "mean": mean, "optimality gap": optimality_gap}


def level(resamples: list[Resamples], confidence: float) -> float | None:
    """Share of the resamples that an interval must hold; None with too few units.

    Computed as for means of equally uncertain strata.
    """
    counts = [stratum.units for stratum in resamples]
    freedom = sum(count - 1 for count in counts)
    if freedom < LEAST_FREEDOM or min(counts) < 2:
        return None
    return expanded(confidence, min(counts) / (min(counts) - 1), freedom)


def bounded(point: float, resampled: np.ndarray, resamples: list[Resamples], confidence: float) -> Aggregate:
    """An aggregate with the interval of its `resampled` values, (resamples,)."""
    share = level(resamples, confidence)
    if share is None:
        return Aggregate(float(point), None, None)
    low, high = percentiles(resampled, share)
    return Aggregate(float(point), float(low), float(high))


def aggregate(metric: Callable, runs: list[Runs], confidence: float) -> Aggregate:
    """One of `METRICS` over the runs of one method and algorithm on every data set."""
    values, resamples = [run.values for run in runs], [run.resamples for run in runs]
    (point,) = metric(values, [np.ones((1, len(value))) for value in values])
    return bounded(point, metric(values, [stratum.counts for stratum in resamples]), resamples, confidence)


def better(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m): 1 if a run of `first` is above a run of `second`, 0.5 for ties, else 0 (Mann and Whitney 1947)."""
    return np.heaviside(first[:, None] - second[None, :], 0.5)


def improvement(first: list[Runs], second: list[Runs], confidence: float) -> Aggregate:
    """Probability that a run of `first` is above one of `second` on the same data set, averaged over data sets."""
    tables = [better(one.values, other.values) for one, other in zip(first, second, strict=True)]
    resampled = []
    for one, other, table in zip(first, second, tables, strict=True):
        left, right = one.resamples.counts, other.resamples.counts
        resampled.append(((left @ table) * right).sum(1) / (left.sum(1) * right.sum(1)))
    point = np.mean([table.mean() for table in tables])
    return bounded(point, np.mean(resampled, axis=0), [run.resamples for run in (*first, *second)], confidence)


def profile(runs: list[Runs], thresholds: np.ndarray, confidence: float):
    """Share of runs above each threshold: point, low and high, each (thresholds,).

    With too few seeds low and high are None.
    """
    above = [(run.values[:, None] > thresholds).astype(float) for run in runs]
    point = np.mean([share.mean(0) for share in above], axis=0)
    level_share = level([run.resamples for run in runs], confidence)
    if level_share is None:
        return point, None, None
    parts = [
        run.resamples.counts @ part / run.resamples.counts.sum(1)[:, None]
        for run, part in zip(runs, above, strict=True)
    ]
    return point, *percentiles(np.mean(parts, axis=0), level_share)

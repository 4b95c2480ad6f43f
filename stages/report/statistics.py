"""Means over seeds, with bootstrap intervals that know which policies share a generator.

Percentile intervals (Efron and Tibshirani 1993, chapter 13), not BCa: BCa's acceleration is a jackknife over the
independent units, and here these are a handful of seeds, or of generators, too few to estimate a skewness from. With so
few units a percentile interval is too narrow (of 95% by name, about 84% for five normal seeds); the notes say so.
"""

from dataclasses import dataclass

import numpy as np

FEWEST_SEEDS = 3  # below it, resampling shows little but the points themselves


def units(count: int, clusters: list[int | None] | None) -> tuple[np.ndarray, bool]:
    """Which independent unit each of `count` seeds belongs to, (seeds,), and whether units hold generators' chance.

    Seeds of one generator form a unit. Without a generator, or with a single one, there is nothing to resample above
    the seeds: each is a unit of its own, and the interval speaks of the policies' chance only.
    """
    if clusters is None or len(set(clusters)) == 1:
        return np.arange(count), False
    if None in clusters:
        raise ValueError("some seeds have a generator and some have none")
    return np.unique(clusters, return_inverse=True)[1], True


def resampled_means(values, clusters, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """Means of two-stage bootstrap samples, (resamples,): units drawn with replacement, then seeds within each.

    Arguments:
        values: (seeds,).
        clusters: (seeds,) index of the generator, or None where there is none.
    """
    values = np.asarray(values, dtype=float)
    unit = units(len(values), clusters)[0]
    sizes = np.bincount(unit)
    padded = np.zeros((len(sizes), sizes.max()))
    for index, size in enumerate(sizes):
        padded[index, :size] = values[unit == index]
    drawn = rng.integers(len(sizes), size=(resamples, len(sizes)))
    within = rng.integers(sizes[drawn][..., None], size=(*drawn.shape, sizes.max()))  # (resamples, units, seeds)
    present = np.arange(sizes.max()) < sizes[drawn][..., None]
    samples = padded[drawn[..., None], within]
    return (samples * present).sum((1, 2)) / present.sum((1, 2))


def percentiles(means: np.ndarray, confidence: float) -> tuple[float, float]:
    """The central interval that holds a share `confidence` of the resampled means."""
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def interval(values, clusters, rng: np.random.Generator, resamples: int, confidence: float) -> tuple[float, float]:
    """Bootstrap interval of the mean over seeds, clustered by generator; arguments as in `resampled_means`."""
    return percentiles(resampled_means(values, clusters, rng, resamples), confidence)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how sure it is.

    Attributes:
        mean: of the seeds' mean scores; of a difference, method minus reference.
        std: sample standard deviation (n − 1) over seeds; None with one seed, and for a difference.
        low, high: the interval; None with fewer than `FEWEST_SEEDS` seeds.
        values: (seeds,) mean score of each seed; None for a difference.
        means: (resamples,) resampled means; None where there is no interval.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    values: np.ndarray | None
    means: np.ndarray | None

    @property
    def excludes_zero(self) -> bool | None:
        return None if self.low is None else self.low > 0 or self.high < 0

    def overlaps(self, other: "Estimate") -> bool | None:
        return None if self.low is None or other.low is None else self.low <= other.high and other.low <= self.high


def bounds(means, confidence):
    return (None, None) if means is None else percentiles(means, confidence)


def estimate(values, clusters, rng: np.random.Generator, resamples: int, confidence: float) -> Estimate:
    """Of one cell, from the mean score of each seed, (seeds,)."""
    values = np.asarray(values, dtype=float)
    means = resampled_means(values, clusters, rng, resamples) if len(values) >= FEWEST_SEEDS else None
    return of_values(values, means, confidence)


def of_values(values, means, confidence) -> Estimate:
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Estimate(float(values.mean()), std, *bounds(means, confidence), values, means)


def average(parts: list[Estimate], confidence: float) -> Estimate:
    """The average of estimates with equally many seeds; the std is that of each seed's average over the parts.

    Resampled means are averaged draw by draw: parts of one stream stay tied, parts of different streams independent.
    """
    means = None if parts[0].means is None else np.mean([part.means for part in parts], axis=0)
    return of_values(np.mean([part.values for part in parts], axis=0), means, confidence)


def difference(method: Estimate, reference: Estimate, confidence: float) -> Estimate:
    """`method` minus `reference`, the two resampled independently of each other."""
    means = None if method.means is None or reference.means is None else method.means - reference.means
    return Estimate(method.mean - reference.mean, None, *bounds(means, confidence), None, means)

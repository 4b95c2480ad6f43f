"""Means over seeds, with bootstrap intervals that know which policies share a generator.

An estimate is a sum over *strata*, one for each data set and method, whose chances are independent. Within a stratum
whole units are resampled (seeds, or generators and then their seeds); algorithms share a stratum's draws, since their
policies learned from the same generators.

The intervals are the bootstrap's expanded percentiles (Hesterberg 2015, The American Statistician 69): a resample of n
units varies less than n new ones would, by (n − 1) / n, and its tails are a normal's where a t distribution's are due;
so percentiles further out are taken. Of 3,000 samples of five normal seeds the plain 95% interval holds the mean of
84%, the expanded one of 92%, and it can't do more, since no resampled mean lies outside the seeds. Of ten seeds they
hold 90% and 95%, of three seeds on each of nine data sets 87% and 95% (`tests/test_statistics.py` counts). BCa would
not help: its acceleration is a skewness, which so few units do not tell.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

LEAST_FREEDOM = 4  # degrees, Σ (units − 1): those of five seeds. With fewer, resampling shows little but the seeds


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


def multiplicities(unit: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """How often each bootstrap sample holds each seed, (resamples, seeds): units drawn with replacement, then as many
    seeds within each as it has.

    Arguments:
        unit: (seeds,) index of each seed's unit.
    """
    sizes = np.bincount(unit)
    members = np.zeros((len(sizes), sizes.max()), dtype=int)
    for index, size in enumerate(sizes):
        members[index, :size] = np.flatnonzero(unit == index)
    drawn = rng.integers(len(sizes), size=(resamples, len(sizes)))
    within = rng.integers(sizes[drawn][..., None], size=(*drawn.shape, sizes.max()))  # (resamples, units, seeds)
    present = np.arange(sizes.max()) < sizes[drawn][..., None]
    seeds = members[drawn[..., None], within] + len(unit) * np.arange(resamples)[:, None, None]
    counted = np.bincount(seeds[present], minlength=resamples * len(unit))
    return counted.reshape(resamples, len(unit)).astype(float)


@dataclass(frozen=True)
class Draws:
    """The bootstrap samples of one stratum.

    Attributes:
        stratum: what names it, such as (data set, method).
        times: (resamples, seeds), how often each sample holds each seed.
        units: how many independent units there are.
    """

    stratum: tuple
    times: np.ndarray
    units: int

    def means(self, values: np.ndarray) -> np.ndarray:
        """Of values (seeds,) in each sample, (resamples,)."""
        return self.times @ values / self.times.sum(1)


def draw(stratum: tuple, count: int, clusters, rng: np.random.Generator, resamples: int) -> Draws:
    """Bootstrap samples of `count` seeds; `clusters` are their generators' indices, or None where there are none."""
    unit = units(count, clusters)[0]
    return Draws(stratum, multiplicities(unit, rng, resamples), int(unit.max()) + 1)


def percentiles(draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """The central interval that holds a share `confidence` of the draws, along their first axis."""
    return tuple(np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0))


def expanded(confidence: float, inflation: float, freedom: float) -> float:
    """The share of the draws that the interval must hold, so that normal ones give the t interval (Hesterberg 2015).

    Arguments:
        inflation: by how much the variance exceeds the draws', n / (n − 1).
        freedom: degrees of it, of the t distribution.
    """
    return float(1 - 2 * stats.norm.cdf(-np.sqrt(inflation) * stats.t.ppf((1 + confidence) / 2, freedom)))


def interval(parts: dict[tuple, tuple[np.ndarray, int]], confidence: float) -> tuple[float, float] | tuple[None, None]:
    """Of a sum of independent parts, with degrees of freedom by Welch and Satterthwaite; None, None with too few units.

    Arguments:
        parts: stratum → its share in each draw of the sum, (resamples,), and its number of units.
    """
    if sum(count - 1 for _, count in parts.values()) < LEAST_FREEDOM:
        return None, None
    total = np.sum([share for share, _ in parts.values()], axis=0)
    # A stratum of a single unit shows no chance of its own; where none varies, any percentile will do.
    found = [(share.var(), count) for share, count in parts.values() if count > 1 and np.ptp(share) > 0]
    if not found:
        return float(total[0]), float(total[0])
    true = np.array([variance * count / (count - 1) for variance, count in found])
    freedom = true.sum() ** 2 / np.sum(true**2 / [count - 1 for _, count in found])
    wide = expanded(confidence, true.sum() / sum(variance for variance, _ in found), freedom)
    low, high = percentiles(total, wide)
    return float(low), float(high)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and how sure it is.

    Attributes:
        mean: of the seeds' mean scores; of a difference, method minus reference.
        std: sample standard deviation (n − 1) over seeds; None with one seed, and for a difference.
        low, high: the interval; None with too few seeds.
        values: (seeds,) mean score of each seed; None for a difference.
        parts: stratum → its share in each draw of the mean, (resamples,), and its number of units.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    values: np.ndarray | None
    parts: dict[tuple, tuple[np.ndarray, int]]

    @property
    def excludes_zero(self) -> bool | None:
        return None if self.low is None else self.low > 0 or self.high < 0

    def overlaps(self, other: "Estimate") -> bool | None:
        return None if self.low is None or other.low is None else self.low <= other.high and other.low <= self.high


def estimate(values, draws: Draws, confidence: float) -> Estimate:
    """Of one cell, from the mean score of each seed, (seeds,)."""
    values = np.asarray(values, dtype=float)
    return of_values(values, {draws.stratum: (draws.means(values), draws.units)}, confidence)


def of_values(values, parts, confidence) -> Estimate:
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Estimate(float(values.mean()), std, *interval(parts, confidence), values, parts)


def combined(terms: list[tuple[float, Estimate]]) -> dict[tuple, tuple[np.ndarray, int]]:
    """The parts of a weighted sum of estimates: what is of one stratum stays tied, draw by draw."""
    parts = {}
    for weight, term in terms:
        for stratum, (share, count) in term.parts.items():
            before = parts[stratum][0] if stratum in parts else 0
            parts[stratum] = (before + weight * share, count)
    return parts


def average(parts: list[Estimate], confidence: float) -> Estimate:
    """The average of estimates with equally many seeds; the std is that of each seed's average over the parts."""
    values = np.mean([part.values for part in parts], axis=0)
    return of_values(values, combined([(1 / len(parts), part) for part in parts]), confidence)


def difference(method: Estimate, reference: Estimate, confidence: float) -> Estimate:
    """`method` minus `reference`, the two resampled independently of each other."""
    parts = combined([(1, method), (-1, reference)])
    return Estimate(method.mean - reference.mean, None, *interval(parts, confidence), None, parts)

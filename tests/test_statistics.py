"""The report's statistics against rliable, SciPy and closed forms; and how often the intervals cover the true mean."""

import json
from functools import cache

import numpy as np
import pytest
from scipy import stats

from stages.report.statistics.aggregates import (
    METRICS,
    Runs,
    aggregate,
    improvement,
    iqm,
    level,
    optimality_gap,
    profile,
)
from stages.report.statistics.bootstrap import (
    average,
    difference,
    estimate,
    expanded,
    interval,
    percentiles,
    resample,
    units,
)
from tests.conftest import ROOT

RLIABLE = json.loads((ROOT / "tests/rliable.json").read_text())


def rng(seed: int = 7):
    return np.random.default_rng(seed)


def resampled(seeds: int, clusters=None, count: int = 5000, stratum=("d", "m"), seed: int = 7):
    return resample(stratum, seeds, clusters, rng(seed), count)


def cell(values, clusters=None, stratum=("d", "m"), count: int = 1000, confidence: float = 0.9):
    return estimate(values, resampled(len(values), clusters, count, stratum), confidence)


@cache
def runs(name: str, count: int = 30_000) -> list[Runs]:
    """The stored scores as `Runs`, one for each task."""
    columns = np.array(RLIABLE[name]).T
    return [Runs(column, resampled(len(column), None, count, (name, k), k)) for k, column in enumerate(columns)]


def plain_percentiles(monkeypatch):
    """Makes the aggregates' intervals plain percentiles, as rliable's are."""
    monkeypatch.setattr("stages.report.statistics.aggregates.expanded", lambda confidence, *_: confidence)


@pytest.mark.parametrize("name", ["ours", "other"])
def test_aggregates_agree_with_rliable(name):
    ours = runs(name)
    spread = np.std(RLIABLE[name], axis=0).mean()
    for title, key in (("IQM", "iqm"), ("median", "median"), ("mean", "mean"), ("optimality gap", "optimality_gap")):
        stored = RLIABLE["metrics"][name][key]
        assert aggregate(METRICS[title], ours, 0.95).point == pytest.approx(stored["point"], abs=1e-4)
        values = METRICS[title]([run.values for run in ours], [run.resamples.counts for run in ours])
        assert percentiles(values, 0.95) == pytest.approx((stored["low"], stored["high"]), abs=0.04 * spread), title


def test_probability_of_improvement_agrees_with_rliable(monkeypatch):
    plain_percentiles(monkeypatch)
    forth, stored = improvement(runs("ours"), runs("other"), 0.95), RLIABLE["improvement"]
    assert forth.point == pytest.approx(stored["point"], abs=1e-6)
    assert (forth.low, forth.high) == pytest.approx((stored["low"], stored["high"]), abs=0.015)
    back = improvement(runs("other"), runs("ours"), 0.95)
    assert back.point == pytest.approx(1 - stored["point"], abs=1e-6)


def test_performance_profiles_agree_with_rliable(monkeypatch):
    plain_percentiles(monkeypatch)
    stored = RLIABLE["profile"]
    point, low, high = profile(runs("ours"), np.array(stored["thresholds"]), 0.95)
    np.testing.assert_allclose(point, stored["point"], atol=1e-6)
    np.testing.assert_allclose(low, stored["low"], atol=0.051)  # a step of a single run of twenty
    np.testing.assert_allclose(high, stored["high"], atol=0.051)


def test_iqm_of_a_resample_is_that_of_the_runs_it_holds():
    values = [np.array([3.0, 1.0, 7.0]), np.array([10.0, 2.0, 5.0, 4.0])]
    counts = [np.array([[2.0, 0.0, 1.0]]), np.array([[0.0, 3.0, 1.0, 0.0]])]
    held = [3.0, 3.0, 7.0, 2.0, 2.0, 2.0, 5.0]
    assert iqm(values, counts) == pytest.approx([stats.trim_mean(held, 0.25)])
    assert optimality_gap([np.array([90.0, 130.0])], [np.ones((1, 2))]) == pytest.approx([5.0])  # 130 counts as 100


def test_plain_percentiles_agree_with_scipy():
    values = np.array([3.0, 4.5, 9.0, 12.0, 12.5, 20.0, 31.0, 33.0])
    ours = percentiles(resampled(8, None, 40_000).means(values), 0.9)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, confidence_level=0.9, method="percentile", rng=1)
    assert ours == pytest.approx(theirs.confidence_interval, abs=0.2)  # the interval is 12 wide


def test_expanded_percentiles_of_a_normal_give_the_t_interval():
    """Resampled means are about normal with variance (n − 1) / n² · s²; the interval must be Student's, with s² / n."""
    n, s = 10, 3.0
    share = expanded(0.95, n / (n - 1), n - 1)
    means = stats.norm(scale=s * np.sqrt(n - 1) / n)
    assert means.ppf((1 + share) / 2) == pytest.approx(stats.t.ppf(0.975, n - 1) * s / np.sqrt(n))
    assert expanded(0.95, 1 + 1e-9, 1e9) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("tasks", "seeds", "plain", "wide"),
    [(1, 5, (0.81, 0.87), (0.90, 0.94)), (1, 10, (0.88, 0.93), (0.93, 0.97)), (9, 3, (0.84, 0.90), (0.93, 0.97))],
)
def test_how_often_intervals_hold_the_mean(tasks, seeds, plain, wide):
    trials, held = 1000, np.zeros(2)
    strata = [resampled(seeds, None, 1000, (task,), task) for task in range(tasks)]
    chance = rng()
    for _ in range(trials):
        values = chance.standard_normal((tasks, seeds))
        mean = average([estimate(row, stratum, 0.95) for row, stratum in zip(values, strata, strict=True)], 0.95)
        low, high = percentiles(np.sum([share for share, _ in mean.parts.values()], axis=0), 0.95)
        held += [low <= 0 <= high, mean.low <= 0 <= mean.high]
    shares = held / trials
    assert plain[0] < shares[0] < plain[1]
    assert wide[0] < shares[1] < wide[1]


@pytest.mark.parametrize(
    ("tasks", "share", "coverage"), [(1, 0.5, 0.94), (1, 1.0, 0.86), (3, 0.0, 0.99), (3, 0.5, 0.97), (3, 1.0, 0.93)]
)
def test_how_often_intervals_of_a_difference_hold_it_with_two_generators(tasks, share, coverage):
    """Five seeds of two generators against five of real data; `share` of the variance is the generators'."""
    random, clusters, held = np.random.default_rng(0), np.array([0, 1, 0, 1, 0]), []

    def drawn(name: str, k: int, share: float, clusters) -> list:
        common = np.sqrt(share) * random.normal(size=2)[clusters] if share else 0.0
        values = np.sqrt(1 - share) * random.normal(size=5) + common
        own = None if name == "real" else list(clusters)
        return estimate(values, resample((name, k), 5, own, random, 500), 0.95)

    for _ in range(400):
        sides = [
            average([drawn(name, k, part, clusters) for k in range(tasks)], 0.95)
            for name, part in (("method", share), ("real", 0.0))
        ]
        gain = difference(*sides, 0.95)
        held.append(gain.low <= 0 <= gain.high)
    assert np.mean(held) == pytest.approx(coverage, abs=0.035)


def test_an_interval_needs_five_units_or_several_data_sets():
    estimates = [cell(range(seeds)) for seeds in (1, 2, 4, 5)]
    assert [each.low is None for each in estimates] == [True, True, True, False]
    assert [each.std is None for each in estimates] == [True, False, False, False]
    assert cell(range(10), [0, 1] * 5).low is None  # two generators, however many seeds
    three = [cell(range(3), stratum=(k, "m")) for k in "ab"]
    assert all(each.low is None for each in three)
    assert average(three, 0.9).low is not None
    assert difference(*three, 0.9).low is not None
    few = [Runs(np.arange(2.0), resampled(2, stratum=(k, "m"))) for k in "abc"]
    assert aggregate(METRICS["mean"], few, 0.9).low is None
    assert improvement(few, few, 0.9).low is not None  # counts the units of both sides


def test_the_interval_of_a_difference_is_welch_s():
    """With normal resamples, whose variance is (n − 1) / n² · s² for each side, it must be that of SciPy's t test."""
    one, other = rng(1).normal(3, 1, 5), rng(2).normal(0, 2, 8)
    parts = {}
    for name, sign, values in (("a", 1, one), ("b", -1, other)):
        n = len(values)
        deviation = values.std(ddof=1) * np.sqrt(n - 1) / n
        parts[name] = sign * values.mean() + deviation * rng(n).standard_normal(400_000), n
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    width = expected.high - expected.low
    assert interval(parts, 0.95) == pytest.approx((expected.low, expected.high), abs=0.01 * width)


def test_an_aggregate_s_interval_is_wide_enough_for_unequal_numbers_of_seeds():
    """For equally uncertain strata of 3 and 9 seeds the resamples lack 1 / 3 and 1 / 9 of the variance."""
    share = level([resampled(3), resampled(9)], 0.95)
    assert share >= expanded(0.95, 2 / ((1 - 1 / 3) + (1 - 1 / 9)), 2 + 8)


def test_clustered_variance_has_its_closed_form():
    values, clusters = np.array([1.0, 3.0, 8.0, 14.0, 20.0, 23.0]), [0, 1, 2, 0, 1, 2]
    groups = np.array([[1.0, 14.0], [3.0, 20.0], [8.0, 23.0]])
    expected = groups.mean(1).var() / 3 + groups.var(1).mean() / 6
    assert resampled(6, clusters, 100_000).means(values).var() == pytest.approx(expected, rel=0.03)


def test_unequal_clusters_weigh_by_their_seeds():
    means = resampled(4, [5, 5, 5, 2], 20_000).means(np.array([0.0, 0, 0, 1]))
    shares = {value: np.mean(means == value) for value in np.unique(means)}
    assert shares == pytest.approx({0.0: 0.25, 0.25: 0.5, 1.0: 0.25}, abs=0.02)


def test_clusters_that_differ_widen_the_interval():
    values = [10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52]
    generators = [k // 3 for k in range(15)]
    none, one, five = (cell(values, clusters, count=5000) for clusters in (None, [0] * 15, generators))
    assert five.low < one.low == none.low < none.high == one.high < five.high
    assert units(3, [4, 4, 2])[1]
    with pytest.raises(ValueError, match="some have none"):
        units(3, [4, None, None])


def test_difference_and_average_by_hand():
    three, five = (cell([value] * 5, stratum=(value,)) for value in (3, 5))
    gain = difference(five, three, 0.9)
    assert (gain.mean, gain.low, gain.high, gain.excludes_zero) == (2, 2, 2, True)
    assert not difference(five, five, 0.9).excludes_zero
    other = cell([0, 2, 4, 6, 8], stratum=("other",))
    mixed = average([other, five], 0.9)
    assert (other.mean, other.std, mixed.mean, mixed.std) == pytest.approx((4, 10**0.5, 4.5, 2.5**0.5))  # of n − 1


def test_parts_of_one_stratum_are_tied_and_of_different_strata_independent():
    spread = np.array([0.0, 3.0, 4.0, 9.0, 10.0])
    own, same = (cell(spread, stratum=("a",), count=50_000) for _ in range(2))

    def variance(combination):
        return np.sum([share for share, _ in combination.parts.values()], axis=0).var()

    assert variance(average([own, same], 0.9)) == pytest.approx(spread.var() / 5, rel=0.03)
    apart = estimate(spread, resampled(5, None, 50_000, ("b",), seed=8), 0.9)
    assert variance(average([own, apart], 0.9)) == pytest.approx(spread.var() / 10, rel=0.03)
    assert variance(difference(own, apart, 0.9)) == pytest.approx(2 * spread.var() / 5, rel=0.03)
    assert variance(difference(own, same, 0.9)) == 0

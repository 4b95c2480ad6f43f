"""The report's statistics against rliable's, SciPy's and closed forms; and how often the intervals hold the truth."""

import json

import numpy as np
import pytest
from scipy import stats

from stages.report.aggregates import METRICS, Runs, aggregate, improvement, iqm, optimality_gap, profile
from stages.report.statistics import average, difference, draw, estimate, expanded, percentiles, units
from tests.conftest import ROOT

RLIABLE = json.loads((ROOT / "tests/rliable.json").read_text())


def rng(seed: int = 7):
    return np.random.default_rng(seed)


def drawn(count: int, clusters=None, resamples: int = 5000, stratum=("d", "m"), seed: int = 7):
    return draw(stratum, count, clusters, rng(seed), resamples)


def cell(values, clusters=None, stratum=("d", "m"), resamples: int = 1000, confidence: float = 0.9):
    return estimate(values, drawn(len(values), clusters, resamples, stratum), confidence)


def runs(name: str, resamples: int = 30_000) -> list[Runs]:
    """Of the stored scores, one for each task."""
    columns = np.array(RLIABLE[name]).T
    return [Runs(column, drawn(len(column), None, resamples, (name, k), k)) for k, column in enumerate(columns)]


@pytest.mark.parametrize("name", ["ours", "other"])
def test_aggregates_agree_with_rliable(name):
    ours = runs(name)
    spread = np.std(RLIABLE[name], axis=0).mean()
    for title, key in (("IQM", "iqm"), ("median", "median"), ("mean", "mean"), ("optimality gap", "optimality_gap")):
        stored = RLIABLE["metrics"][name][key]
        assert aggregate(METRICS[title], ours, 0.95).point == pytest.approx(stored["point"], abs=1e-4)
        resampled = METRICS[title]([run.values for run in ours], [run.draws.times for run in ours])
        assert percentiles(resampled, 0.95) == pytest.approx((stored["low"], stored["high"]), abs=0.04 * spread), title


def test_probability_of_improvement_agrees_with_rliable(monkeypatch):
    monkeypatch.setattr("stages.report.aggregates.expanded", lambda confidence, *_: confidence)  # plain, as rliable's
    found, stored = improvement(runs("ours"), runs("other"), 0.95), RLIABLE["improvement"]
    assert found.point == pytest.approx(stored["point"], abs=1e-6)
    assert (found.low, found.high) == pytest.approx((stored["low"], stored["high"]), abs=0.015)
    back = improvement(runs("other"), runs("ours"), 0.95)
    assert back.point == pytest.approx(1 - stored["point"], abs=1e-6)


def test_performance_profiles_agree_with_rliable(monkeypatch):
    monkeypatch.setattr("stages.report.aggregates.expanded", lambda confidence, *_: confidence)
    stored = RLIABLE["profile"]
    point, low, high = profile(runs("ours"), np.array(stored["thresholds"]), 0.95)
    np.testing.assert_allclose(point, stored["point"], atol=1e-6)
    np.testing.assert_allclose(low, stored["low"], atol=0.051)  # a step of a single run of twenty
    np.testing.assert_allclose(high, stored["high"], atol=0.051)


def test_a_resample_s_iqm_is_that_of_the_runs_it_holds():
    values = [np.array([3.0, 1.0, 7.0]), np.array([10.0, 2.0, 5.0, 4.0])]
    times = [np.array([[2.0, 0.0, 1.0]]), np.array([[0.0, 3.0, 1.0, 0.0]])]
    held = [3.0, 3.0, 7.0, 2.0, 2.0, 2.0, 5.0]
    assert iqm(values, times) == pytest.approx([stats.trim_mean(held, 0.25)])
    assert optimality_gap([np.array([90.0, 130.0])], [np.ones((1, 2))]) == pytest.approx([5.0])  # 130 counts as 100


def test_plain_percentiles_agree_with_scipy():
    values = np.array([3.0, 4.5, 9.0, 12.0, 12.5, 20.0, 31.0, 33.0])
    ours = percentiles(drawn(8, None, 40_000).means(values), 0.9)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, confidence_level=0.9, method="percentile", rng=1)
    assert ours == pytest.approx(theirs.confidence_interval, abs=0.2)  # the interval is 12 wide


def test_the_expansion_makes_a_normal_interval_student_s():
    """Draws of a mean are about normal with variance (n − 1) / n² · s²: their interval is then t's, with s² / n."""
    n, s = 10, 3.0
    share = expanded(0.95, n / (n - 1), n - 1)
    draws = stats.norm(scale=s * np.sqrt(n - 1) / n)
    assert draws.ppf((1 + share) / 2) == pytest.approx(stats.t.ppf(0.975, n - 1) * s / np.sqrt(n))
    assert expanded(0.95, 1 + 1e-9, 1e9) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("tasks", "seeds", "plain", "wide"),
    [(1, 5, (0.81, 0.87), (0.90, 0.94)), (1, 10, (0.88, 0.93), (0.93, 0.97)), (9, 3, (0.84, 0.90), (0.93, 0.97))],
)
def test_how_often_intervals_hold_the_mean(tasks, seeds, plain, wide):
    trials, held = 1000, np.zeros(2)
    draws = [drawn(seeds, None, 1000, (task,), task) for task in range(tasks)]
    chance = rng()
    for _ in range(trials):
        values = chance.standard_normal((tasks, seeds))
        found = average([estimate(row, own, 0.95) for row, own in zip(values, draws, strict=True)], 0.95)
        low, high = percentiles(np.sum([share for share, _ in found.parts.values()], axis=0), 0.95)
        held += [low <= 0 <= high, found.low <= 0 <= found.high]
    shares = held / trials
    assert plain[0] < shares[0] < plain[1]
    assert wide[0] < shares[1] < wide[1]


def test_an_interval_takes_five_units_or_several_data_sets():
    found = [cell(range(seeds)) for seeds in (1, 2, 4, 5)]
    assert [each.low is None for each in found] == [True, True, True, False]
    assert [each.std is None for each in found] == [True, False, False, False]
    assert cell(range(10), [0, 1] * 5).low is None  # two generators, however many seeds
    three = [cell(range(3), stratum=(k, "m")) for k in "ab"]
    assert all(each.low is None for each in three)
    assert average(three, 0.9).low is not None
    assert difference(*three, 0.9).low is not None
    few = [Runs(np.arange(2.0), drawn(2, stratum=(k, "m"))) for k in "abc"]
    assert aggregate(METRICS["mean"], few, 0.9).low is None
    assert improvement(few, few, 0.9).low is not None  # of both sides' seeds


def test_clustered_variance_in_closed_form():
    values, clusters = np.array([1.0, 3.0, 8.0, 14.0, 20.0, 23.0]), [0, 1, 2, 0, 1, 2]
    groups = np.array([[1.0, 14.0], [3.0, 20.0], [8.0, 23.0]])
    expected = groups.mean(1).var() / 3 + groups.var(1).mean() / 6
    assert drawn(6, clusters, 100_000).means(values).var() == pytest.approx(expected, rel=0.03)


def test_unequal_clusters_weigh_by_their_seeds():
    means = drawn(4, [5, 5, 5, 2], 20_000).means(np.array([0.0, 0, 0, 1]))
    shares = {value: np.mean(means == value) for value in np.unique(means)}
    assert shares == pytest.approx({0.0: 0.25, 0.25: 0.5, 1.0: 0.25}, abs=0.02)


def test_clusters_that_differ_widen_the_interval():
    values = [10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52]
    generators = [k // 3 for k in range(15)]
    none, one, five = (cell(values, clusters, resamples=5000) for clusters in (None, [0] * 15, generators))
    assert five.low < one.low == none.low < none.high == one.high < five.high
    assert units(3, [4, 4, 2])[1]
    with pytest.raises(ValueError, match="some have none"):
        units(3, [4, None, None])


def test_difference_and_average_by_hand():
    three, five = (cell([value] * 5, stratum=(value,)) for value in (3, 5))
    gain = difference(five, three, 0.9)
    assert (gain.mean, gain.low, gain.high, gain.excludes_zero) == (2, 2, 2, True)
    assert not difference(five, five, 0.9).excludes_zero
    assert (three.overlaps(five), three.overlaps(three)) == (False, True)
    other = cell([0, 2, 4, 6, 8], stratum=("other",))
    mixed = average([other, five], 0.9)
    assert (other.mean, other.std, mixed.mean, mixed.std) == pytest.approx((4, 10**0.5, 4.5, 2.5**0.5))  # of n − 1


def test_parts_of_one_stratum_stay_tied_and_others_are_independent():
    spread = np.array([0.0, 3.0, 4.0, 9.0, 10.0])
    own, same = (cell(spread, stratum=("a",), resamples=50_000) for _ in range(2))

    def of(found):
        return np.sum([share for share, _ in found.parts.values()], axis=0).var()

    assert of(average([own, same], 0.9)) == pytest.approx(spread.var() / 5, rel=0.03)
    apart = estimate(spread, drawn(5, None, 50_000, ("b",), seed=8), 0.9)
    assert of(average([own, apart], 0.9)) == pytest.approx(spread.var() / 10, rel=0.03)
    assert of(difference(own, apart, 0.9)) == pytest.approx(2 * spread.var() / 5, rel=0.03)
    assert of(difference(own, same, 0.9)) == 0

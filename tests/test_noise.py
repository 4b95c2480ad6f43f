"""The table of noise: scores of the last checkpoint and of the last ten evaluations, and how many seeds are needed."""

import numpy as np
import pytest

from stages.common.params import load
from stages.report.statistics.grid import READS
from stages.report.tables.contents import contents
from stages.report.tables.noise import last_evaluations, seeds_needed
from tests.test_report import DATASETS, EPISODES, SEEDS, run_collect, write_results


def test_the_last_ten_evaluations_are_averaged_for_each_seed():
    curve = [{"step": k, "scores": [[k, k + 2.0], [2.0 * k, 2.0 * k]]} for k in range(1, 13)]
    cell = {"curve": curve, "seeds": [{"scores": [100.0, 102.0, 104.0]}, {"scores": [7.0, 7.0, 7.0]}]}
    expected = [np.mean([102.0, *(k + 1.0 for k in range(4, 13))]), np.mean([7.0, *(2.0 * k for k in range(4, 13))])]
    np.testing.assert_allclose(last_evaluations(cell), expected)
    few = {"curve": curve[-2:], "seeds": cell["seeds"]}
    np.testing.assert_allclose(last_evaluations(few), [np.mean([12.0, 13.0, 102.0]), np.mean([22.0, 24.0, 7.0])])
    np.testing.assert_allclose(last_evaluations({"curve": [], "seeds": cell["seeds"]}), [102.0, 7.0])


def test_as_many_seeds_are_needed_as_show_the_difference_in_four_of_five_trials():
    for deviation in (2.0, 6.0):
        count, rng = seeds_needed([deviation]), np.random.default_rng(0)
        first, second = rng.normal(0, deviation, (2, 4000, count))
        seen = np.abs(first.mean(1) - second.mean(1) - 3.0) / (deviation * np.sqrt(2 / count)) > 1.96
        assert seen.mean() == pytest.approx(0.8, abs=0.04)
    assert seeds_needed([2.0]) == 7
    assert seeds_needed([20.0]) == 698
    assert seeds_needed([np.sqrt(2) * 6.0, 0.0]) == seeds_needed([6.0])  # variances are averaged
    assert seeds_needed([0.1]) == 2
    assert seeds_needed([]) is None


def test_the_table_has_both_and_the_scores_are_the_last_checkpoint_s(tmp_path, monkeypatch):
    write_results(tmp_path, monkeypatch)
    run_collect(monkeypatch)
    content = contents(load(READS))
    frame = content.tables["noise"].frame.set_index(["dataset", "method", "algorithm", "of"])
    for names, cell in content.scores.cells.items():
        if names[0] in DATASETS:
            last, ten = (frame.loc[(*names, kind)] for kind in ("last checkpoint", "last ten"))
            assert last["mean"] == pytest.approx(cell.mean)
            assert ten["mean"] == pytest.approx(
                cell.mean - (7 + (EPISODES - 1) / 20) / 2
            )  # an evaluation 7 points lower
            assert ten["low"] < ten["mean"] < ten["high"]
    rows = content.tables["noise"].groups[0].rows
    assert [cell.text for cell in rows[-1].cells] == [str(seeds_needed([np.std(range(SEEDS), ddof=1)]))] * 6

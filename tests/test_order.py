"""The order of the methods: places and rank correlations, against other ways to work them out."""

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from stages.common.params import load
from stages.report.statistics.grid import READS
from stages.report.statistics.scores import AVERAGE
from stages.report.tables.contents import contents
from stages.report.tables.order import correlation, places
from tests import test_report
from tests.test_report import DATASETS, run_collect, write_results


def test_places_and_correlations_are_those_of_scipy():
    values, others = np.random.default_rng(0).integers(0, 4, (2, 6, 50)).astype(float)  # many are level
    np.testing.assert_allclose(places(values), rankdata(-values, axis=0))
    expected = [spearmanr(one, other)[0] for one, other in zip(values.T, others.T, strict=True)]
    np.testing.assert_allclose(correlation(values, others), expected)
    assert np.isnan(correlation(np.ones((3, 1)), np.ones((3, 1)))).all()


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """Five methods and a control; IQL orders them against TD3+BC."""
    methods = ["real", "dawm", "corrected", "synther", "oracle", "joint"]
    monkeypatch.setattr(test_report, "METHODS", methods)
    monkeypatch.setattr(test_report, "ALGORITHMS", ["td3bc", "iql"])
    own = test_report.cell

    def shifted(dataset, method, algorithm, *rest):
        content, sign = own(dataset, method, algorithm, *rest), 1 if algorithm == "td3bc" else -1
        for seed in content["seeds"]:
            seed["scores"] = [score + 100 * sign * methods.index(method) for score in seed["scores"]]
        return content

    monkeypatch.setattr(test_report, "cell", shifted)
    write_results(tmp_path, monkeypatch)
    run_collect(monkeypatch)
    return contents(load(READS))


def test_the_place_leaves_controls_out_and_the_correlation_sees_the_reversed_order(grid):
    frame = grid.tables["order"].frame.set_index(["dataset", "algorithm"])
    for dataset in (*DATASETS, AVERAGE):
        assert tuple(frame.loc[(dataset, "td3bc"), ["place", "place_low", "place_high"]]) == (4, 4, 4)
        assert tuple(frame.loc[(dataset, "iql"), ["place", "methods"]]) == (2, 5)
        assert frame.loc[(dataset, "iql"), ["correlation", "low", "high"]].tolist() == pytest.approx([-1, -1, -1])
    (_, iql) = grid.tables["order"].groups[0].rows
    assert [(cell.text, cell.beside, cell.under) for cell in iql.cells] == [
        ("2", "of 5", "[2, 2]"),
        ("−1.00", "", "[−1.00, −1.00]"),
    ]

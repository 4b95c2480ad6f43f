"""The table and figure of gains: each method's difference from real data beside the fidelity of its transitions."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from stages.report.figures import gains as figure
from stages.report.page.panels import gains as panels
from stages.report.statistics.scores import Scores
from stages.report.tables.gains import correlation_notes, correlations, gains, table

METHODS = ["real", "dawm", "corrected", "synther", "dwm"]
ERRORS = {"dawm": 0.1, "corrected": 0.03, "synther": 0.2, "dwm": None}
NOVELTY = {"dawm": -0.05, "corrected": 0.5, "synther": 0.3, "dwm": 0.0}
GAINS = {"hopper-medium": {"dawm": -5.0, "corrected": 4.0, "synther": -9.0, "dwm": 1.0}}
GAINS["walker2d-medium"] = {method: 2 * gain for method, gain in GAINS["hopper-medium"].items()}


def record(method: str) -> dict:
    error = ERRORS[method]
    novelty = {"measured": 0.4 + NOVELTY[method], "floor": 0.4}
    return {
        "physics": error and {"overall": {"median": error}},
        "coverage": {"action_novelty": novelty},
    }


@pytest.fixture
def scores() -> Scores:
    differences = {
        (dataset, method, "iql"): SimpleNamespace(mean=gain, low=gain - 1, high=gain + 1, excludes_zero=abs(gain) > 1)
        for dataset, entries in GAINS.items()
        for method, gain in entries.items()
    }
    collected = {
        dataset: {"fidelity": {method: record(method) for method in METHODS[1:]}, "absent": []} for dataset in GAINS
    }
    unused = {key: {} for key in ("runs", "cells", "behaviour")}
    names = {"datasets": list(GAINS), "methods": METHODS, "algorithms": ["iql"]}
    return Scores(**names, **unused, confidence=0.95, differences=differences, collected=collected, raw=[])


def test_a_row_holds_the_measures_and_the_difference_of_one_cell(scores):
    frame = gains(scores)
    assert len(frame) == 2 * 4
    row = frame.set_index(["dataset", "method"]).loc["walker2d-medium", "synther"]
    assert (row["error"], row["difference"], row["low"], row["high"]) == (0.2, -18, -19, -17)
    assert row["novelty"] == pytest.approx(0.3)
    assert np.isnan(frame.loc[frame["method"] == "dwm", "error"]).all()


def test_rank_correlations_by_hand(scores):
    """Ranks of the errors 0.1, 0.03, 0.2 (twice) and of the gains -5, 4, -9, -10, 8, -18 are, less their mean 3.5,

    0, -2, 2, 0, -2, 2 and 0.5, 1.5, -0.5, -1.5, 2.5, -2.5: their products sum to -14, their squares to 16 and 17.5.
    """
    pairs = correlations(gains(scores))
    expected = -14 / np.sqrt(16 * 17.5)
    assert pairs["iql", "error"] == (pytest.approx(expected), 6)
    assert pairs["iql", "novelty"][1] == 8
    (first, second) = correlation_notes(gains(scores))
    assert first == f"Rank correlation of next-state error and difference: −{abs(expected):.2f} with IQL (6 points)."
    assert second.startswith("Rank correlation of action novelty and difference: ")
    few = gains(scores).iloc[:3]
    assert correlations(few) == {}
    assert correlation_notes(few) == []


def test_the_table_shows_every_method_but_real_data(scores):
    shown = table(scores, gains(scores))
    assert [row.method for group in shown.groups for row in group.rows] == METHODS[1:] * 2
    texts = [[cell.text for cell in row.cells] for row in shown.groups[0].rows]
    assert texts[0] == ["0.10", "−0.05", "−5.0"]
    assert texts[3] == ["–", "0", "+1.0"]
    empty = replace(scores, differences={})
    assert table(empty, gains(empty)) is None


def test_the_page_has_a_panel_for_each_measure_with_the_points_that_have_it(scores):
    error, novelty = panels(scores, gains(scores))
    assert (error.kind, novelty.kind) == ("error_gains", "novelty_gains")
    assert (len(error.rows), len(novelty.rows)) == (6, 8)
    point = next(row for row in error.rows if row["dataset"] == "walker2d-medium" and row["value"] == 8)
    assert (point["measure"], point["low"], point["high"]) == (0.03, 7, 9)
    assert (point["method"], point["difference"], point["interval"]) == ("corrected DAWM", "+8.0", "[7.0, 9.0]")
    exact = gains(scores).assign(error=1e-8)
    assert {(row["measure"], row["text"]) for row in panels(scores, exact)[0].rows} == {(1e-3, "1e-08")}


def test_the_figure_is_drawn_only_if_there_is_something_to_show(scores, tmp_path):
    path = tmp_path / "gains.png"
    figure.gains(gains(scores).iloc[:0], scores, path)
    assert not path.exists()
    figure.gains(gains(scores), scores, path)
    assert path.stat().st_size > 10_000
    assert path.with_suffix(".svg").exists()

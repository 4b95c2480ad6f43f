"""Published scores: a valid file, one column for each protocol, rows paired by method, D4RL's files only."""

import csv
import json
import math
from pathlib import Path

import pytest
import yaml

from stages.report.statistics.scores import Scores, score
from stages.report.style.words import label, number, sentence
from stages.report.tables import published
from stages.report.tables.table import markdown
from tests import test_report
from tests.conftest import ROOT, report

DATASET = "hopper-medium-v2"
FILE = ROOT / "stages/report/tables/published_scores.csv"
ONE_STEP = "One-step Gaussian model (DWM's comparison)"
PLANNERS = {"decision-diffuser", "diffuser", "tt", "dt", "mbop", "mopo", "morel"}


def rows_of(dataset: str = DATASET, **wanted: str) -> list[dict]:
    """Rows of the CSV file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def text_of(row: dict) -> str:
    return number(float(row["mean"])) + (f" ± {number(float(row['std']))}" if row["std"] else "")


@pytest.fixture
def make_scores(params, monkeypatch):
    """Makes the scores of a grid whose data come from a given source."""

    def make(source="d4rl", datasets=(DATASET,), methods=("real",), algorithms=("td3bc",)) -> Scores:
        monkeypatch.setattr(test_report, "ALGORITHMS", list(algorithms))
        collected = {
            dataset: {
                "data": {"source": source, "score_mean": 40.0},
                "cells": [test_report.cell(dataset, m, a, 6.0) for m in methods for a in algorithms],
            }
            for dataset in datasets
        }
        grid = {"datasets": list(datasets), "methods": list(methods), "algorithms": list(algorithms)}
        return score(collected, params.model_copy(update=grid))

    return make


def table(scores: Scores) -> dict[str, list[dict[str, str]]]:
    """label of a row → its texts by column, for each data set that has the row."""
    rows = {}
    content = published.table(scores)
    for group in content.groups:
        for row in group.rows:
            texts = [cell.text for cell in row.cells]
            rows.setdefault(row.label, []).append(dict(zip(content.columns, texts, strict=True)))
    return rows


def column_of(scores: Scores, row: dict) -> str:
    """Mark of the column whose note names this row's source and protocol."""
    (mark,) = [
        note.split()[0]
        for note in published.notes(scores)
        if note.startswith("[") and note.split(" ", 1)[1] == f"{row['source']}: {row['protocol']}."
    ]
    return mark


def test_every_published_number_has_its_protocol_and_its_source():
    rows = published.read()
    assert len(rows) == len(FILE.read_text(encoding="utf-8").splitlines()) - 1 > 0
    for row in rows:
        assert row.protocol.strip(), row
        assert row.source.strip(), row
        assert math.isfinite(row.mean), row
        assert row.std is None or 0 <= row.std < math.inf, row
    cells = {(row.dataset, row.method, row.algorithm, row.column) for row in rows}
    assert len(cells) == len(rows)  # no two numbers for one cell


@pytest.mark.parametrize("source", ["local", "minari"])
def test_other_data_of_the_same_name_have_no_published_scores(make_scores, source):
    scores = make_scores(source)
    assert published.shown(scores) == []
    assert published.table(scores) is None
    assert published.shown(make_scores("d4rl"))


def test_each_protocol_has_its_own_column(make_scores):
    scores = make_scores()
    expected = rows_of(method="real", algorithm="td3bc")
    (cells,) = table(scores)["Real data × TD3+BC"]
    assert len({row["protocol"] for row in expected}) == len(expected) == 2
    assert [column_of(scores, row) for row in expected] == ["[1]", "[2]"]
    for row in expected:
        assert cells.pop(column_of(scores, row)) == text_of(row)
    assert cells.pop("measured").startswith(number(scores.cells[DATASET, "real", "td3bc"].mean))
    assert set(cells.values()) == {"–"}


def test_rows_are_the_grids_then_the_one_step_models_then_the_planners(make_scores):
    algorithms = ["iql", "bc10", "td3bc"]
    scores = make_scores(datasets=["walker2d-medium-v2", DATASET], methods=["dawm", "real"], algorithms=algorithms)
    groups = published.table(scores).groups
    assert [group.dataset for group in groups] == ["walker2d-medium-v2", DATASET]
    for group in groups:
        names = [row.label for row in group.rows]
        assert names[:3] == ["Real data × IQL", "Real data × 10% BC", "Real data × TD3+BC"]  # none of DAWM
        assert names[3:5] == [f"{ONE_STEP} × IQL", f"{ONE_STEP} × TD3+BC"]
        assert set(names[5:]) == {sentence(label(name)) for name in PLANNERS}
    (row,) = rows_of(method="real", algorithm="bc-10")
    assert table(scores)["Real data × 10% BC"][1][column_of(scores, row)] == text_of(row)


@pytest.mark.parametrize(("algorithm", "mean"), [("mopo", "62.8 ± 38.1"), ("mobile", "103.6 ± 1.0")])
def test_algorithms_with_a_model_stand_beside_their_published_scores(make_scores, algorithm, mean):
    scores = make_scores(algorithms=[algorithm])
    (cells,) = table(scores)[f"Real data × {sentence(label(algorithm))}"]
    (row,) = rows_of(method="real", algorithm=algorithm)
    assert cells[column_of(scores, row)] == mean
    assert cells["measured"] != "–"
    (other,) = rows_of(method="mopo")  # as a planner's paper has it: another protocol, so another column
    assert column_of(scores, other) != column_of(scores, row)


def test_planners_have_published_numbers_only(make_scores):
    scores = make_scores()
    rows = table(scores)
    for row in rows_of(algorithm=""):
        (cells,) = rows[sentence(label(row["method"]))]
        assert cells["measured"] == "–"
        assert cells[column_of(scores, row)] == text_of(row)


def test_the_one_step_ensemble_is_not_paired_with_dwms_single_network(make_scores):
    """DWM's comparison is one Gaussian network, the baseline `onestep` an ensemble: they share no row."""
    assert not rows_of(method="onestep")
    scores = make_scores(methods=["real", "onestep"])
    rows = table(scores)
    (row,) = rows_of(method="one-step-gaussian", algorithm="td3bc")
    (cells,) = rows[f"{ONE_STEP} × TD3+BC"]
    assert cells["measured"] == "–"
    assert cells[column_of(scores, row)] == text_of(row)
    assert not [name for name in rows if name.startswith(sentence(label("onestep")) + " ×")]
    assert len(published.table(scores).frame.query("method == 'one-step-gaussian' and source == 'measured'")) == 0


@pytest.mark.parametrize(
    ("method", "fact"),
    [("dwm", "here the futures are sampled once"), ("synther", "re-implementation by DWM's authors")],
)
def test_a_note_says_how_a_published_method_differs_from_the_measured_one(make_scores, method, fact):
    notes = published.notes(make_scores(methods=["real", method]))
    (note,) = [note for note in notes if note.startswith(f"{label(method)}: ")]
    assert fact in note
    assert not [note for note in published.notes(make_scores()) if note.startswith(f"{label(method)}: ")]


def test_a_data_set_without_published_scores_is_left_out(make_scores):
    assert not published.shown(make_scores(datasets=["antmaze-umaze-v2"]))
    scores = make_scores(datasets=["antmaze-umaze-v2", DATASET])
    assert [group.dataset for group in published.table(scores).groups] == [DATASET]


def test_notes_name_each_protocol_and_source(make_scores):
    scores = make_scores(methods=["real", "synther"])
    lines = markdown(published.table(scores)).splitlines()
    for row in rows_of(method="real", algorithm="td3bc") + rows_of(method="synther", algorithm="td3bc"):
        assert f"- {column_of(scores, row)} {row['source']}: {row['protocol']}." in lines
    for row in rows_of(algorithm=""):
        assert f"- {column_of(scores, row)} {row['source']}: {row['protocol']}." in lines
    headings = lines[0].strip("| ").split(" | ")[2:]
    assert headings == ["measured", *(f"[{k}]" for k in range(1, len(headings)))]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert any("not comparable" in line for line in lines)


@pytest.mark.slow
def test_only_a_run_on_d4rl_writes_the_table_and_its_section(tmp_path, monkeypatch):
    monkeypatch.setattr(test_report, "DATASETS", [DATASET, "hopper-medium-replay-v2"])
    test_report.write_results(tmp_path, monkeypatch)
    page, text = Path("reports/index.html"), Path("reports/tables/published.md")
    test_report.without_figures(monkeypatch)
    for source in ("d4rl", "minari"):  # the second run finds the files of the first
        params = yaml.safe_load(Path("params.yaml").read_text())
        Path("params.yaml").write_text(yaml.safe_dump({**params, "source": source}))
        for path in Path("results").glob("hopper*/*.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps({**content, "source": source} if "source" in content else content))
        test_report.run_collect(monkeypatch)
        report()
        assert text.exists() == ("<h2>Published scores</h2>" in page.read_text()) == (source == "d4rl")
        if source == "d4rl":
            for row in rows_of(method="real", algorithm="td3bc"):
                assert f">{text_of(row)}</span>" in page.read_text()
                assert f" {row['source']}: {row['protocol']}.</li>" in page.read_text()
                assert f" {text_of(row)} |" in text.read_text()

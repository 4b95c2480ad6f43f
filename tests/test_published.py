"""Published scores: the file is sound, each protocol keeps its own column, and only runs on D4RL's files show any."""

import csv
import json
import math
from pathlib import Path

import pytest
import yaml

from stages.report import published
from stages.report.__main__ import main as report
from stages.report.scores import Scores, score
from stages.report.table import markdown
from stages.report.words import label, number, sentence
from tests import test_report
from tests.conftest import ROOT

DATASET = "hopper-medium-v2"
FILE = ROOT / "stages/report/published_scores.csv"
PLANNERS = {"decision-diffuser", "diffuser", "tt", "dt", "mbop", "mopo", "morel"}


def rows_of(dataset: str = DATASET, **wanted: str) -> list[dict]:
    """Rows of the file itself, as the csv module reads them."""
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def text_of(row: dict) -> str:
    return number(float(row["mean"])) + (f" ± {number(float(row['std']))}" if row["std"] else "")


@pytest.fixture
def make_scores(params, monkeypatch):
    """Scores of a grid as if it had run on data of that source."""

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
    """Name of a row → what it holds by column, for each data set that has it."""
    found = {}
    whole = published.table(scores)
    for group in whole.groups:
        for row in group.rows:
            texts = [cell.text for cell in row.cells]
            found.setdefault(row.label, []).append(dict(zip(whole.columns, texts, strict=True)))
    return found


def column_of(scores: Scores, row: dict) -> str:
    """The mark whose note names this row's source and protocol."""
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
    places = {(row.dataset, row.method, row.algorithm, row.column) for row in rows}
    assert len(places) == len(rows)  # or one number would hide another


@pytest.mark.parametrize("source", ["local", "minari"])
def test_nothing_stands_beside_other_data_of_the_same_name(make_scores, source):
    scores = make_scores(source)
    assert published.shown(scores) == []
    assert published.table(scores) is None
    assert published.shown(make_scores("d4rl"))


def test_each_protocol_keeps_its_column(make_scores):
    scores = make_scores()
    expected = rows_of(method="real", algorithm="td3bc")
    (found,) = table(scores)["Real data × TD3+BC"]
    assert len({row["protocol"] for row in expected}) == len(expected) == 2
    assert [column_of(scores, row) for row in expected] == ["[1]", "[2]"]
    for row in expected:
        assert found.pop(column_of(scores, row)) == text_of(row)
    assert found.pop("measured").startswith(number(scores.cells[DATASET, "real", "td3bc"].mean))
    assert set(found.values()) == {"–"}


def test_rows_follow_the_grid_and_then_come_the_planners(make_scores):
    algorithms = ["iql", "bc10", "td3bc"]
    scores = make_scores(datasets=["walker2d-medium-v2", DATASET], methods=["dawm", "real"], algorithms=algorithms)
    groups = published.table(scores).groups
    assert [group.dataset for group in groups] == ["walker2d-medium-v2", DATASET]
    for group in groups:
        names = [row.label for row in group.rows]
        assert names[:3] == ["Real data × IQL", "Real data × 10% BC", "Real data × TD3+BC"]  # of DAWM, nothing
        assert set(names[3:]) == {sentence(label(name)) for name in PLANNERS}
    (row,) = rows_of(method="real", algorithm="bc-10")
    assert table(scores)["Real data × 10% BC"][1][column_of(scores, row)] == text_of(row)


def test_planners_have_published_numbers_alone(make_scores):
    scores = make_scores()
    found = table(scores)
    for row in rows_of(algorithm=""):
        (cells,) = found[sentence(label(row["method"]))]
        assert cells["measured"] == "–"
        assert cells[column_of(scores, row)] == text_of(row)


def test_a_data_set_without_published_scores_is_left_out(make_scores):
    assert not published.shown(make_scores(datasets=["antmaze-umaze-v2"]))
    scores = make_scores(datasets=["antmaze-umaze-v2", DATASET])
    assert [group.dataset for group in published.table(scores).groups] == [DATASET]


def test_notes_name_every_protocol_and_source(make_scores):
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


def test_only_a_run_on_d4rl_writes_the_table_and_its_section(tmp_path, monkeypatch):
    monkeypatch.setattr(test_report, "DATASETS", [DATASET, "hopper-medium-replay-v2"])
    test_report.write_results(tmp_path, monkeypatch)
    page, text = Path("reports/index.html"), Path("reports/tables/published.md")
    for source in ("d4rl", "minari"):  # the second finds what the first left
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

"""The tables: marks, aggregates and improvements by hand, LaTeX that compiles, ablations, and a large grid."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.common.params import load
from stages.report import collect
from stages.report.statistics.grid import READS, read_collected
from stages.report.statistics.scores import Scores, score
from stages.report.tables.ablations import Ablation, read, save
from stages.report.tables.aggregates import aggregate_table, aggregates, improvement_table, improvements
from stages.report.tables.notes import source
from stages.report.tables.scores import score_table
from stages.report.tables.table import Cell, Group, Row, Table, latex, markdown, write
from tests import test_report
from tests.conftest import report
from tests.test_report import (
    ALGORITHMS,
    DATASETS,
    SEEDS,
    cell,
    fidelity,
    run_collect,
    run_tables,
    without_figures,
    write_results,
)

ROWS = [
    Row("one_a", [Cell("1.0", "± 2", "[−1, 3]", "best"), Cell("2")]),
    Row("b & c", [Cell("0"), Cell("3", mark="tied")]),
]
TABLE = Table("name", "A title", ["x", "50% y"], [Group("first", ROWS)], ["A note."], pd.DataFrame({"x": [1.25]}))


def compiled(folder: Path, names: list[str]) -> str:
    """LaTeX's log of a bare article that reads these files."""
    inputs = "\n".join(rf"\input{{{name}}}\clearpage" for name in names)
    body = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}"
    (folder / "article.tex").write_text(body)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "article.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_one_table_in_markdown_latex_and_csv(tmp_path):
    lines = markdown(TABLE).splitlines()
    assert lines[0] == "| data set | method | x | 50% y |"
    assert lines[2:4] == ["| first | one_a | **1.0** ± 2 [−1, 3] | 2 |", "| first | b & c | 0 | *3* |"]
    tex = latex(TABLE)
    assert r"\multicolumn{3}{l}{\textit{first}} \\" in tex
    assert r"one\_a & \textbf{1.0} $\pm$ 2 & 2 \\" in tex
    assert r" & {\scriptsize {[}$-$1, 3]} &  \\" in tex
    assert r"b \& c & 0 & \underline{3} \\" in tex
    write(TABLE, tmp_path)
    assert (tmp_path / "name.csv").read_text() == "x\n1.25\n"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here: install texlive-latex-recommended")
def test_every_table_compiles_in_a_bare_article(tmp_path, monkeypatch):
    write_results(tmp_path, monkeypatch)
    values = {
        "value": ["1", "5"],
        "dataset": "hopper-medium",
        "method": "dawm",
        "algorithm": "td3bc",
        "score": [1.0, 2.0],
    }
    blank = dict.fromkeys(("low", "high", "error_median", "error_p90", "error_last_step", "action_spread", "steering"))
    frame = pd.DataFrame({**values, **blank, "seconds_making": 3.0, "seconds_policy": 4.0})
    save(Ablation("sampler.steps_50%", ["From {here} & there."], frame))
    run_collect(monkeypatch)
    without_figures(monkeypatch)
    run_tables(monkeypatch)
    names = sorted(path.name for path in (tmp_path / "reports/tables").glob("*.tex"))
    assert len(names) == 8
    log = compiled(tmp_path / "reports/tables", names)
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0) < 60  # within the paper's margin


def scored(folder: Path, monkeypatch, gain: float = 6.0) -> Scores:
    """Scores of a whole grid."""
    write_results(folder, monkeypatch, gain)
    run_collect(monkeypatch)
    params = load(READS)
    return score(read_collected(params), params)


def test_best_and_tied_are_marked(tmp_path, monkeypatch):
    scores = scored(tmp_path, monkeypatch, gain=0.5)  # far below the seeds' spread, except for behaviour cloning
    table = score_table(scores)
    frame = table.frame[table.frame["dataset"] == "hopper-medium"]
    marks = frame.pivot(index="method", columns="algorithm", values="mark")
    assert marks.loc["dawm"].to_dict() == {"td3bc": "best", "iql": "best", "bc": "best"}
    assert marks.loc["real"].to_dict() == {"td3bc": "tied", "iql": "tied", "bc": ""}
    assert "*32.1* ± 1.6" in markdown(table)


def test_aggregates_and_improvements_by_hand(tmp_path, monkeypatch):
    scores = scored(tmp_path, monkeypatch, gain=1.0)
    metrics = aggregates(scores).query("algorithm == 'td3bc' and method == 'dawm'")
    points = metrics.set_index("metric")["point"]
    assert points.to_dict() == pytest.approx({"IQM": 33.1, "median": 33.1, "mean": 33.1, "optimality gap": 66.9})
    frame = improvements(scores)
    row = frame.query("algorithm == 'td3bc' and method == 'dawm'")
    # each seed of DAWM is one point above that of real data: of 25 pairs 15 are above and 4 tie
    assert row["point"].tolist() == pytest.approx([(15 + 4 / 2) / 25])
    assert (row["low"] < row["point"]).all()
    assert "| Real data | 0.68 [" in markdown(improvement_table(scores, frame))


def test_too_few_seeds_are_noted_and_no_interval_is_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(test_report, "SEEDS", 3)
    monkeypatch.setattr(test_report, "DATASETS", DATASETS[:1])  # with several, the average would have an interval
    scores = scored(tmp_path, monkeypatch)
    table, gathered = score_table(scores), aggregate_table(scores, aggregates(scores))
    assert "3 seeds are too few for an interval on one data set; at least 5 are needed" in markdown(table)
    assert "[" not in markdown(table)
    assert table.frame[["low", "high"]].isna().all().all()
    assert "no interval |" in markdown(gathered)
    assert "- No interval: too few seeds or generators." in markdown(gathered)
    assert "tied" not in set(table.frame["mark"])


def test_an_ablation_is_read_back_as_it_was_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"value": ["0.10", "a b"], "score": [1.5, np.nan]})
    save(Ablation("idm.hidden", ["A note."], frame))
    (ablation,) = read()
    assert (ablation.param, ablation.about, ablation.name) == ("idm.hidden", ["A note."], "idm.hidden")
    pd.testing.assert_frame_equal(ablation.frame, frame)


@pytest.mark.slow
def test_a_grid_of_nine_data_sets_six_methods_and_two_algorithms(tmp_path, monkeypatch):
    tasks, methods = ("hopper", "walker2d", "halfcheetah"), ["real", "dawm", "dwm", "joint", "onestep", "synther"]
    datasets, algorithms = (
        [f"{task}-{tier}" for task in tasks for tier in ("medium", "medium-replay", "expert")],
        ALGORITHMS[:2],
    )
    write_results(tmp_path, monkeypatch)
    params = yaml.safe_load(Path("params.yaml").read_text())
    params.update(datasets=datasets, methods=methods, algorithms=algorithms)
    params["report"] = {"resamples": 1000, "confidence": 0.95}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    names = ("diffusion", "idm", "augment", "steering", "data")
    shared = {name: Path(f"results/hopper-medium/{name}.json").read_text() for name in names}
    rng = np.random.default_rng(0)
    for dataset in datasets:
        folder = Path("results") / dataset
        folder.mkdir(parents=True, exist_ok=True)
        Path(f"reports/data/{dataset}.png").write_bytes(b"x" * 120_000)
        for name, text in shared.items():
            (folder / f"{name}.json").write_text(text)
        for method in methods:
            (folder / f"fidelity-{method}.json").write_text(json.dumps(fidelity(method, measured=True)))
            for algorithm in algorithms:
                content = cell(dataset, method, algorithm, rng.normal())
                content["curve"] = [{**content["curve"][0], "step": step} for step in range(10, 100, 5)]
                (folder / f"{method}-{algorithm}.json").write_text(json.dumps(content))
    without_figures(monkeypatch)
    for dataset in datasets:
        monkeypatch.setattr(sys, "argv", ["collect", "--dataset", dataset])
        collect.main()
    report()
    assert len(pd.read_csv("reports/tables/scores.csv")) == 10 * 6 * 2
    assert len(pd.read_csv("results/scores.csv")) == 9 * 6 * 2 * SEEDS * test_report.EPISODES
    assert list(json.loads(Path("results/summary.json").read_text())) == methods
    page = Path("reports/index.html").read_text()
    assert all(f"{dataset} · IQL" in page for dataset in datasets)
    if shutil.which("pdflatex"):  # no page of the long tables overflows
        assert "Float too large" not in compiled(tmp_path / "reports/tables", ["scores.tex", "fidelity.tex"])


def table_with_generators(folder: Path, count: int, monkeypatch) -> str:
    """The score table in Markdown where DAWM's policies learned from `count` generators."""
    write_results(folder, monkeypatch)
    for path in Path("results").glob("*/dawm-*.json"):
        content = json.loads(path.read_text())
        content["seeds"] = [{**seed, "generator": seed["seed"] % count} for seed in content["seeds"]]
        path.write_text(json.dumps(content))
    run_collect(monkeypatch)
    without_figures(monkeypatch)
    run_tables(monkeypatch)
    return Path("reports/tables/scores.md").read_text()


def test_the_notes_say_what_intervals_cover_if_there_is_a_single_generator(tmp_path, monkeypatch):
    covered = "the interval covers the randomness of policies and episode starts, not that of the generator."
    table = table_with_generators(tmp_path, 1, monkeypatch)
    assert f"DAWM: all policies learned from one generator, so {covered}" in table


def test_methods_with_and_without_intervals_in_one_report(tmp_path, monkeypatch):
    table = table_with_generators(tmp_path, 2, monkeypatch)
    assert "DAWM: 2 generators are too few for an interval on one data set; at least 5 are needed" in table
    assert re.search(r"\| hopper-medium \| Real data \| [\d.]+ ± 1.6 \[", table)
    assert re.search(r"\| hopper-medium \| DAWM \| \*\*[\d.]+\*\* ± 1.6 \|", table)


def test_the_score_table_names_local_data_that_are_not_as_recorded():
    def sentences(**states) -> str:
        facts = {name: {"source": "local", **state} for name, state in states.items()}
        return source(SimpleNamespace(collected={name: {"data": each} for name, each in facts.items()}))

    plain = "Locally collected data, not D4RL's files."
    assert sentences(a={"as_recorded": True}, b={"as_recorded": None}) == plain
    other = sentences(a={"as_recorded": True}, b={"as_recorded": False}, c={})
    assert other.startswith(f"{plain} b: this machine collected other data than recorded")
    assert "c: collected by an earlier version" in other
    assert source(SimpleNamespace(collected={"x": {"data": {"source": "d4rl"}}})) == "D4RL's files."

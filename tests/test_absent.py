"""Cells without scores: algorithms that learn from real data alone, with synthetic ones, and what diverged."""

import json
import re
import sys
from dataclasses import replace
from importlib import import_module
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from ablations.finished import Finished, Folder
from stages.check.algorithms import real_only
from stages.common.files import write_json
from stages.common.params import load
from stages.common.timing import timing_path
from stages.policy import __main__ as policy
from stages.policy.__main__ import why_not
from stages.policy.policies import absent, save
from stages.report.figures import ablations
from stages.report.page import panels
from stages.report.statistics.grid import READS
from stages.report.statistics.scores import AVERAGE
from stages.report.tables import notes
from stages.report.tables.contents import Contents, contents
from stages.report.tables.headline import headline
from stages.tasks.tasks import gym_mujoco
from tests import test_report
from tests.conftest import report
from tests.test_report import DATASETS, SEEDS, outputs, run_collect, run_tables, without_figures, write_results

pytestmark = pytest.mark.slow


class Experimented(Folder):
    """A run whose scores are read as those of an experiment."""

    scores = Finished.scores


REASON = "the algorithm learns from whole episodes, which synthetic transitions do not form"
WHY = {"shown": "n/a", "reason": REASON}
IMAGINES = "the algorithm imagines its own transitions, in a model of the real data"
NOTE = f"n/a: not applicable. RSP with DAWM: {REASON}."


def test_algorithms_of_whole_episodes_or_own_transitions_take_real_data_alone():
    modules = {name: import_module(f"stages.algorithms.{name}") for name in ("td3bc", "rsp", "mopo", "mobile")}
    reasons = {
        (method, name): why_not(method, module) for method in ("real", "dawm") for name, module in modules.items()
    }
    assert {pair: reason for pair, reason in reasons.items() if reason} == {
        ("dawm", "rsp"): REASON,
        ("dawm", "mopo"): IMAGINES,
        ("dawm", "mobile"): IMAGINES,
    }


@pytest.mark.parametrize("algorithm", ["td3bc", "rsp", "mopo"])
def test_the_check_reads_the_reason_without_importing_the_algorithm(algorithm):
    assert real_only(algorithm) == getattr(import_module(f"stages.algorithms.{algorithm}"), "REAL_ONLY", None)


def test_the_policy_stage_trains_nothing_and_says_so(tmp_path, monkeypatch, capsys):
    """There is no data to train on, so any work would fail."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("seeds: 2\nterminals: rule\ndevice: cpu\nthreads: 1\n")
    monkeypatch.setattr(sys, "argv", ["policy", "--dataset", "d", "--method", "dawm", "--algorithm", "rsp"])
    policy.main()
    assert capsys.readouterr().err == f"policy d dawm rsp: not applicable: {REASON}\n"
    assert absent("models/d/dawm-rsp.safetensors") == WHY
    save({}, "rsp", SimpleNamespace(), "models/d/real-rsp.safetensors")
    assert absent("models/d/real-rsp.safetensors") is None


def write_grid(folder: Path, monkeypatch, methods=("real", "dawm"), algorithms=("td3bc", "rsp")):
    """Results of such a grid, gathered as for the report."""
    monkeypatch.setattr(test_report, "METHODS", list(methods))
    monkeypatch.setattr(test_report, "ALGORITHMS", list(algorithms))
    write_results(folder, monkeypatch)
    for dataset in DATASETS:
        for method in methods:
            if method != "real":
                names = {"dataset": dataset, "method": method, "algorithm": "rsp"}
                Path(f"results/{dataset}/{method}-rsp.json").write_text(json.dumps({**names, "absent": WHY}))
    run_collect(monkeypatch)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A report with figures, times included."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        write_grid(folder, patch)
        for digest in ("aa", "bb", "cc"):
            write_json(timing_path(digest), {"output": digest, "seconds": 3.0, "machine": "a desk"})
        report()
    return folder


def rows(folder: Path, name: str) -> list[str]:
    return (folder / f"reports/tables/{name}.md").read_text().partition("\n\n")[0].splitlines()[2:]


@pytest.mark.parametrize("name", ["scores", "differences", "gains", "improvement", "acting", "aggregates"])
def test_tables_show_n_a_and_say_why(built, name):
    of_dawm = {"aggregates": "| RSP | DAWM", "improvement": ""}.get(name, "DAWM")
    shown = [row for row in rows(built, name) if of_dawm in row]
    assert shown
    assert [row for row in shown if not row.endswith(" n/a |")] == []
    others = [row for row in rows(built, name) if "Real data" in row or "Behaviour" in row]
    assert not [row for row in others if "n/a" in row and name != "improvement"]
    assert f"- {NOTE}" in (built / f"reports/tables/{name}.md").read_text().splitlines()


def test_nothing_in_the_report_is_nan_and_all_figures_are_drawn(built):
    files = {name: content.decode("utf-8", "ignore") for name, content in outputs(built).items()}
    text = {name: content.partition('<script id="library">')[0] for name, content in files.items()}
    assert not [
        name for name, content in text.items() if not name.endswith(".png") and re.search(r"\bnan\b|NaN", content)
    ]
    drawn = {Path(name).stem for name in files if name.startswith("reports/figures")}
    assert drawn >= {"scores", "learning_curves", "profiles", "improvement", "costs", "gains"}
    page = text["reports/index.html"]
    assert page.count(">n/a<") + page.count("\nn/a\n") >= 6
    scores = pd.read_csv(built / "results/scores.csv")
    assert set(map(tuple, scores[["method", "algorithm"]].drop_duplicates().to_numpy())) == {
        ("real", "td3bc"),
        ("real", "rsp"),
        ("dawm", "td3bc"),
    }
    assert json.loads((built / "results/summary.json").read_text()) == {
        "real": {"td3bc": 32.1, "rsp": 37.1},
        "dawm": {"td3bc": 38.1},
    }


def read() -> Contents:
    """The report's content for the grid in the current folder."""
    return contents(load(READS))


def test_estimates_compare_the_same_cells(built, monkeypatch):
    monkeypatch.chdir(built)
    content = read()
    scores, frames = content.scores, content.frames
    assert {names[1:] for names in scores.cells} == {("real", "td3bc"), ("real", "rsp"), ("dawm", "td3bc")}
    assert scores.cells[AVERAGE, "real", "rsp"].mean == pytest.approx(37.1)
    assert {names[1:] for names in scores.differences} == {("dawm", "td3bc")}
    assert set(frames["improvements"]["algorithm"]) == {"td3bc"}
    title, line = headline(scores)  # RSP's scores, which DAWM lacks, do not count for real data either
    assert title.startswith("DAWM scores 6.0 points more than real data alone")
    assert line.startswith("Averaged over TD3+BC on 2 data sets: DAWM 38.1")
    marks = content.tables["scores"].frame.query("algorithm == 'rsp'")["mark"]
    assert set(marks) == {""}  # the best of one is no best


def test_the_page_leaves_the_cells_out_of_its_charts(built, monkeypatch):
    monkeypatch.chdir(built)
    content = read()
    scores, frames = content.scores, content.frames
    shown = panels.scores(scores)
    assert len(shown) == len(DATASETS)
    for panel in shown:
        assert {(row["method"], row["algorithm"]) for row in panel.rows} == {
            ("real data", "TD3+BC"),
            ("real data", "RSP"),
            ("DAWM", "TD3+BC"),
        }
        assert "DAWM with RSP" not in panel.alt
    alts = [panel.alt for panel in panels.curves(scores, frames["curves"])]
    assert f"Learning curves of real data with RSP on {DATASETS[0]}." in alts
    assert [panel.algorithm for panel in panels.improvements(scores, frames["improvements"])] == ["td3bc"]
    assert [panel.algorithm for panel in panels.costs(scores)] == ["td3bc"]
    assert {panel.algorithm for panel in panels.gains(scores, frames["gains"])} == {"td3bc"}
    assert {panel.algorithm for panel in panels.profiles(scores, frames["profiles"])} == {"td3bc", "rsp"}


def test_a_grid_of_such_algorithms_alone_reports_real_data(tmp_path, monkeypatch):
    write_grid(tmp_path, monkeypatch, algorithms=["rsp"])
    report()
    assert "The grid has scores of real data only" in Path("reports/index.html").read_text()
    assert "| Average | DAWM | n/a |" in rows(tmp_path, "scores")
    assert not Path("reports/tables/differences.md").exists()


def test_an_algorithm_without_any_cell_has_a_column_of_n_a(tmp_path, monkeypatch):
    write_grid(tmp_path, monkeypatch, methods=["dawm"])
    report()
    assert [row for row in rows(tmp_path, "scores") if "DAWM" in row and not row.endswith("| n/a |")] == []
    assert "DAWM scores 38.1" in Path("reports/index.html").read_text()


def test_sentences_join_methods_and_algorithms(built, monkeypatch):
    monkeypatch.chdir(built)
    scores = read().scores
    cells = [
        {"dataset": "d", "method": method, "algorithm": algorithm, "absent": WHY}
        for method in ("dawm", "corrected")
        for algorithm in ("rsp", "bc")
    ]
    scores = replace(scores, collected={"d": {"absent": cells}})
    assert notes.absent(scores) == [f"n/a: not applicable. RSP and BC with DAWM and corrected DAWM: {REASON}."]
    grown = [{**cell, "absent": {"shown": "diverged", "reason": f"of {cell['algorithm']}"}} for cell in cells[:2]]
    scores = replace(scores, collected={"d": {"absent": cells[2:] + grown}})
    assert notes.absent(scores) == [
        f"n/a: not applicable. RSP and BC with corrected DAWM: {REASON}.",
        f"{notes.MEANINGS['diverged']}. RSP with DAWM: of rsp. BC with DAWM: of bc.",
    ]


def test_an_ablation_takes_the_cells_that_have_scores(built, monkeypatch):
    pd.testing.assert_frame_equal(Folder("1", built).scores, Experimented("1", built).scores)
    both = [("real", "rsp"), ("real", "td3bc"), ("dawm", "td3bc")]
    frame = pd.DataFrame(both, columns=["method", "algorithm"]).assign(dataset="d", value="1", score=1.0, low=0.5)
    figures = []
    monkeypatch.setattr(ablations, "save", lambda figure, *_: figures.append(figure))
    ablations.draw(frame.assign(high=1.5, error_median=0.1, error_p90=0.2, seconds_making=3.0), "x", Path())
    _, fidelity, _ = figures[0].axes
    assert len(fidelity.lines) == 2  # DAWM's median and 90th percentile, although it lacks the first algorithm


def test_a_seed_more_is_still_noticed_behind_such_a_cell(tmp_path, monkeypatch):
    write_grid(tmp_path, monkeypatch, algorithms=["rsp", "td3bc"])
    path = Path(f"results/{DATASETS[0]}/dawm-td3bc.json")
    cell = json.loads(path.read_text())
    path.write_text(json.dumps({**cell, "seeds": cell["seeds"][:-1]}))
    with pytest.raises(SystemExit, match=f"dawm × td3bc: .* has {SEEDS - 1} seeds, real-rsp.json has {SEEDS};"):
        run_collect(monkeypatch)


def test_collected_cells_of_another_grid_are_refused(tmp_path, monkeypatch):
    write_grid(tmp_path, monkeypatch)
    without_figures(monkeypatch)
    run_tables(monkeypatch)
    test_report.change_params(algorithms=["td3bc"])
    with pytest.raises(SystemExit, match=r"the grid in .* is not that of params\.yaml"):
        run_tables(monkeypatch)


DIVERGED = {"shown": "diverged", "reason": "q of seed 1 is not finite after 300 updates"}


@pytest.fixture(scope="module")
def partly_diverged(tmp_path_factory) -> Path:
    """A report of three methods, of which DAWM diverged with TD3+BC on the first of two data sets, and real with BC."""
    folder = tmp_path_factory.mktemp("diverged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(test_report, "METHODS", ["real", "dawm", "synther"])
        patch.setattr(test_report, "ALGORITHMS", ["td3bc", "iql", "bc"])
        write_results(folder, patch)
        for method, algorithm in (("dawm", "td3bc"), ("real", "bc")):
            names = {"dataset": DATASETS[0], "method": method, "algorithm": algorithm}
            write_json(Path(f"results/{DATASETS[0]}/{method}-{algorithm}.json"), {**names, "absent": DIVERGED})
        run_collect(patch)
        for digest in ("aa", "bb", "cc"):
            write_json(timing_path(digest), {"output": digest, "seconds": 3.0, "machine": "a desk"})
        report()
    return folder


def test_a_cell_that_diverged_has_no_score_and_no_average_and_the_others_stay(partly_diverged):
    table = {tuple(row.split(" | ")[:2]): row.split(" | ")[2:] for row in rows(partly_diverged, "scores")}
    shown = {names: ["diverged" in cell for cell in cells] for names, cells in table.items()}
    for dataset, missing in ((DATASETS[0], True), (DATASETS[1], False), ("Average", True)):
        assert shown[f"| {dataset}", "DAWM"] == [missing, False, False]
        assert shown[f"| {dataset}", "Real data"] == [False, False, missing]
        assert shown[f"| {dataset}", "SynthER"] == [False] * 3
    text = (partly_diverged / "reports/tables/scores.md").read_text()
    assert f"TD3+BC with DAWM on {DATASETS[0]}: q of seed 1 is not finite after 300 updates." in text
    differences = {tuple(row.split(" | ")[:2]): row for row in rows(partly_diverged, "differences")}
    assert differences[f"| {DATASETS[0]}", "SynthER"].count("diverged") == 1  # there is nothing to compare BC with
    assert differences[f"| {DATASETS[1]}", "SynthER"].count("diverged") == 0


def test_averages_and_comparisons_take_the_cells_that_all_data_sets_have(partly_diverged, monkeypatch):
    monkeypatch.chdir(partly_diverged)
    content = read()
    scores, frames = content.scores, content.frames
    assert (AVERAGE, "dawm", "td3bc") not in scores.cells
    assert (DATASETS[1], "dawm", "td3bc") in scores.differences
    assert scores.methods_with("td3bc") == ["real", "synther"]
    assert scores.methods_with("td3bc", DATASETS[1]) == ["real", "dawm", "synther"]
    assert scores.algorithms_with("dawm", "real") == ["iql"]
    assert headline(scores)[1].startswith("Averaged over IQL on 2 data sets: DAWM")
    pairs = frames["improvements"][["algorithm", "method", "over"]].drop_duplicates()
    assert set(map(tuple, pairs.to_numpy())) == {
        *(("td3bc", *pair) for pair in (("real", "synther"), ("synther", "real"))),
        *(("iql", *pair) for pair in permutations(("real", "dawm", "synther"), 2)),
        *(("bc", *pair) for pair in (("dawm", "synther"), ("synther", "dawm"))),
    }
    summary = json.loads(Path("results/summary.json").read_text())
    assert {method: list(cells) for method, cells in summary.items()} == {
        **{"real": ["td3bc", "iql"], "dawm": ["iql", "bc"]},
        "synther": ["td3bc", "iql", "bc"],
    }


def test_the_page_and_the_figures_of_such_a_grid_are_whole(partly_diverged):
    files = {name: content.decode("utf-8", "ignore") for name, content in outputs(partly_diverged).items()}
    text = {name: content.partition('<script id="library">')[0] for name, content in files.items()}
    assert not [
        name for name, content in text.items() if not name.endswith(".png") and re.search(r"\bnan\b|NaN", content)
    ]
    drawn = {Path(name).stem for name in files if name.startswith("reports/figures")}
    assert drawn >= {"scores", "learning_curves", "profiles", "improvement", "costs", "gains"}
    assert text["reports/index.html"].count("diverged") > 4


def test_the_policy_stage_keeps_why_a_policy_diverged(tmp_path, monkeypatch, capsys, tiny_params, collected_hopper):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["policy", "--dataset", "d", "--method", "real", "--algorithm", "td3bc"])
    Path("params.yaml").write_text(yaml.safe_dump({name: tiny_params[name] for name in policy.READS}))
    collected_hopper.save("data/d/real.npz")
    write_json(Path("data/d/task.json"), vars(gym_mujoco("hopper")))
    section = {**tiny_params["policy"], **tiny_params["td3bc"], "learning_rate": 100.0, "tau": 1.0, "steps": 1000}
    write_json(Path("data/settings/d/td3bc.json"), section)
    policy.main()
    why = absent("models/d/real-td3bc.safetensors")
    assert why["shown"] == "diverged"
    assert re.fullmatch(r"\w+ of seed \d is .* after [\d,]+ updates", why["reason"])
    assert f"policy d real td3bc: diverged: {why['reason']}; losses by seed: " in capsys.readouterr().err

"""Studies: what is missing is run once and in order, and what is there is drawn without training."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stages.common.params import read
from studies import __main__ as command
from studies.draw import draw
from studies.run import missing, needed, run
from tests import test_report
from tests.test_report import ALGORITHMS, DATASETS, write_results

STUDY, METHODS = Path("studies/small"), ["real", "dawm", "synther"]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project whose results are whole and whose study is empty."""
    monkeypatch.setattr(test_report, "METHODS", METHODS)
    write_results(tmp_path, monkeypatch)
    STUDY.mkdir(parents=True)
    (STUDY / "params.yaml").write_text(Path("params.yaml").read_text())
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    return tmp_path


@pytest.fixture
def dvc(monkeypatch) -> list[list[str]]:
    """The targets of each call of `dvc repro`, which does nothing: the results are there."""
    calls, others = [], subprocess.run

    def called(words, **options):
        if words[:2] != ["dvc", "repro"]:
            return others(words, **options)
        calls.append(words[2:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", called)
    return calls


def test_each_cell_is_run_once_in_the_order_of_the_grid(project, dvc):
    params = read()
    run(STUDY, params, DATASETS, METHODS)
    order = [(dataset, method) for dataset in DATASETS for method in METHODS]
    assert [targets[0].removeprefix("evaluate@").removesuffix(f"-{ALGORITHMS[0]}") for targets in dvc] == [
        f"{dataset}-{method}" for dataset, method in order
    ]
    assert dvc[1] == [
        *(f"evaluate@{DATASETS[0]}-dawm-{name}" for name in ALGORITHMS),
        f"fidelity@{DATASETS[0]}-dawm",
        *(f"{phase}@{DATASETS[0]}" for phase in ("diffusion", "idm", "augment", "steering")),
    ]
    dvc.clear()
    run(STUDY, params, DATASETS, METHODS)
    assert dvc == []


def test_it_is_said_beforehand_how_long_it_takes(project, dvc, capsys, monkeypatch):
    monkeypatch.setattr("studies.cost.UPDATES", {name: 10.0 for name in ALGORITHMS})
    run(STUDY, read(), DATASETS, METHODS)
    count = len(DATASETS) * len(METHODS) * len(ALGORITHMS)
    seconds = count * (100 * 5 / 5 / 10 + 7) + len(DATASETS) * (130 + 75) * read()["generators"]
    assert f"small: {count} cells are missing, about {seconds / 3600:.1f} h on two cores" in capsys.readouterr().err


def test_a_study_goes_on_from_what_is_in_it(project, dvc):
    params = read()
    run(STUDY, params, DATASETS, METHODS)
    dvc.clear()
    (STUDY / f"results/{DATASETS[1]}/dawm-{ALGORITHMS[-1]}.json").unlink()
    run(STUDY, params, DATASETS, METHODS)
    assert dvc == [[f"evaluate@{DATASETS[1]}-dawm-{ALGORITHMS[-1]}"]]


def test_a_failed_stage_ends_the_run_and_keeps_what_was_there_before(project, dvc, monkeypatch):
    done, fake = [], subprocess.run

    def fails(words, **options):
        done.append(words)
        return SimpleNamespace(returncode=3) if len(done) == 2 else fake(words)

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(SystemExit, match=f"small: {DATASETS[0]} × dawm failed with 3"):
        run(STUDY, read(), DATASETS, METHODS)
    assert missing(STUDY, read(), DATASETS[0], "real") == {}
    assert missing(STUDY, read(), DATASETS[0], "dawm") == {
        name: stage for name, stage in needed(read(), DATASETS[0], "dawm").items() if name != "data.json"
    }


def test_other_parameters_are_refused(project, dvc):
    changed = {**read(), "seeds": 77}
    Path("params.yaml").write_text(yaml.safe_dump(changed))
    with pytest.raises(SystemExit, match=r"is not the study's; .* cp studies/small/params.yaml \."):
        run(STUDY, read(STUDY / "params.yaml"), DATASETS, METHODS)
    assert dvc == []


def test_a_machine_may_run_a_part(project, dvc, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["studies", "small", "--run", "--datasets", DATASETS[1], "--methods", "real"])
    monkeypatch.setattr(command, "draw", lambda *_: None)
    command.main()
    assert [targets[0] for targets in dvc] == [f"evaluate@{DATASETS[1]}-real-{ALGORITHMS[0]}"]
    assert [path.name for path in sorted((STUDY / "results").iterdir())] == [DATASETS[1]]
    monkeypatch.setattr(sys, "argv", ["studies", "small", "--run", "--methods", "none"])
    with pytest.raises(SystemExit):
        command.main()


def test_on_ray_all_that_is_missing_runs_together(project, monkeypatch):
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda words, **_: calls.append(words) or SimpleNamespace(returncode=0))
    run(STUDY, read(), DATASETS, ["real"], ["--jobs", "4"])
    run(STUDY, read(), DATASETS, ["real"], ["--jobs", "4"])
    targets = [stage for name in DATASETS for stage in needed(read(), name, "real").values()]
    assert calls == [[sys.executable, "-m", "cluster", *targets, "--jobs", "4"]]
    assert not any(missing(STUDY, read(), name, "real") for name in DATASETS)


def test_a_study_is_drawn_from_its_folder_alone_and_says_what_is_missing(project, dvc, capsys):
    params, elsewhere = read(), project / "elsewhere"
    run(STUDY, params, DATASETS, METHODS)
    (project / "studies").rename(elsewhere)
    results, reports = elsewhere / "small/results", elsewhere / "small/reports"
    (results / DATASETS[1] / f"real-{ALGORITHMS[0]}.json").unlink()
    draw(elsewhere / "small", {**params, "methods": [*METHODS, "joint"]})
    assert f"not run yet: {DATASETS[1]}, joint" in capsys.readouterr().err
    table = (reports / "tables/scores.md").read_text()
    assert f"| {DATASETS[0]} | DAWM |" in table
    assert DATASETS[1] not in table
    assert (reports / "figures/gains.png").exists()
    assert "points more than real data alone" in (reports / "index.html").read_text()
    (results / DATASETS[0] / f"dawm-{ALGORITHMS[0]}.json").unlink()
    with pytest.raises(SystemExit, match="nothing to draw yet"):
        draw(elsewhere / "small", params)


def test_methods_that_a_data_set_lacks_are_named(project, dvc):
    params = read()
    run(STUDY, params, DATASETS, METHODS)
    for name in (f"synther-{ALGORITHMS[-1]}", "fidelity-synther"):
        (STUDY / f"results/{DATASETS[1]}/{name}.json").unlink()
    draw(STUDY, params)
    table = (STUDY / "reports/tables/scores.md").read_text()
    assert f"| {DATASETS[1]} | SynthER | {' | '.join(['not run'] * len(ALGORITHMS))} |" in table
    assert f"SynthER on {DATASETS[1]}: the study is not complete." in table
    assert "not run" in (STUDY / "reports/index.html").read_text()


def test_the_command_names_the_studies_that_are_there(project, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["studies", "none"])
    with pytest.raises(SystemExit):
        command.main()
    assert "small" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(Path("studies").glob("*/params.yaml")), ids=lambda path: path.parent.name)
def test_the_project_s_studies_hold_results_of_their_grids(path):
    params, folder = read(path), path.parent
    for file in folder.glob("results/*/*-*.json"):
        content = json.loads(file.read_text())
        if "algorithm" in content:
            assert (content["dataset"], content["method"], content["algorithm"]) == (
                file.parent.name,
                *file.stem.rsplit("-", 1),
            )
            assert content["dataset"] in params["datasets"]
            assert "absent" in content or len(content["seeds"]) == params["seeds"]

"""Studies: what is missing is run once and in order, and what is there is drawn without training."""

import json
import re
import subprocess
import sys
from importlib import import_module
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from stages.common.params import read
from stages.common.timing import digest
from studies import __main__ as command
from studies.cost import EVALUATION, MAKING, SLOW, UPDATES, hours
from studies.draw import draw
from studies.run import missing, needed, run
from tests import test_report
from tests.conftest import ROOT
from tests.test_report import ALGORITHMS, DATASETS, write_results

STUDY, METHODS = Path("studies/small"), ["real", "dawm", "synther"]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project whose results are whole, and recorded in its lock file, and whose study is empty."""
    monkeypatch.setattr(test_report, "METHODS", METHODS)
    write_results(tmp_path, monkeypatch)
    STUDY.mkdir(parents=True)
    (STUDY / "params.yaml").write_text(Path("params.yaml").read_text())
    stages = {}
    for dataset, method in product(DATASETS, METHODS):
        for name, stage in needed(read(), dataset, method).items():
            output = {"path": f"results/{dataset}/{name}", "md5": digest(f"results/{dataset}/{name}")}
            stages[stage.replace("card@", "data@")] = {"cmd": "x", "outs": [output]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
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


def test_hours_grow_with_seeds_updates_and_generators():
    """Speeds are those of five seeds; none was measured for RSP."""
    sizes = {"policy": {"steps": 30_000}, "seeds": 10, "generators": 2, "budget": {"steps": 8000}}
    policies = 30_000 * 10 / 5 * (1 / UPDATES["td3bc"] + 1 / SLOW) + 2 * EVALUATION
    made = MAKING["dawm"] * 2 * 8000 / 4000
    assert hours(sizes, [("dawm", ["td3bc", "rsp"]), ("real", [])]) == pytest.approx((policies + made) / 3600)


def test_a_study_goes_on_from_what_is_in_it(project, dvc):
    params = read()
    run(STUDY, params, DATASETS, METHODS)
    dvc.clear()
    (STUDY / f"results/{DATASETS[1]}/dawm-{ALGORITHMS[-1]}.json").unlink()
    run(STUDY, params, DATASETS, METHODS)
    assert dvc == [[f"evaluate@{DATASETS[1]}-dawm-{ALGORITHMS[-1]}"]]


def test_results_of_other_data_are_not_added_to_a_study(project, dvc, monkeypatch):
    """Neither if the project has other data before the run, nor if the run collects them."""
    run(STUDY, read(), DATASETS, METHODS[:1])
    before, kept = len(dvc), sorted(STUDY.rglob("*"))
    ours = Path(f"results/{DATASETS[1]}/data.json")
    content = ours.read_text()

    def collects(words, **options):
        ours.write_text(content.replace("14", "16"))
        return SimpleNamespace(returncode=0)

    ours.write_text(content.replace("14", "15"))
    with pytest.raises(SystemExit, match=f"^{STUDY / ours} is of other data than {ours}"):
        run(STUDY, read(), DATASETS, METHODS)
    assert len(dvc) == before
    ours.unlink()
    monkeypatch.setattr(subprocess, "run", collects)
    with pytest.raises(SystemExit, match="is of other data than"):
        run(STUDY, read(), DATASETS[1:], METHODS)
    assert sorted(STUDY.rglob("*")) == kept


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


@pytest.mark.slow
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
    page = (reports / "index.html").read_text()
    assert "points more than real data alone" in page
    assert f"dvc repro evaluate@{DATASETS[0]}-dawm-{ALGORITHMS[0]}" in page  # from the lock file in the study's folder
    assert "No lock file lists" not in page
    assert "differs from the file in dvc.lock" not in page
    (results / DATASETS[0] / f"dawm-{ALGORITHMS[0]}.json").unlink()
    with pytest.raises(SystemExit, match="nothing to draw yet"):
        draw(elsewhere / "small", params)


@pytest.fixture
def drawn_here(monkeypatch):
    """The stages that draw a study run in this process, without figures."""
    others = subprocess.run

    def called(words, **options):
        if words[:2] != [sys.executable, "-m"]:
            return others(words, **options)
        module = words[2]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(options["cwd"])
            patch.setattr(sys, "argv", words[2:])
            patch.setattr("stages.report.tables.__main__.draw", lambda *_: None)
            import_module(module if module.endswith("collect") else f"{module}.__main__").main()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", called)


def test_methods_that_a_data_set_lacks_are_named(project, dvc, drawn_here):
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


STORED = sorted(path.parent for path in (ROOT / "studies").rglob("params.yaml"))


def test_every_study_has_a_grid_or_one_for_each_value_and_stands_in_the_list():
    folders = {path.name for path in (ROOT / "studies").iterdir() if (path / "README.md").exists()}
    assert folders == {folder.relative_to(ROOT / "studies").parts[0] for folder in STORED}
    table = re.findall(r"^\| (`.*?) \|", (ROOT / "studies/README.md").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"`([\w-]+)`", "".join(table))) == folders


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: "-".join(folder.relative_to(ROOT / "studies").parts))
def test_a_stored_study_holds_results_of_its_grid_and_its_table_and_lock_are_of_them(folder):
    params = read(folder / "params.yaml")
    results = {path.relative_to(folder).as_posix(): path for path in folder.glob("results/*/*.json")}
    contents = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in results.items()}
    cells = {name: content for name, content in contents.items() if "algorithm" in content}
    assert cells
    grid, means = set(product(params["datasets"], params["methods"], params["algorithms"])), {}
    for name, content in cells.items():
        names = content["dataset"], content["method"], content["algorithm"]
        assert name == "results/{}/{}-{}.json".format(*names)
        assert names in grid
        assert "absent" in content or len(content["seeds"]) == params["seeds"]
        if "absent" not in content:
            means[names] = np.mean([np.mean(seed["scores"]) for seed in content["seeds"]])
    if (table := folder / "reports/tables/scores.csv").exists():
        rows = pd.read_csv(table).query("dataset != 'average'").dropna(subset="mean")
        shown = rows.set_index(["dataset", "method", "algorithm"])["mean"].to_dict()
        assert shown == pytest.approx(means, rel=1e-4)
    if (lock := folder / "dvc.lock").exists():
        stages = yaml.load(lock.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)["stages"].values()
        locked = {output["path"]: output.get("md5") for stage in stages for output in stage["outs"]}
        assert {name: digest(path) for name, path in results.items()}.items() <= locked.items()

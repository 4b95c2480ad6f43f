"""The pipeline as DVC runs it: what runs, what is restored, and what a change makes run again."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import yaml
from dvc.repo import Repo

from tests import pipelines
from tests.conftest import ROOT, report
from tests.pipelines import (
    DATASET,
    commit,
    copy_project,
    digest,
    edit,
    environment,
    executed,
    names,
    restore,
    run,
    run_in_process,
    write_params,
)
from tests.warm import warm_tools

ALGORITHMS = ("td3bc", "iql")


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Tools whose libraries are loaded already."""
    with warm_tools(tmp_path_factory.mktemp("warm") / "tools") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "TOOLS", [folder, *pipelines.TOOLS])
        yield folder


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_params, warm):
    """A copy of the work tree, committed, with tiny parameters and every stage run once by DVC."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    copy_project(folder, {**tiny_params, "algorithms": list(ALGORITHMS)})
    assert executed(run(folder, "dvc", "repro")) == names(folder)
    commit(folder, "tiny, with its results")
    return folder


@pytest.fixture
def changed(project):
    """The project, for a test to change; afterwards it is as it was committed."""
    yield project
    restore(project)


def test_a_run_leaves_scores_tables_and_a_page(project):
    rows = (project / "results/scores.csv").read_text().splitlines()
    assert rows[0] == "dataset,method,algorithm,seed,generator,episode,return,score"
    assert len(rows) - 1 == 2 * len(ALGORITHMS) * 2 * 2  # methods, algorithms, seeds, episodes
    page = (project / "reports/index.html").read_text()
    assert all(word in page for word in (DATASET, "TD3+BC", "IQL", "DAWM", "horizon"))
    assert DATASET in (project / "reports/tables/scores.tex").read_text()


def test_a_second_run_does_nothing(project):
    assert not executed(run(project, "dvc", "repro"))


def test_a_clone_that_shares_the_cache_restores_every_stage(project, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    (clone / "dvc.lock").unlink()
    for name in digest(clone):
        if name != "results/ablations/README.md":
            (clone / name).unlink()
    run(clone, "dvc", "config", "--local", "cache.dir", str(project / ".dvc/cache"))
    done = run(clone, "dvc", "repro")
    assert not executed(done)
    assert set(re.findall(r"Stage '([^']+)' is cached", done.stdout)) == names(project)
    assert digest(clone) == digest(project)


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """The files that only one of two `digest`s holds, or whose bytes differ."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_the_same_parameters_give_the_same_bytes_in_other_processes(changed, tmp_path):
    """Stage by stage in this process, against DVC's processes.

    Only the page and the tables of costs may differ, since they name seconds, revisions and what dvc.lock records. With
    the same dvc.lock and without records of earlier runs they are the same as well.
    """
    other = tmp_path / "other"
    copy_project(other, yaml.safe_load((changed / "params.yaml").read_text()))
    run_in_process(other)
    assert digest(changed).keys() == digest(other).keys()
    unequal = differing(digest(changed), digest(other))
    assert not [name for name in unequal if not re.match(r"reports/(index\.html|\w+/(costs|acting)\.\w+)$", name)]
    model = f"models/{DATASET}/diffusion.safetensors"
    assert (changed / model).read_bytes() == (other / model).read_bytes()

    shutil.copy(changed / "dvc.lock", other)
    for folder in (changed, other):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setenv("DVC_ROOT", str(tmp_path / "nowhere"))  # where the records of seconds and revisions would be
            report()
    assert not differing(digest(changed), digest(other))


def test_another_horizon_retrains_what_depends_on_it_and_no_real_cell(changed):
    before = digest(changed)
    ran = executed(run(changed, "dvc", "exp", "run", "-S", "horizon=7"))
    cells = {f"{phase}@{DATASET}-dawm-{algorithm}" for phase in ("policy", "evaluate") for algorithm in ALGORITHMS}
    others = {f"{phase}@{DATASET}" for phase in ("diffusion", "augment", "steering", "collect")}
    assert ran == {"check", "tables", "report", f"fidelity@{DATASET}-dawm"} | cells | others
    unequal = differing(before, digest(changed))
    assert not [name for name in unequal if "/real-" in name]
    assert f"results/{DATASET}/dawm-td3bc.json" in unequal
    difference = run(changed, "dvc", "metrics", "diff", "--json").stdout
    assert '"dawm.' in difference
    assert '"real.' not in difference
    columns = run(changed, "dvc", "exp", "show", "--csv", "--only-changed").stdout.splitlines()[0].split(",")
    shown = {name for name in columns if not name.startswith(("data/", "stages/", "models/", "results/", "reports/"))}
    assert "horizon" in shown
    assert {name.partition(".")[0] for name in shown} & {"real", "dawm"} == {"dawm"}
    assert "horizon: 7" in (changed / "params.yaml").read_text()
    restore(changed)
    assert digest(changed) == before


def test_the_two_plots_are_shown_without_complaint(project):
    done = run(project, "dvc", "plots", "show", "learning curves", "scores", "--json")
    assert not done.stderr
    shown = json.loads(done.stdout)
    assert {name.rpartition(":")[2] for name in shown["data"]} == {"learning curves", "scores"}
    assert not shown.get("errors")


def pending(project, *targets: str) -> set[str]:
    """The stages that `dvc repro` would run, once `check` has resolved the settings."""
    ran = executed(run(project, "dvc", "repro", "-s", "check"))
    return ran | executed(run(project, "dvc", "repro", "--dry", *targets))


def test_a_change_of_an_algorithm_s_settings_record_runs_its_cells_alone(changed):
    edit(changed / "stages/algorithms/iql.py", r"    max_weight: Rate\n", "    max_weight: NonNegative\n")
    iql = {f"{stage}@{DATASET}-{method}-iql" for stage in ("policy", "evaluate") for method in ("real", "dawm")}
    assert pending(changed) == {"check"} | iql


def test_an_exception_for_another_data_set_retrains_nothing(changed):
    params = yaml.safe_load((changed / "params.yaml").read_text())
    params["iql"]["exceptions"]["pen-human"] = {"tau": 0.25}
    params["rebrac"]["exceptions"]["pen-human"]["actor_bc"] = 0.25
    write_params(changed, params)
    assert pending(changed) == {"check", "report"}  # the page shows params.yaml
    params["iql"]["exceptions"][DATASET] = {"tau": 0.25}
    write_params(changed, params)
    iql = {f"policy@{DATASET}-{method}-iql" for method in ("real", "dawm")}
    assert pending(changed) == {"check", "report"} | iql


def test_a_change_of_a_baseline_s_settings_touches_that_baseline_alone(changed):
    settings = changed / "stages/baselines/synther/settings.py"
    depending = {
        stage.name
        for stage in Repo(str(changed)).index.stages
        if {settings, *settings.parents} & {changed / dep.def_path for dep in stage.deps}
    }
    assert depending == {f"synther-train@{DATASET}", f"synther@{DATASET}"}
    settings.write_text(settings.read_text() + "\n# changed\n")
    assert not pending(changed)


def test_a_change_of_css_redraws_the_page_alone(changed):
    css = changed / "stages/report/page/page.css"
    css.write_text(css.read_text() + "\n/* changed */\n")
    assert pending(changed) == {"report"}


def test_the_new_algorithm_of_the_documentation_is_one_file_and_its_section(changed):
    text = (ROOT / "docs/extending.md").read_text()
    code, section = (re.search(rf"```{kind}\n(.+?)```", text, re.DOTALL)[1] for kind in ("python", "yaml"))
    (changed / "stages/algorithms/noisy.py").write_text(code)
    params = yaml.safe_load((changed / "params.yaml").read_text()) | yaml.safe_load(section)
    params["algorithms"].append("noisy")
    write_params(changed, params)
    cells = {f"policy@{DATASET}-{method}-noisy" for method in ("real", "dawm")}
    assert executed(run(changed, "dvc", "repro", "-s", "check", *sorted(cells))) == {"check"} | cells
    settings = json.loads((changed / f"data/settings/{DATASET}/noisy.json").read_text())
    assert (settings["blur"], settings["learning_rate"]) == (0.1, 0.001)
    evaluations = {name.replace("policy", "evaluate") for name in cells}
    assert executed(run(changed, "dvc", "repro", "--dry")) == evaluations | {f"collect@{DATASET}", "tables", "report"}
    run(changed, "dvc", "repro", "-s", *sorted(evaluations))
    result = json.loads((changed / f"results/{DATASET}/real-noisy.json").read_text())
    assert len(result["seeds"]) == params["seeds"]


def test_bad_parameters_are_refused_before_any_work(changed):
    """One case through DVC; tests/test_check.py has the others."""
    done = run(changed, "dvc", "exp", "run", "-S", "horizon=0", check=False)
    assert done.returncode != 0
    assert executed(done) == {"check"}, done.stdout + done.stderr
    lines = [row for row in (done.stdout + done.stderr).splitlines() if row.startswith("params.yaml: ")]
    assert len(lines) == 1
    assert lines[0].startswith("params.yaml: horizon = 0: ")


def wait_for(condition, seconds: float, what: str):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} seconds"
        time.sleep(0.05)


def test_a_killed_stage_leaves_nothing_that_the_next_run_trusts(project, monkeypatch):
    monkeypatch.setattr(pipelines, "TOOLS", pipelines.TOOLS[1:])  # whose processes end when they are killed
    target = f"policy@{DATASET}-dawm-td3bc"
    model = project / f"models/{DATASET}/dawm-td3bc.safetensors"
    before = model.read_bytes()
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["policy"].update(steps=100_000_000, snapshot_every=500)
    write_params(project, params)
    run(project, "dvc", "repro", "-s", "check")
    process = subprocess.Popen(
        ["dvc", "repro", "-s", target],
        cwd=project,
        env=environment(project),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoints = project / ".checkpoints"
    wait_for(lambda: list(checkpoints.glob("*/state.pt")), 120, "checkpoint")  # it trains, and DVC removed the output
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not model.exists()
    assert not list(model.parent.glob(".*.tmp"))
    shutil.rmtree(checkpoints)
    run(project, "git", "checkout", "-q", ".")
    run(project, "dvc", "repro", target)
    assert model.read_bytes() == before


def test_an_ablation_runs_values_elsewhere_resumes_and_leaves_the_workspace_alone(changed):
    (changed / "params.yaml").open("a").write("# mine, not committed\n")
    before, status = digest(changed), run(changed, "git", "status", "--porcelain").stdout
    command = ("python", "-m", "ablations", "horizon")
    run(changed, *command, "2", "0", "--set", "algorithms=[iql]", check=False)  # 0 is refused, 2 stays
    again = run(changed, *command, "2", "4", "--set", "algorithms=[iql]")
    assert not [stage for stage in executed(again) if stage.startswith(("data", "idm"))]  # they do not depend on it
    assert len([stage for stage in executed(again) if stage.startswith("diffusion@")]) == 1, again.stdout
    table = (changed / "results/ablations/horizon.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in table[1:]] == ["2", "2", "4", "4"]  # real and DAWM
    assert (changed / "reports/figures/ablation-horizon.png").exists()
    text = (changed / "reports/tables/ablation-horizon.md").read_text()
    assert "with algorithms=[iql]" in text
    assert "– |" not in text.partition("DAWM")[2].partition("Scores:")[0]  # every cost was recorded
    run(changed, "git", "clean", "-qfd", "results", "reports")
    assert digest(changed) == before
    assert run(changed, "git", "status", "--porcelain").stdout == status


def test_a_baseline_is_added_by_a_folder_and_its_name(changed):
    """The example of stages/baselines/README.md, as it stands there."""
    text = (ROOT / "stages/baselines/README.md").read_text()
    files = re.findall(r"```(?:python|yaml)\n(.*?)```", text, re.DOTALL)
    folder = changed / "stages/baselines/noisy"
    folder.mkdir()
    for name, content in zip(("__init__.py", "__main__.py", "dvc.yaml"), files, strict=True):
        (folder / name).write_text(content)
    done = run(changed, "dvc", "exp", "run", "-S", "methods=[real,noisy]", "-S", "algorithms=[iql]")
    own = {f"{stage}@{DATASET}-noisy-iql" for stage in ("policy", "evaluate")} | {f"fidelity@{DATASET}-noisy"}
    assert executed(done) == {"check", f"noisy@{DATASET}", *own, f"collect@{DATASET}", "tables", "report"}
    record = json.loads((changed / f"results/{DATASET}/fidelity-noisy.json").read_text())
    assert 0.05 < record["physics"]["overall"]["median"] < 0.1  # of |N(0, 0.1)|: 0.067
    assert "| Noisy |" in (changed / "reports/tables/scores.md").read_text()
    shutil.rmtree(folder)


def test_the_paper_preset_s_whole_grid_is_planned(changed):
    shutil.copy(ROOT / "presets/paper.yaml", changed / "params.yaml")
    done = run(changed, "dvc", "repro", "--dry", "--force")
    planned = executed(done)
    assert len([name for name in planned if name.startswith("evaluate@")]) == 9 * 7 * 5
    assert {
        "synther-train@hopper-medium-v2",
        "dwm@hopper-medium-v2",
        "diffusion@walker2d-medium-expert-v2",
        "policy@halfcheetah-medium-v2-dawm-iql",
        "report",
    } <= planned


def test_make_paper_resumes_with_the_parameters_that_it_wrote(project, tmp_path):
    """With a `dvc` that fails at first, as if interrupted; a changed params.yaml is still refused."""
    clone, tools = tmp_path / "clone", tmp_path / "bin"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    tools.mkdir()
    (clone / ".venv/bin").mkdir(parents=True)
    dvc = clone / ".venv/bin/dvc"
    for name in ("python", "repro.done"):
        (clone / ".venv" / ("bin/python" if name == "python" else name)).touch()

    def paper(status: int):
        dvc.write_text(f"#!/bin/sh\necho dvc $@\nexit {status}\n")
        dvc.chmod(0o755)
        return run(clone, "make", "-o", ".venv/repro.done", "paper", check=False)

    assert paper(1).returncode != 0
    assert (clone / "params.yaml").read_bytes() == (clone / "presets/paper.yaml").read_bytes()
    done = paper(0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dvc repro" in done.stdout
    (clone / "params.yaml").write_text("seeds: 3\n")
    for command in (("status",), ("add", "params.yaml")):  # not staged, then staged
        run(clone, "git", *command)
        done = paper(0)
        assert done.returncode != 0
        assert "params.yaml has uncommitted changes" in done.stdout
        assert (clone / "params.yaml").read_text() == "seeds: 3\n"

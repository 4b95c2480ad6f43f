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
    ALGORITHMS,
    DATASET,
    copy_project,
    differing,
    digest,
    edit,
    environment,
    executed,
    names,
    run,
    run_in_process,
    write_params,
)

pytestmark = pytest.mark.slow
project, changed, warm, ordinary = pipelines.project, pipelines.changed, pipelines.warm, pipelines.ordinary


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


def test_the_same_parameters_give_the_same_bytes_in_other_processes(changed, tmp_path):
    """Stage by stage in this process, against DVC's processes.

    Only the page and the tables of costs may differ, since they name seconds, revisions and what dvc.lock records. With
    the same dvc.lock and without records of earlier runs they are the same as well.
    """
    other = tmp_path / "other"
    copy_project(other, yaml.safe_load((changed / "params.yaml").read_text()), ("synther",))
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


def wait_for(condition, seconds: float, what: str):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {seconds:g} seconds"
        time.sleep(0.05)


def test_a_killed_stage_leaves_nothing_that_the_next_run_trusts(project, ordinary):
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


def test_the_paper_preset_s_whole_grid_is_planned(changed):
    for path in ("presets/paper.yaml", *sorted(ROOT.glob("stages/baselines/*/dvc.yaml"))):
        target = "params.yaml" if path == "presets/paper.yaml" else path.relative_to(ROOT)
        shutil.copy(ROOT / path, changed / target)
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

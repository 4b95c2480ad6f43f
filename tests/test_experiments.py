"""Experiments as DVC runs them: what a change makes run again, what stays, what is refused, and ablations."""

import json
import re
import shutil

import pytest

from tests import pipelines
from tests.conftest import ROOT
from tests.pipelines import ALGORITHMS, DATASET, differing, digest, executed, restore, run

pytestmark = pytest.mark.slow
project, changed, warm = pipelines.project, pipelines.changed, pipelines.warm


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


def test_bad_parameters_are_refused_before_any_work(changed):
    """One case through DVC; tests/test_check.py has the others."""
    done = run(changed, "dvc", "exp", "run", "-S", "horizon=0", check=False)
    assert done.returncode != 0
    assert executed(done) == {"check"}, done.stdout + done.stderr
    lines = [row for row in (done.stdout + done.stderr).splitlines() if row.startswith("params.yaml: ")]
    assert len(lines) == 1
    assert lines[0].startswith("params.yaml: horizon = 0: ")


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

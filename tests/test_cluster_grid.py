"""The pipeline on three Ray nodes leaves the bytes that `dvc repro` leaves, whatever is killed meanwhile."""

import os
import re
import signal
from pathlib import Path

import pytest
import yaml

from cluster.graph import needed
from tests import pipelines
from tests.conftest import overlaid
from tests.pipelines import DATASET, commit, copy_project, digest, executed, names, run
from tests.ray_nodes import alive, ancestor, cluster, command_line, ended, ray_cluster, wait_for

pytestmark = pytest.mark.slow

warm, ordinary = pipelines.warm, pipelines.ordinary
PARAMS = {"methods": ["dawm"], "algorithms": ["td3bc"], "policy": {"steps": 2000, "snapshot_every": 200}}
SECONDS = re.compile(r"reports/(index\.html|\w+/(costs|acting)\.\w+)$")  # these name the seconds that stages took
WITH_SECONDS = ("reports/tables", "reports/figures", "reports/index.html")  # outputs with such files in them


@pytest.fixture(scope="module")
def three(tmp_path_factory, warm):
    """The address of a Ray cluster with three nodes of one CPU."""
    with ray_cluster(tmp_path_factory.mktemp("ray"), 3) as address:
        yield address


@pytest.fixture(scope="module")
def plain(tmp_path_factory, tiny_params, warm) -> Path:
    """A copy of the work tree with tiny parameters, every stage run by DVC."""
    folder = project(tmp_path_factory.mktemp("plain") / "project", tiny_params)
    run(folder, "dvc", "repro")
    return folder


def project(folder: Path, tiny_params: dict) -> Path:
    copy_project(folder, overlaid(tiny_params, PARAMS), ())
    commit(folder, "tiny")
    return folder


def locked(folder: Path) -> dict[str, dict]:
    """What dvc.lock records of each stage, without the files that name seconds."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    for stage in stages.values():
        for key in ("deps", "outs"):
            stage[key] = [each for each in stage.get(key, []) if each["path"] not in WITH_SECONDS]
    return stages


def assert_equal(one: Path, other: Path, *targets: str):
    """One project has the bytes that DVC left in the other: all of them, or those that targets need."""
    stages, _ = needed(str(one), [f"{one}/dvc.yaml:{target}" for target in targets])
    recorded = locked(other)
    assert locked(one) == {stage.name: recorded[stage.name] for stage in stages.values()}
    results, others = digest(one), digest(other)
    made = {out.def_path for stage in stages.values() for out in stage.outs}
    expected = {name for name in others if name in made} if targets else others.keys()
    unequal = [name for name in results.keys() | expected if results.get(name) != others.get(name)]
    assert not [name for name in unequal if not SECONDS.match(name)]
    models = [path.relative_to(one) for path in (one / "models").rglob("*") if path.is_file()]
    assert len(models) == len([path for path in (other / "models").rglob("*") if path.is_file()])
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in models)
    assert not executed(run(one, "dvc", "repro", *targets))


def trains(root: Path, stage: str) -> int | None:
    """The process of that stage's module in a clone below `root`, once it has saved a checkpoint."""
    if not any((root / ".checkpoints").rglob("state.pt")):
        return None
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"-m {stage} " in command_line(int(entry.name)) and root in (entry / "cwd").resolve().parents:
                return int(entry.name)
        except OSError:  # it has ended
            pass
    return None


def logs(folder: Path, which: str = "*") -> str:
    return "".join(path.read_text() for path in (folder / ".cluster/logs").glob(which))


def test_machines_without_a_common_file_system_exchange_results_by_a_remote(plain, three, tmp_path, tiny_params):
    folder = project(tmp_path / "project", tiny_params)
    run(folder, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    commit(folder, "a remote")
    output = ended(cluster(folder, "--address", three, "--remote"))
    stages = names(folder)
    assert f" {len(stages)}/{len(stages)} dvc.yaml:report: " in output
    assert "Running stage" not in output  # results that DVC does not cache travel as well
    assert sorted(re.findall(r"Running stage '([^']+)'", logs(folder))) == sorted(stages)  # each once
    caches = {path.parent for path in (folder / ".cluster").glob("clone-*/.dvc/cache/files")}
    assert len(caches) == 3
    assert_equal(folder, plain)
    costs = (folder / "reports/tables/costs.md").read_text()
    assert "–" not in costs.split("| DAWM |")[1].splitlines()[0]  # seconds travel as well


def test_a_node_and_the_driver_are_killed_while_a_policy_trains(plain, three, tmp_path, tiny_params, request):
    """The last test of this file, since the cluster may then have two nodes left."""
    folder = project(tmp_path / "project", tiny_params)
    target = f"evaluate@{DATASET}-dawm-td3bc"
    ended(cluster(folder, f"augment@{DATASET}", "--address", three))  # what the policy needs, by the warm tools
    request.getfixturevalue("ordinary")
    driver = cluster(folder, target, "--address", three)
    training = wait_for(lambda: trains(folder, "stages.policy"), 300)
    node = ancestor(training, " start --")
    if "--head" in command_line(node):  # Ray ends with its head; a stage on it is killed with its worker
        node = ancestor(training, "ray::")
        os.kill(node, signal.SIGKILL)
    else:
        os.killpg(node, signal.SIGKILL)
    wait_for(lambda: not alive(training))
    wait_for(lambda: "it runs again" in (folder / ".cluster/log").read_text())
    again = wait_for(lambda: trains(folder, "stages.policy"), 300)
    driver.kill()
    driver.communicate()
    wait_for(lambda: not alive(again))
    ended(cluster(folder, target, "--address", three))
    assert re.search(r"resumes after update [\d,]+ from its checkpoint", logs(folder, "*policy*"))
    assert_equal(folder, plain, target)

"""How tests run the pipeline: in a copy of the project with tiny parameters, by DVC or in this process."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from cluster.graph import needed
from stages.fidelity import value
from tests.conftest import ROOT
from tests.warm import put_aside, warm_tools

DATASET, ALGORITHMS = "hopper-medium-replay", ("td3bc", "iql")
VALUE, UPDATES = "stages/fidelity/value.py", 20  # of whose networks no pipeline's test needs more than a few
TOOLS = [Path(sys.executable).parent]  # folders of `dvc` and `python`; warm.py makes another one


def run(folder: Path, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess:
    """A command in that folder, with `more` environment variables."""
    done = subprocess.run(command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]]),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"),
        **more,
    }


def copy_project(folder: Path, params: dict, baselines: tuple[str, ...] | None = None):
    """The work tree without results, as a git repository with those parameters and nothing committed.

    Its networks for the value of states, which no parameter makes smaller, are trained for a few updates only. Only the
    baselines that are named, or all if None, keep their stages, since DVC reads all stages whatever it does.
    """
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.split("\n")
    for name in filter(None, listed):
        result = name.startswith(("results/", "reports/", "dvc.lock")) and name != "results/ablations/README.md"
        if (ROOT / name).is_file() and not result:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for path in folder.glob("stages/baselines/*/dvc.yaml"):
        if baselines is not None and path.parent.name not in baselines:
            path.unlink()
    write_params(folder, params)
    edit(folder / VALUE, rf"\b{value.UPDATES}\b", str(UPDATES))
    run(folder, "git", "init", "-q")
    for key in ("name", "email"):  # experiments are commits
        run(folder, "git", "config", f"user.{key}", "tests")


def edit(path: Path, pattern: str, replacement: str):
    text, count = re.subn(pattern, replacement, path.read_text(), count=1)
    assert count == 1, f"{path} has no {pattern}"
    path.write_text(text)


def write_params(folder: Path, params: dict):
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def commit(folder: Path, message: str):
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", message)


def restore(project: Path):
    """Back to the committed state; DVC removes outputs that a failed experiment's grid did not name."""
    (project / "params.yaml").unlink()  # git may miss a change of equal size within the same second
    run(project, "git", "checkout", "-q", ".")
    run(project, "git", "clean", "-qfd", "stages", "results", "reports")
    run(project, "dvc", "checkout", "-q", "dvc.yaml")  # not the baselines', which the committed grid never ran


def executed(done: subprocess.CompletedProcess) -> set[str]:
    """The stages that a DVC command ran."""
    return set(re.findall(r"Running stage '(?:\S+/dvc\.yaml:)?([^']+)'", done.stdout))


def selected(folder: Path) -> list:
    """The stages that the grid needs, in the order of the DAG: the top level's and what they depend on."""
    stages, depends = needed(str(folder))
    return [stages[name] for name in TopologicalSorter(depends).static_order()]


def names(folder: Path) -> set[str]:
    return {stage.name for stage in selected(folder)}


def run_in_process(folder: Path):
    """Every stage that the grid in `folder` needs, one after the other, without DVC and without a process for each.

    As with DVC, a stage's outputs are removed before it runs, and all of them must exist afterwards.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(value, "UPDATES", UPDATES)
        for stage in selected(folder):
            for output in stage.outs:
                output.remove()
            _, _, module, *arguments = stage.cmd.split()
            patch.setattr(sys, "argv", [module, *arguments])
            package = ROOT / module.replace(".", "/")
            import_module(f"{module}.__main__" if package.is_dir() else module).main()
            missing = [output.def_path for output in stage.outs if not output.exists]
            assert not missing, f"{stage.addressing} did not write {missing}"


def digest(folder: Path) -> dict[str, bytes]:
    """path → content of everything under results/ and reports/."""
    files = [file for top in ("results", "reports") for file in (folder / top).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def differing(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    """The files that only one of two `digest`s holds, or whose bytes differ."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Tools whose libraries are loaded already."""
    with warm_tools(tmp_path_factory.mktemp("warm") / "tools") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "TOOLS", [folder, *TOOLS])
        yield folder


@pytest.fixture
def ordinary(warm):
    """The ordinary tools, for a test that kills."""
    with put_aside(warm):
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_params, warm):
    """A copy of the work tree, committed, with tiny parameters and every stage run by DVC, once in a session."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    with Path(f"{shared}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            building = tmp_path_factory.mktemp("tiny") / "project"
            copy_project(building, {**tiny_params, "algorithms": list(ALGORITHMS)}, ("synther",))
            assert executed(run(building, "dvc", "repro")) == names(building)
            commit(building, "tiny, with its results")
            building.rename(shared)
    return shutil.copytree(shared, tmp_path_factory.mktemp("clone") / "project", symlinks=True)


@pytest.fixture
def changed(project):
    """The project, for a test to change; afterwards it is as it was committed."""
    yield project
    restore(project)

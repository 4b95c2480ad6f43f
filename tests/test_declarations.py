"""What dvc.yaml declares: the code and the parameters that each stage depends on; and the presets' keys."""

import ast
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import networkx as nx
import pytest
import yaml
from dvc.repo import Repo

from stages.check import algorithms
from stages.check.schema import Params
from tests.conftest import ROOT

STAGES = list(Repo(str(ROOT)).index.stages)  # the grid, expanded by DVC itself
ROOMS = (
    *(
        "common",
        "tasks",
        "data",
        "diffusion",
        "synthetic_data",
        "world_model",
        "idm",
        "augment",
        "policy",
        "forward_model",
    ),
    *("algorithms", "evaluate", "fidelity", "baselines", "report", "check"),
)


def module_file(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@cache
def only_a_docstring(file: Path) -> bool:
    body = ast.parse(file.read_text()).body
    return file.name == "__init__.py" and len(body) <= 1 and all(isinstance(node, ast.Expr) for node in body)


@cache
def imports(file: Path) -> set[Path]:
    """The project's files that one imports, the packages that hold it included."""
    parts = file.relative_to(ROOT).parts
    modules = {".".join(parts[:depth]) for depth in range(1, len(parts))}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {path for name in modules if name.startswith("stages.") and (path := module_file(name))}


def closure(files: set[Path]) -> set[Path]:
    """The files, and all of the project's that they import, directly or not."""
    visited, todo = set(), set(files)
    while todo:
        file = todo.pop()
        visited.add(file)
        todo |= imports(file) - visited
    return {file for file in visited if not only_a_docstring(file)}


def module_of(command: str) -> str:
    module = command.split()[2]
    return f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module


def runs(command: str) -> set[Path]:
    """The files whose code a stage runs."""
    module = module_of(command)
    files = {module_file(module)}
    if module in ("stages.policy.__main__", "stages.evaluate.__main__"):
        files.add(ROOT / "stages/algorithms" / f"{command.split()[-1]}.py")
    if module == "stages.baselines.pgd.__main__":  # the policy that guides it
        guide = yaml.safe_load((ROOT / "params.yaml").read_text())["pgd"]["algorithm"]
        files.add(ROOT / "stages/algorithms" / f"{guide}.py")
    records = set((ROOT / "stages/algorithms").glob("[a-z]*.py")) if module == "stages.check.__main__" else set()
    return closure(files) | records  # of which `check` executes the `Settings` class alone


def code(stage) -> set[Path]:
    """The dependencies of a stage that are code."""
    paths = {ROOT / dep.def_path for dep in stage.deps}
    return {path for path in paths if ROOT / "stages" in path.parents}


def test_every_stage_declares_the_code_that_it_runs():
    assert len(STAGES) >= 30
    undeclared = {
        (stage.addressing, str(file.relative_to(ROOT)))
        for stage in STAGES
        for file in runs(stage.cmd)
        if not {file, *file.parents} & code(stage)
        if file != ROOT / "stages/__init__.py"  # sets the threads' spinning alone
    }
    assert not undeclared


NEEDED_BY = {  # (stage, path) → the algorithms that run code there: dependencies cannot vary within a matrix
    ("policy", "stages/diffusion"): {"dd", "diffuser", "gtp", "mobile", "mopo", "mpdiffuser"},
    ("evaluate", "stages/diffusion"): {"dd", "diffuser", "gtp", "mobile", "mopo", "mpdiffuser"},
}


def cells():
    """Each stage's name, its algorithm or None, the files that it runs and the paths that it declares.

    Stages with an algorithm are given for every algorithm there is, not for the grid's alone.
    """
    for stage in STAGES:
        name, command, declared = stage.name.partition("@")[0], stage.cmd.split(), code(stage)
        if name not in ("policy", "evaluate"):
            yield name, None, runs(stage.cmd), declared
            continue
        *before, algorithm = command
        shared = declared - {ROOT / f"stages/algorithms/{algorithm}.py"}
        for each in algorithms.names():
            yield name, each, runs(" ".join([*before, each])), shared | {ROOT / f"stages/algorithms/{each}.py"}


def test_no_stage_declares_code_that_it_does_not_run_but_for_what_other_algorithms_need():
    unused = {
        (name, algorithm, str(path.relative_to(ROOT)))
        for name, algorithm, files, declared in cells()
        for path in declared
        if not any(path in (file, *file.parents) for file in files)
    }
    assert unused == {
        (name, algorithm, path)
        for (name, path), users in NEEDED_BY.items()
        for algorithm in set(algorithms.names()) - users
    }


def test_every_stage_declares_the_parameters_that_it_reads():
    for stage in STAGES:
        declared = {key for dep in stage.deps for key in getattr(dep, "params", None) or ()}
        whole = "params.yaml" in {dep.def_path for dep in stage.deps if not getattr(dep, "params", None)}
        if whole:
            assert stage.name in ("check", "report")  # they read all of it, and depend on the file itself
            assert not declared
        else:
            assert declared == set(import_module(module_of(stage.cmd)).READS), stage.addressing


def test_outputs_outside_the_cache_are_metrics_or_plots():
    """For other stages with uncached outputs DVC keeps no run-cache entry, so no clone would restore them."""
    uncached = {(stage.addressing, output) for stage in STAGES for output in stage.outs if not output.use_cache}
    assert len(uncached) >= 15
    assert not [(name, output.def_path) for name, output in uncached if not (output.metric or output.plot)]


def test_no_policy_depends_on_how_it_is_evaluated():
    """So a changed `evaluate.episodes` retrains nothing; of what a policy needs only `check` reads it."""
    graph = Repo(str(ROOT)).index.graph  # an edge leads from a stage to one that it depends on
    policies = {stage for stage in graph if stage.name.startswith("policy@")}
    assert len(policies) >= 4
    for stage in policies.union(*(nx.descendants(graph, stage) for stage in policies)):
        if stage.name != "check":
            parameters = {key for dep in stage.deps for key in getattr(dep, "params", None) or ()}
            assert not [key for key in parameters if key.startswith("evaluate")], stage.addressing
            assert "params.yaml" not in {dep.def_path for dep in stage.deps if not getattr(dep, "params", None)}
            assert not [path for path in code(stage) if "evaluate" in path.parts], stage.addressing


def test_rooms_import_downwards_only():
    folders = {path.name for path in (ROOT / "stages").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    for number, room in enumerate(ROOMS):
        for file in (ROOT / "stages" / room).rglob("*.py"):
            own = file.relative_to(ROOT / "stages").parts
            for imported in imports(file):
                other = imported.relative_to(ROOT / "stages").parts
                assert other[0] == "__init__.py" or ROOMS.index(other[0]) <= number, f"{file} imports {imported}"
                if room == other[0] == "baselines" and len(other) > 2:
                    assert own[1] == other[1], f"{file} imports {imported}"


@pytest.mark.parametrize("path", ["params.yaml", "presets/paper.yaml", "presets/study.yaml"])
def test_presets_are_valid_and_every_number_is_a_number(path):
    content = yaml.safe_load((ROOT / path).read_text())
    Params.model_validate(content)

    def strings(node):
        if isinstance(node, dict | list):
            for child in node.values() if isinstance(node, dict) else node:
                yield from strings(child)
        elif isinstance(node, str):
            yield node

    assert not [text for text in strings(content) if re.fullmatch(r"[-+.\deE]+", text)]  # YAML reads 3e-4 as a string


@pytest.mark.parametrize("preset", ["paper", "study"])
def test_presets_have_the_same_keys(preset):
    def keys(node, prefix=""):
        for key, value in node.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")

    small, other = (yaml.safe_load((ROOT / path).read_text()) for path in ("params.yaml", f"presets/{preset}.yaml"))
    assert list(keys(small)) == list(keys(other))
    assert len(other["datasets"]) == 9


def test_the_study_changes_only_what_its_preset_names():
    small, study = (yaml.safe_load((ROOT / path).read_text()) for path in ("params.yaml", "presets/study.yaml"))
    changed = {"datasets", "methods", "generators", "policy"}
    assert {key for key in small if small[key] != study[key]} == changed
    assert {key for key, value in study["policy"].items() if small["policy"][key] != value} == {"steps"}


def test_unfinished_files_are_no_part_of_what_dvc_hashes():
    """A killed stage leaves `.name.pid.tmp` beside its output, in folders that later stages depend on."""
    ignored = Repo(str(ROOT)).dvcignore
    assert ignored.is_ignored_file(str(ROOT / "results/hopper-medium/.data.json.123.tmp"))
    assert not ignored.is_ignored_file(str(ROOT / "results/hopper-medium/data.json"))

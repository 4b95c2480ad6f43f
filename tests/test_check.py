"""The check stage: bad values are rejected in one line, and each algorithm's settings are resolved by data set."""

import json
import re
import runpy
import shutil
from importlib import import_module

import pytest
import yaml

from stages.check import __main__ as stage
from stages.check import algorithms, schema
from stages.check.__main__ import main as check
from stages.common.params import BadParameters
from tests.conftest import ROOT, overlaid
from tests.pipelines import DATASET

ALGORITHMS = sorted({path.stem for path in (ROOT / "stages/algorithms").glob("*.py")} - {"__init__"})


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that writes the default params.yaml, on `DATASET` and with some keys changed, into an empty folder."""
    monkeypatch.chdir(tmp_path)
    base = {**yaml.safe_load((ROOT / "params.yaml").read_text()), "datasets": [DATASET]}

    def write(changes: dict):
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(base, changes), sort_keys=False))
        return tmp_path

    return write


def refusal() -> str:
    """The one line of the error that ends `check`."""
    with pytest.raises(BadParameters) as refused:
        check()
    (line,) = str(refused.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"horizon": 0}, "params.yaml: horizon = 0: "),
        ({"horizon": 1001}, "params.yaml: horizon = 1001: exceeds the longest episode, 1000 steps"),
        ({"real_fraction": 1.5}, "params.yaml: real_fraction = 1.5: "),
        ({"policy": {"steps": -1}}, "params.yaml: policy.steps = -1: "),
        (
            {"synther": {"denoiser": {"steps": "many"}}},
            "params.yaml: synther.denoiser.steps = 'many': should be a whole number above 0, or ",
        ),
        (
            {"datasets": ["hopper-easy"]},
            "params.yaml: datasets = ['hopper-easy']: 'hopper-easy' is not known; allowed",
        ),
        ({"methods": ["real", "magic"]}, "params.yaml: methods.1 = 'magic': is not known; allowed: real, dawm"),
        (
            {"algorithms": ["sac"]},
            f"params.yaml: algorithms.0 = 'sac': is not known; allowed: {', '.join(ALGORITHMS)}",
        ),
        ({"seeds": True}, "params.yaml: seeds = True: Input should be a valid integer"),
        (
            {"policy": {"normalize_states": 1}},
            "params.yaml: policy.normalize_states = 1: Input should be a valid boolean",
        ),
        (
            {"corrected": {"kept": 0.5}},
            "params.yaml: corrected.kept = 0.5 needs members that can disagree, but dynamics.members = 1",
        ),
        (
            {"corrected": {"rollout": True, "replaced": "rewards"}},
            "params.yaml: corrected.rollout = true replaces states, but replaced = 'rewards'",
        ),
        ({"policy": {"batch": True}}, "params.yaml: policy.batch = True: Input should be a valid integer"),
        ({"generators": 128}, "params.yaml: generators = 128: "),  # the index is stored in eight bits
        (
            {"local": {"transitions": -1}},
            "params.yaml: local.transitions = -1: Input should be greater than or equal to 1, or Input should be ",
        ),
        (
            {"local": {"transitions": 0.00001}},
            f"params.yaml: fidelity.neighbours = 10 exceeds a quarter of {DATASET}'s ",
        ),
        ({"target_return": "big"}, "params.yaml: target_return = 'big': Input should be a valid number, or "),
        (
            {"diffusion": {"process": "ddpm"}},
            "params.yaml: sampler.steps = 6 exceeds diffusion.ddpm.levels = 5",
        ),
        (
            {"diffusion": {"unet": {"width": 12}}},
            "params.yaml: diffusion.unet.width × multipliers = [12, 48, 96] must be multiples of 8",
        ),
        ({"diffusion": {"unet": {"kernel": 4}}}, "params.yaml: diffusion.unet.kernel = 4 must be odd"),
        (
            {"diffusion": {"edm": {"sigma_min": 30.0}}},
            "params.yaml: diffusion.edm.sigma_min = 30 must lie below sigma_max = 20",
        ),
        ({"onestep": {"dynamics": {"elites": 8}}}, "params.yaml: onestep.dynamics.elites = 8 exceeds members = 7"),
        (
            {"sampler": {"churn": {"low": 60.0}}},
            "params.yaml: sampler.churn.low = 60 exceeds sampler.churn.high = 50",
        ),
        (
            {"synther": {"sampler": {"churn": {"high": 0.01}}}},
            "params.yaml: synther.sampler.churn.low = 0.05 exceeds synther.sampler.churn.high = 0.01",
        ),
        (
            {"methods": ["real", "dwm"], "iql": {"lambda_return": 0.9}},
            f"params.yaml: lambda_return = 0.9 of iql on {DATASET} is not among dwm.lambda_returns = [1.0, 0.95]",
        ),
        (
            {"methods": ["dawm"], "algorithms": ["rsp"]},
            "params.yaml: methods = ['dawm']: algorithms = ['rsp'] learn from real data alone, so no cell is"
            " applicable; add real to methods",
        ),
        ({"mopo": {"elites": 8}}, "params.yaml: mopo.elites = 8 exceeds members = 7"),
        (
            {"methods": ["real", "pgd"], "algorithms": ["iql"]},
            "params.yaml: methods: pgd is guided by the policy of td3bc on real data; add both to the grid",
        ),
        (
            {"methods": ["dawm", "pgd"]},
            "params.yaml: methods: pgd is guided by the policy of td3bc on real data; add both to the grid",
        ),
        (
            {"methods": ["real", "pgd"], "algorithms": ["rsp"], "pgd": {"algorithm": "rsp"}},
            "params.yaml: pgd.algorithm = 'rsp' does not learn from single transitions, which it would guide",
        ),
        (
            {"methods": ["dwm"], "td3bc": {"exceptions": {"hopper-*": {"lambda_return": 0.5}}}},
            f"params.yaml: lambda_return = 0.5 of td3bc on {DATASET} is not among dwm.lambda_returns = [1.0, 0.95]",
        ),
        (
            {"methods": ["oracle"], "source": "d4rl", "datasets": ["pen-human-v1"]},
            "params.yaml: methods: oracle cannot run on pen-human-v1, whose observations do not hold the simulator's",
        ),
        (
            {"local": {"transitions": 399}, "fidelity": {"neighbours": 100}},
            f"params.yaml: fidelity.neighbours = 100 exceeds a quarter of {DATASET}'s 399 (local.transitions)",
        ),
        (
            {"fidelity": {"neighbours": 11, "transitions": 10}},
            "params.yaml: fidelity.neighbours = 11 exceeds fidelity.transitions = 10",
        ),
    ],
)
def test_invalid_and_contradictory_values_are_rejected(written, changes, line):
    folder = written(changes)
    assert refusal().startswith(line)
    assert not (folder / "data").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"diffusion": {"process": "ddpm"}, "sampler": {"steps": 5}},
        {"methods": ["real", "dwm"]},
        {
            "methods": ["real"],
            "iql": {"lambda_return": 0.9},
        },  # dwm, which makes transitions for some λ only, is not in the grid
        {"methods": ["oracle"], "source": "d4rl", "datasets": ["hopper-medium-v2"]},
        {"methods": ["real", "dawm"], "algorithms": ["rsp"]},
        {"methods": ["dawm"], "algorithms": ["td3bc", "rsp"]},
        {
            "methods": ["real", "dwm"],
            "algorithms": ["rsp"],
            "rsp": {"lambda_return": 0.9},
        },  # rsp learns from nothing that dwm makes
        {"local": {"transitions": 400}, "fidelity": {"neighbours": 100, "transitions": 100}},
        {"local": {"transitions": "d4rl"}, "fidelity": {"neighbours": 100}},
        {
            "methods": ["oracle"],
            "source": "minari",
            "datasets": ["D4RL/door/human-v2"],
        },  # unknown until read
    ],
)
def test_values_just_within_the_rules_are_accepted(written, changes):
    folder = written(changes)
    check()
    assert (folder / "data/checked").read_text() == "params.yaml is valid\n"


@pytest.mark.parametrize("available", [True, False])
def test_cuda_is_accepted_only_if_it_is_available(written, monkeypatch, available):
    monkeypatch.setattr("torch.cuda.is_available", lambda: available)
    written({"device": "cuda"})
    if available:
        check()
    else:
        assert refusal() == "params.yaml: device = 'cuda': no CUDA device here; allowed: auto, cpu"


@pytest.mark.parametrize("key", ["policy.compile", "diffusion.compile", "synther.denoiser.compile"])
def test_compiling_on_a_cpu_is_accepted_only_with_a_compiler(written, monkeypatch, key):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CXX", "a-compiler")
    monkeypatch.setattr("shutil.which", lambda name: None)
    changes = True
    for name in reversed(key.split(".")):
        changes = {name: changes}
    written(changes)
    line = f"params.yaml: {key} = true: needs a C++ compiler, and a-compiler is not here; allowed: auto, false"
    assert refusal() == line
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    check()
    written({"device": "cpu", **changes})
    assert refusal() == line
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    check()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("seeds: 3\nseeds: 4\n", "seeds"),
        ("iql:\n  tau: 0.1\n  beta: 1.0\n  tau: 0.2\n", "tau"),
        ("diffusion:\n  unet:\n    kernel: 5\n    kernel: 7\n", "kernel"),
        ('iql:\n  exceptions:\n    "pen-*": {beta: 1.0, beta: 2.0}\n', "beta"),
        ("idm:\n  hidden: [{width: 1, width: 2}]\n", "width"),
    ],
)
def test_a_key_that_appears_twice_is_rejected_at_any_depth(tmp_path, monkeypatch, text, key):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    assert re.match(rf"params.yaml: not valid YAML: {key} appears twice in .*line \d+, column \d+", refusal())


def settings_files(folder) -> dict[str, bytes]:
    """Name and content of each file under data/settings."""
    files = (folder / "data/settings").rglob("*.json")
    return {str(path.relative_to(folder / "data/settings")): path.read_bytes() for path in files}


def test_an_exception_changes_only_the_settings_file_of_its_data_set_and_algorithm(written):
    grid = {"datasets": [DATASET, "walker2d-medium"], "algorithms": ["td3bc", "iql"]}
    folder = written(grid)
    check()
    before = settings_files(folder)
    assert before.keys() == {f"{dataset}/{name}.json" for dataset in grid["datasets"] for name in grid["algorithms"]}
    written({**grid, "iql": {"exceptions": {"walker2d-*": {"tau": 0.25}, "pen-human": {"beta": 1.0}}}})
    check()
    after = settings_files(folder)
    assert {name for name in before if before[name] != after[name]} == {"walker2d-medium/iql.json"}
    written({**grid, "datasets": [DATASET]})
    check()
    assert settings_files(folder).keys() == {f"{DATASET}/td3bc.json", f"{DATASET}/iql.json"}


def test_exceptions_override_the_section_which_overrides_policy(params):
    section = params.iql.model_copy(
        update={
            "exceptions": {
                "hopper-*": params.iql.exceptions["antmaze-*"].model_copy(update={"beta": 4.0}),
                "hopper-medium": params.iql.exceptions["pen-*"],
            }
        }
    )
    settings = algorithms.resolve(params.policy, section, "hopper-medium-v2")
    assert settings["steps"] == params.policy.steps  # from policy
    assert settings["lambda_return"] == 0.95  # from the section
    assert settings["beta"] == 4.0  # from the first exception
    assert settings["expectile"] == 0.8  # in both exceptions: the later one wins
    assert "exceptions" not in settings


@pytest.mark.parametrize("name", algorithms.names())
def test_the_settings_record_equals_the_imported_class(name):
    imported = import_module(f"stages.algorithms.{name}").Settings
    read = algorithms.settings_record(name)
    assert read.model_json_schema() == imported.model_json_schema()


NEW_ALGORITHM = """
import a_library_that_is_not_installed
from typing import Annotated
from pydantic import Field, model_validator
from stages.common.settings import Section

LARGEST = 4.0
Weight = Annotated[float, Field(gt=0, le=LARGEST)]


def halved(value):
    return value / 2


class Inner(Section):
    weight: Weight


class Settings(Section):
    weight: Weight
    inner: Inner

    @model_validator(mode="after")
    def inner_is_smaller(self):
        if self.inner.weight > halved(self.weight):
            raise ValueError(f"inner.weight = {self.inner.weight:g} exceeds weight / 2 = {halved(self.weight):g}")
        return self


class Learner(a_library_that_is_not_installed.Base):
    pass
"""


def test_a_new_algorithm_needs_only_its_file_and_its_section(written, tmp_path_factory, monkeypatch):
    """Constants, functions and records that `Settings` uses are executed with it, the rest of the file is not."""
    folder = shutil.copytree(algorithms.ALGORITHMS, tmp_path_factory.mktemp("stages") / "algorithms")
    (folder / "cloning.py").write_text(NEW_ALGORITHM)
    monkeypatch.setattr(algorithms, "ALGORITHMS", folder)
    monkeypatch.setattr(stage, "Params", runpy.run_path(schema.__file__)["Params"])
    section = {"weight": 2.0, "inner": {"weight": 1.0}, "batch": 64, "exceptions": {"walker2d-*": {"weight": 3.0}}}
    grid = {"datasets": [DATASET, "walker2d-medium"], "algorithms": ["bc", "cloning"], "cloning": section}
    project = written(grid)
    check()
    settings = {name: json.loads(content) for name, content in settings_files(project).items()}
    assert len(settings) == 4
    assert settings[f"{DATASET}/cloning.json"]["weight"] == 2
    assert settings["walker2d-medium/cloning.json"]["weight"] == 3
    assert settings[f"{DATASET}/cloning.json"]["batch"] == 64
    assert settings[f"{DATASET}/cloning.json"]["steps"] == settings[f"{DATASET}/bc.json"]["steps"]
    written({**grid, "cloning": {**section, "weight": 5.0}})
    assert refusal().startswith("params.yaml: cloning.weight = 5.0: ")
    written({**grid, "cloning": {**section, "weight": 1.0}})
    assert refusal() == "params.yaml: cloning.inner.weight = 1 exceeds weight / 2 = 0.5"


def test_an_algorithm_without_settings_is_rejected_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(algorithms, "ALGORITHMS", tmp_path)
    (tmp_path / "cloning.py").write_text("class Learner:\n    pass\n")
    with pytest.raises(SystemExit, match=r"cloning.py: defines no class Settings, .* section cloning of params.yaml$"):
        algorithms.settings_record("cloning")

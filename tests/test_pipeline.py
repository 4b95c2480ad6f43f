"""The pipeline as DVC sees it: declared code and parameters, the presets, and real runs of a tiny configuration."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
import yaml
from dvc.repo import Repo
from minari.data_collector.episode_buffer import EpisodeBuffer

from stages.common.environments import ENVIRONMENTS
from stages.common.schema import Params
from stages.common.simulator import make
from tests.conftest import ROOT

STAGES = list(Repo(str(ROOT)).index.stages)  # the grid, expanded by DVC itself


def module_file(name: str) -> Path | None:
    path = ROOT / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def closure(files: set[Path]) -> set[Path]:
    """The files, and all of the project's that they import, directly or not."""
    found, todo = set(), set(files)
    while todo:
        file = todo.pop()
        found.add(file)
        names = {
            ".".join(file.relative_to(ROOT).parts[:depth]) for depth in range(1, len(file.relative_to(ROOT).parts))
        }
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        todo |= {path for name in names if name.startswith("stages.") and (path := module_file(name))} - found
    return found


def entry(command: str) -> set[Path]:
    """The module that a stage runs, and the shelf's file that its command names."""
    module = command.split()[2]
    package = ROOT / module.replace(".", "/") / "__main__.py"
    files = {package if package.exists() else module_file(module)}
    if module == "stages.policy":
        algorithm = re.search(r"--algorithm (\S+)", command)[1]
        files |= {ROOT / f"stages/algorithms/{algorithm}.py", ROOT / "stages/algorithms/__init__.py"}
    return files


def reads(command: str) -> set[str]:
    """The root keys that the stage's code says it reads."""
    file = next(file for file in entry(command) if "READS" in file.read_text() or "__main__" in file.name)
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "READS":
            algorithm = re.search(r"--algorithm (\S+)", command)
            return {key.format(algorithm=algorithm and algorithm[1]) for key in ast.literal_eval(node.value)}
    return set()


def test_every_stage_declares_the_code_that_it_runs():
    assert len(STAGES) >= 30
    undeclared = {
        (stage.addressing, str(file.relative_to(ROOT)))
        for stage in STAGES
        for file in closure(entry(stage.cmd))
        if not {file, *file.parents} & {ROOT / dep.def_path for dep in stage.deps}
        if file != ROOT / "stages/__init__.py"  # a package's docstring and one setting of threads
    }
    assert not undeclared


def test_every_stage_declares_the_parameters_that_it_reads():
    for stage in STAGES:
        declared = {key for dep in stage.deps for key in getattr(dep, "params", None) or ()}
        if "params.yaml" in {dep.def_path for dep in stage.deps if not getattr(dep, "params", None)}:
            assert stage.name in ("check", "report")  # these read all of it, and depend on the file itself
            assert not declared
        else:
            assert declared == reads(stage.cmd), stage.addressing


def test_code_sees_only_the_parameters_that_its_stage_declares():
    from stages.common.params import load

    seen = load("horizon", "evaluate.every")
    assert vars(seen).keys() == {"horizon", "evaluate"}
    assert vars(seen.evaluate).keys() == {"every"}


def test_rooms_import_downwards_only():
    rooms = ["common", "data", "diffusion", "idm", "augment", "policy", "algorithms", "evaluate", "fidelity"]
    rooms += ["baselines", "report"]
    for number, room in enumerate(rooms):
        for file in (ROOT / "stages" / room).rglob("*.py"):
            for found, inner in re.findall(r"^\s*(?:from|import) stages\.(\w+)(?:\.(\w+))?", file.read_text(), re.M):
                assert rooms.index(found) <= number, f"{file} imports {found}"
                assert room != "baselines" or found != "baselines" or inner == file.parent.name, f"{file}: {inner}"


@pytest.mark.parametrize("path", ["params.yaml", "presets/paper.yaml"])
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


def test_presets_have_the_same_keys():
    def keys(node, prefix=""):
        for key, value in node.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from keys(value, f"{prefix}{key}.")

    small, paper = (yaml.safe_load((ROOT / path).read_text()) for path in ("params.yaml", "presets/paper.yaml"))
    assert list(keys(small)) == list(keys(paper))
    assert len(paper["datasets"]) == 9


# Real runs, in a copy of the project with a tiny params.yaml.


def run(folder: Path, *command: str, check: bool = True, **more: str) -> subprocess.CompletedProcess:
    """A command there; `more` environment variables."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site-cache"),
        **more,
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def restore(project: Path):
    """The committed state; DVC takes outputs away that a failed experiment's grid did not name."""
    (project / "params.yaml").unlink()  # git may take a change of the same size, a moment ago, for none
    run(project, "git", "checkout", "-q", ".")
    run(
        project, "dvc", "checkout", "-q", "dvc.yaml"
    )  # without it, DVC misses what baselines outside the grid never made


def selected(folder: Path) -> set[str]:
    """The stages that the grid needs: the top level's, and a baseline's only where its method is in the grid."""
    methods = yaml.safe_load((folder / "params.yaml").read_text())["methods"]
    stages = {stage.name: Path(stage.path_in_repo) for stage in Repo(str(folder)).index.stages}
    return {name for name, file in stages.items() if file == Path("dvc.yaml") or file.parent.name in methods}


def executed(done: subprocess.CompletedProcess) -> set[str]:
    return set(re.findall(r"Running stage '(?:\S+/dvc\.yaml:)?([^']+)'", done.stdout))


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_params) -> Path:
    """A clone of the work tree, committed, with tiny parameters and every stage run once."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    listed = run(ROOT, "git", "ls-files", "-co", "--exclude-standard").stdout.split("\n")
    for name in filter(None, listed):
        made = name.startswith(("results/", "reports/", "dvc.lock")) and name != "results/ablations/README.md"
        if (ROOT / name).is_file() and not made:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params, sort_keys=False))
    run(folder, "git", "init", "-q")
    for key in ("name", "email"):  # experiments are commits
        run(folder, "git", "config", f"user.{key}", "tests")
    assert executed(run(folder, "dvc", "repro")) == selected(folder)
    run(folder, "git", "add", "-A")
    run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "tiny, with its results")
    return folder


def digest(folder: Path) -> dict[str, bytes]:
    files = [file for place in ("results", "reports") for file in (folder / place).rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_a_run_leaves_scores_tables_and_a_page(project):
    rows = (project / "results/scores.csv").read_text().splitlines()
    assert rows[0] == "dataset,method,algorithm,seed,generator,episode,return,score"
    assert len(rows) - 1 == 2 * 3 * 2 * 2  # methods, algorithms, seeds, episodes
    page = (project / "reports/index.html").read_text()
    assert all(word in page for word in ("hopper-medium-replay", "TD3+BC", "IQL", "BC", "DAWM", "horizon"))
    assert "hopper-medium-replay" in (project / "reports/tables/scores.tex").read_text()


def test_a_second_run_does_nothing(project):
    assert not executed(run(project, "dvc", "repro"))


def test_a_fresh_run_gives_the_same_bytes(project, tmp_path):
    before = digest(project)
    clone = tmp_path / "again"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    (clone / "dvc.lock").unlink()  # with it, cells whose policies come out alike would keep the recorded scores
    for name in before:
        if not name.startswith("results/ablations/"):
            (clone / name).unlink(missing_ok=True)  # git has not all of them
    assert executed(run(clone, "dvc", "repro")) == selected(clone)
    after = digest(clone)
    assert before.keys() == after.keys()
    differ = {name for name in before if before[name] != after[name]}
    assert not [name for name in differ if not re.match(r"reports/(index\.html|\w+/costs\.\w+)$", name)]
    for folder in (project, clone):  # how long it took, and with which revision, differs, and nothing else
        run(folder, sys.executable, "-m", "stages.report", DVC_ROOT=str(tmp_path / "nowhere"))
    assert digest(project) == digest(clone)
    restore(project)


def test_another_horizon_retrains_what_depends_on_it_and_no_real_cell(project):
    before = digest(project)
    done = run(project, "dvc", "exp", "run", "-S", "horizon=7")
    ran = executed(done)
    cells = {
        f"{phase}@hopper-medium-replay-dawm-{algorithm}"
        for phase in ("policy", "evaluate")
        for algorithm in ("td3bc", "iql", "bc")
    }
    others = {f"{phase}@hopper-medium-replay" for phase in ("diffusion", "augment", "steering", "collect")}
    assert ran == {"check", "report", "fidelity@hopper-medium-replay-dawm"} | cells | others
    after = digest(project)
    changed = {name for name in before if before[name] != after[name]}
    assert not [name for name in changed if "/real-" in name]
    assert "results/hopper-medium-replay/dawm-td3bc.json" in changed
    difference = run(project, "dvc", "metrics", "diff", "--json").stdout
    assert '"dawm.' in difference
    assert '"real.' not in difference
    columns = run(project, "dvc", "exp", "show", "--csv", "--only-changed").stdout.splitlines()[0].split(",")
    shown = {name for name in columns if not name.startswith(("data/", "stages/", "models/", "results/", "reports/"))}
    assert "horizon" in shown
    assert {name.partition(".")[0] for name in shown} & {"real", "dawm"} == {"dawm"}
    assert "horizon: 7" in (project / "params.yaml").read_text()
    restore(project)
    assert digest(project) == before


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("horizon=0", "params.yaml: horizon = 0: "),
        ("horizon=1001", "params.yaml: horizon = 1001: "),
        ("real_fraction=1.5", "params.yaml: real_fraction = 1.5: "),
        ("policy.steps=-1", "params.yaml: policy.steps = -1: "),
        (
            "synther.denoiser.steps=many",
            "params.yaml: synther.denoiser.steps = 'many': should be a whole number above 0, or ",
        ),
        (
            "datasets=[hopper-easy]",
            "params.yaml: datasets = ['hopper-easy']: 'hopper-easy' is not known; allowed ",
        ),
        ("methods=[real,magic]", "params.yaml: methods.1 = 'magic': is not known; allowed: real, dawm"),
        ("algorithms=[sac]", "params.yaml: algorithms.0 = 'sac': is not known; allowed: bc, bc10, iql, rebrac, td3bc"),
    ],
)
def test_bad_parameters_are_refused_before_any_work(project, setting, line):
    done = run(project, "dvc", "exp", "run", "-S", setting, check=False)
    restore(project)
    assert done.returncode != 0
    assert executed(done) == {"check"}, done.stdout + done.stderr
    told = [row for row in (done.stdout + done.stderr).splitlines() if row.startswith("params.yaml: ")]
    assert len(told) == 1
    assert told[0].startswith(line)


def test_a_killed_stage_leaves_nothing_that_the_next_run_trusts(project):
    target, model = (
        "policy@hopper-medium-replay-dawm-td3bc",
        project / "models/hopper-medium-replay/dawm-td3bc.safetensors",
    )
    before = model.read_bytes()
    long = (project / "params.yaml").read_text().replace("every: 20", "every: 1000")
    (project / "params.yaml").write_text(re.sub(r"(policy:\n(?:  .*\n)*?  steps: )\d+", r"\g<1>100000000", long))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = subprocess.Popen(
        ["dvc", "repro", "-s", target], cwd=project, env=environment, start_new_session=True, stdout=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while model.exists() and time.monotonic() < deadline:  # DVC removes the old output before it starts the stage
        time.sleep(0.1)
    time.sleep(5)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not model.exists()
    assert not list(model.parent.glob(".*.tmp"))
    run(project, "git", "checkout", "-q", ".")
    run(project, "dvc", "repro", target)
    assert model.read_bytes() == before


def test_an_ablation_runs_values_elsewhere_resumes_and_leaves_the_workspace_alone(project):
    (project / "params.yaml").open("a").write("# mine, not committed\n")
    before, status = digest(project), run(project, "git", "status", "--porcelain").stdout
    command = (sys.executable, "-m", "ablations", "horizon")
    run(project, *command, "2", "0", "--set", "algorithms=[bc]", check=False)  # 0 is refused, 2 stays
    again = run(project, *command, "2", "4", "--set", "algorithms=[bc]")
    assert not [stage for stage in executed(again) if stage.startswith(("data", "idm"))]  # they do not depend on it
    ran = re.findall(r"Running stage '([^']+)'", again.stdout.partition("ablation: horizon = 4")[0])
    assert len([stage for stage in executed(again) if stage.startswith("diffusion@")]) == 1, ran
    table = (project / "results/ablations/horizon.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in table[1:]] == ["2", "2", "4", "4"]  # real and DAWM
    assert (project / "reports/figures/ablation-horizon.png").exists()
    text = (project / "reports/tables/ablation-horizon.md").read_text()
    assert "with algorithms=[bc]" in text
    assert "– |" not in text.partition("DAWM")[2].partition("Scores:")[0]  # every cost was seen
    run(project, "git", "clean", "-qfd", "results", "reports")
    assert digest(project) == before
    assert run(project, "git", "status", "--porcelain").stdout == status
    restore(project)


METHODS = ("real", "dawm", "dwm", "joint", "onestep", "synther", "copy", "oracle", "shuffled")


def test_all_baselines_and_controls_go_all_the_way(project):
    settings = ("-S", f"methods=[{','.join(METHODS)}]", "-S", "algorithms=[iql]")
    ran = executed(run(project, "dvc", "exp", "run", *settings))
    assert ran >= {name for name in selected(project) if name.startswith(METHODS[2:])}
    assert not ran & {"data@hopper-medium-replay", "diffusion@hopper-medium-replay", "augment@hopper-medium-replay"}
    records = {
        method: json.loads((project / f"results/hopper-medium-replay/fidelity-{method}.json").read_text())
        for method in METHODS
    }
    physics = {method: record["physics"] for method, record in records.items()}
    errors = {method: found and found["overall"]["median"] for method, found in physics.items()}
    assert errors["dwm"] is None  # the simulator takes single steps
    assert max(errors["copy"], errors["oracle"]) < 1e-6 < min(errors[name] for name in ("dawm", "joint", "synther"))
    costs = {method: record["cost"] for method, record in records.items()}
    assert costs["real"] is None
    assert {name: cost["transitions"] for name, cost in costs.items() if cost and name not in ("dwm", "oracle")} == (
        dict.fromkeys(("dawm", "joint", "onestep", "synther", "copy", "shuffled"), 500)
    )
    assert costs["dwm"]["counts"]["windows"] == 4 * 2000
    assert costs["dwm"]["trained"] == costs["dawm"]["trained"][:1]
    assert costs["oracle"]["source"] == costs["shuffled"]["source"] == costs["dawm"]["sampled"]
    table = (project / "reports/tables/costs.md").read_text()
    assert len(table.partition("\n\n")[0].splitlines()) == 2 + len(METHODS) - 1
    assert "| – |" not in table  # every time was seen
    page = (project / "reports/index.html").read_text()
    assert all(word in page for word in ("SynthER", "DWM", "Joint diffusion", "One-step model", "Oracle (control)"))
    restore(project)


def test_a_baseline_is_added_by_a_folder_and_its_name(project):
    """The example of stages/baselines/README.md, as it stands there."""
    text = (ROOT / "stages/baselines/README.md").read_text()
    files = re.findall(r"```(?:python|yaml)\n(.*?)```", text, re.DOTALL)
    folder = project / "stages/baselines/noisy"
    folder.mkdir()
    for name, content in zip(("__init__.py", "__main__.py", "dvc.yaml"), files, strict=True):
        (folder / name).write_text(content)
    done = run(project, "dvc", "exp", "run", "-S", "methods=[real,noisy]", "-S", "algorithms=[bc]")
    dataset = "hopper-medium-replay"
    own = {f"{stage}@{dataset}-noisy-bc" for stage in ("policy", "evaluate")} | {f"fidelity@{dataset}-noisy"}
    assert executed(done) == {"check", f"noisy@{dataset}", *own, f"collect@{dataset}", "report"}
    record = json.loads((project / f"results/{dataset}/fidelity-noisy.json").read_text())
    assert 0.05 < record["physics"]["overall"]["median"] < 0.1  # of |N(0, 0.1)|: 0.067
    assert "| Noisy |" in (project / "reports/tables/scores.md").read_text()
    shutil.rmtree(folder)
    restore(project)


def random_episodes(env, episodes: int, steps: int):
    """Yields (observations, actions, rewards) of random actions, with one observation more than steps."""
    env.action_space.seed(0)
    for seed in range(episodes):
        states, actions, rewards = [env.reset(seed=seed)[0]], [], []
        for _ in range(steps):
            actions.append(env.action_space.sample())
            state, reward, *_ = env.step(actions[-1])
            states.append(state)
            rewards.append(reward)
        yield states, np.array(actions), np.array(rewards)


def test_d4rl_s_files_go_all_the_way(project, tmp_path):
    parts = list(random_episodes(make(ENVIRONMENTS["maze2d-umaze"]), 10, 150))
    with h5py.File(tmp_path / "maze2d-umaze-sparse-v1.hdf5", "w") as file:
        file["observations"] = np.concatenate([states[:-1] for states, _, _ in parts])
        file["actions"] = np.concatenate([actions for _, actions, _ in parts])
        file["rewards"] = np.concatenate([rewards for _, _, rewards in parts])
        file["terminals"] = np.zeros(1500, dtype=bool)
        file["timeouts"] = np.arange(1500) % 150 == 149
    settings = ("source=d4rl", f"d4rl.directory={tmp_path}", "datasets=[maze2d-umaze-v1]", "algorithms=[bc10]")
    run(project, "dvc", "exp", "run", *(part for setting in settings for part in ("-S", setting)))
    facts = json.loads((project / "results/maze2d-umaze-v1/data.json").read_text())
    cell = json.loads((project / "results/maze2d-umaze-v1/dawm-bc10.json").read_text())
    table = (project / "reports/tables/scores.md").read_text()
    assert facts["transitions"] == 1490  # without the steps at which time ran out
    assert facts["sha256"] in (tmp_path / "maze2d-umaze-sparse-v1.hdf5.sha256").read_text()
    assert cell["reference"] == [23.85, 161.86]
    assert [length for seed in cell["seeds"] for length in seed["lengths"]] == [300] * 4
    assert "D4RL's files." in table
    assert (project / "reports/data/maze2d-umaze-v1.md").exists()
    restore(project)


def test_a_minari_data_set_goes_all_the_way_and_out_again(project, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    env = gym.make("gymnasium_robotics:PointMaze_UMaze-v3")
    buffers = [
        EpisodeBuffer(
            observations={key: np.array([state[key] for state in states]) for key in states[0]},
            actions=actions,
            rewards=rewards,
            terminations=np.zeros(len(rewards), dtype=bool),
            truncations=np.arange(len(rewards)) == len(rewards) - 1,
            infos={},
        )
        for states, actions, rewards in random_episodes(env, 10, 150)
    ]
    minari.create_dataset_from_buffers("test/pointmaze-v0", buffers, env=env)
    settings = ("source=minari", "datasets=[test/pointmaze-v0]", "algorithms=[rebrac]")
    run(project, "dvc", "exp", "run", *(part for setting in settings for part in ("-S", setting)))
    cell = json.loads((project / "results/test/pointmaze-v0/dawm-rebrac.json").read_text())
    table = (project / "reports/tables/scores.md").read_text()
    assert cell["environment"] == "PointMaze_UMaze-v3"
    assert cell["reference"] is None
    assert all(seed["scores"] == seed["returns"] for seed in cell["seeds"])
    assert "test/pointmaze-v0: plain returns" in table
    assert "Minari data sets, not D4RL's files." in table
    assert "normalised" not in table.replace("no normalised score", "")

    command = ("--dataset", "test/pointmaze-v0", "--method", "dawm", "--id", "test/dawm-v0")
    run(project, sys.executable, "-m", "stages.data.export", *command)
    exported = minari.load_dataset("test/dawm-v0")
    made = exported.storage.metadata["provenance"]
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]["augment@test/pointmaze-v0"]
    assert made["dvc_revision"] in {out["md5"] for out in lock["outs"]}
    assert made["git_revision"] == run(project, "git", "rev-parse", "HEAD").stdout.strip()
    assert (made["method"], made["source"], made["parameters"]["horizon"]) == ("dawm", "minari", 3)
    assert exported.total_steps == 500
    recovered, _ = exported.recover_environment().reset(seed=0)
    assert exported.observation_space.contains(recovered.astype(np.float32))
    restore(project)


def test_the_paper_preset_s_whole_grid_is_planned(project):
    shutil.copy(ROOT / "presets/paper.yaml", project / "params.yaml")
    done = run(project, "dvc", "repro", "--dry", "--force")
    restore(project)
    planned = executed(done)
    assert len([name for name in planned if name.startswith("evaluate@")]) == 9 * 7 * 5
    assert {
        "synther-train@hopper-medium-v2",
        "dwm@hopper-medium-v2",
        "diffusion@walker2d-medium-expert-v2",
        "policy@halfcheetah-medium-v2-dawm-iql",
        "report",
    } <= planned

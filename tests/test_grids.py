"""Other grids, run whole in this process in the order of the DAG: every baseline and control, D4RL's files, Minari."""

import json
import sys

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.data_collector.episode_buffer import EpisodeBuffer

from stages.data.export import main as export
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.simulator import make
from tests.pipelines import DATASET, copy_project, names, run, run_in_process

GENERATED = ("dwm", "joint", "gta", "pgd", "bidirectional", "onestep", "reverse", "synther")
METHODS = ("real", "dawm", "corrected", *GENERATED, "copy", "oracle", "shuffled")


pytestmark = pytest.mark.slow


@pytest.fixture
def grid(tmp_path, tiny_params, monkeypatch):
    """Runs the tiny parameters with some changed, and draws figures if asked; returns the folder."""

    def run_grid(figures: bool = False, **changes):
        if not figures:
            monkeypatch.setattr("stages.report.tables.__main__.draw", lambda *_: None)
        folder = tmp_path / "project"
        copy_project(folder, {**tiny_params, **changes})
        run_in_process(folder)
        return folder

    return run_grid


def test_all_baselines_and_controls_run_through_the_pipeline(grid):
    project = grid(
        figures=True,
        methods=list(METHODS),
        algorithms=["iql"],
        pgd={"algorithm": "iql", "guidance": 1, "real_fraction": 0.5},
    )
    assert {f"{method}@{DATASET}" for method in METHODS[2:]} <= names(project)
    records = {
        method: json.loads((project / f"results/{DATASET}/fidelity-{method}.json").read_text()) for method in METHODS
    }
    physics = {method: record["physics"] for method, record in records.items()}
    errors = {method: record and record["overall"]["median"] for method, record in physics.items()}
    assert errors["dwm"] is None  # the simulator takes single steps
    assert max(errors["copy"], errors["oracle"]) < 1e-6 < min(errors[name] for name in ("dawm", "joint", "synther"))
    costs = {method: record["cost"] for method, record in records.items()}
    assert costs["real"] is None
    assert {
        name: cost["transitions"] for name, cost in costs.items() if cost and name not in ("dwm", "oracle", "corrected")
    } == (dict.fromkeys(("dawm", *GENERATED[1:], "copy", "shuffled"), 500))
    assert costs["gta"]["trained"] == costs["joint"]["trained"]
    assert costs["pgd"]["trained"][0] == costs["joint"]["trained"][0]
    assert costs["bidirectional"]["trained"][::2] == costs["dawm"]["trained"]
    assert costs["dwm"]["counts"]["windows"] == 4 * 2000
    assert costs["dwm"]["trained"] == costs["dawm"]["trained"][:1]
    derived = [costs[name]["source"] for name in ("oracle", "shuffled", "corrected")]
    assert derived == [costs["dawm"]["sampled"]] * 3
    assert costs["corrected"]["trained"][:2] == costs["dawm"]["trained"]
    assert 400 < costs["corrected"]["transitions"] <= 500  # without the implausible ones
    table = (project / "reports/tables/costs.md").read_text()
    assert len(table.partition("\n\n")[0].splitlines()) == 2 + len(METHODS) - 1
    assert "| – |" not in table  # every time was recorded
    page = (project / "reports/index.html").read_text()
    assert all(word in page for word in ("SynthER", "DWM", "Joint diffusion", "One-step model", "Oracle (control)"))


def test_algorithms_that_take_real_data_alone_are_not_applicable_to_synthetic_transitions(grid):
    algorithms = ("td3bc", "rsp", "mopo", "mobile")
    project = grid(algorithms=list(algorithms))
    cells = {
        (method, name): json.loads((project / f"results/{DATASET}/{method}-{name}.json").read_text())
        for method in ("real", "dawm")
        for name in algorithms
    }
    assert {names for names, cell in cells.items() if "absent" in cell} == {("dawm", name) for name in algorithms[1:]}
    assert [len(cell["seeds"]) for cell in cells.values() if "seeds" in cell] == [2] * 5
    acting = (project / "reports/tables/acting.md").read_text()
    assert f"| {DATASET} | Network passes for one action | 1 | 2 | 1 | 1 |" in acting
    assert "–" not in acting  # every time was recorded
    table = (project / "reports/tables/scores.md").read_text()
    assert table.count(" n/a |") == 3
    assert "RSP with DAWM: the algorithm learns from whole episodes, which synthetic transitions do not form." in table
    assert (
        "MOPO and MOBILE with DAWM: the algorithm imagines its own transitions, in a model of the real data." in table
    )


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


def test_d4rl_s_files_run_through_the_pipeline(grid, tmp_path):
    parts = list(random_episodes(make(ENVIRONMENTS["maze2d-umaze"]), 10, 150))
    with h5py.File(tmp_path / "maze2d-umaze-sparse-v1.hdf5", "w") as file:
        file["observations"] = np.concatenate([states[:-1] for states, _, _ in parts])
        file["actions"] = np.concatenate([actions for _, actions, _ in parts])
        file["rewards"] = np.concatenate([rewards for _, _, rewards in parts])
        file["terminals"] = np.zeros(1500, dtype=bool)
        file["timeouts"] = np.arange(1500) % 150 == 149
    d4rl = {"directory": str(tmp_path)}
    project = grid(source="d4rl", d4rl=d4rl, datasets=["maze2d-umaze-v1"], algorithms=["bc10"])
    facts = json.loads((project / "results/maze2d-umaze-v1/data.json").read_text())
    cell = json.loads((project / "results/maze2d-umaze-v1/dawm-bc10.json").read_text())
    table = (project / "reports/tables/scores.md").read_text()
    assert facts["transitions"] == 1490  # without the steps at which time ran out
    assert facts["sha256"] in (tmp_path / "maze2d-umaze-sparse-v1.hdf5.sha256").read_text()
    assert cell["reference"] == [23.85, 161.86]
    assert [length for seed in cell["seeds"] for length in seed["lengths"]] == [300] * 4
    assert "D4RL's files." in table
    assert (project / "reports/data/maze2d-umaze-v1.md").exists()


LOCK = """
schema: '2.0'
stages:
  augment@test/pointmaze-v0:
    outs:
    - path: data/test/pointmaze-v0/dawm.npz
      md5: 0123456789abcdef
"""


def test_a_minari_data_set_runs_through_the_pipeline_and_is_exported(grid, tmp_path, monkeypatch):
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
    project = grid(figures=True, source="minari", datasets=["test/pointmaze-v0"], algorithms=["rebrac"])
    cell = json.loads((project / "results/test/pointmaze-v0/dawm-rebrac.json").read_text())
    table = (project / "reports/tables/scores.md").read_text()
    assert cell["environment"] == "PointMaze_UMaze-v3"
    assert cell["reference"] is None
    assert all(seed["scores"] == seed["returns"] for seed in cell["seeds"])
    assert "test/pointmaze-v0: plain returns" in table
    assert "Minari data sets, not D4RL's files." in table
    assert "normalised" not in table.replace("no normalised score", "")

    command = ("--dataset", "test/pointmaze-v0", "--method", "dawm", "--id", "test/dawm-v0")
    run(project, "git", "add", "-A")
    run(project, "git", "commit", "-qm", "results")
    (project / "dvc.lock").write_text(LOCK)
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, "argv", ["export", *command])
    export()
    exported = minari.load_dataset("test/dawm-v0")
    provenance = exported.storage.metadata["provenance"]
    assert provenance["dvc_revision"] == "0123456789abcdef"
    assert provenance["git_revision"] == run(project, "git", "rev-parse", "HEAD").stdout.strip()
    assert (provenance["method"], provenance["source"], provenance["parameters"]["horizon"]) == ("dawm", "minari", 3)
    assert exported.total_steps == 500
    recovered, _ = exported.recover_environment().reset(seed=0)
    assert exported.observation_space.contains(recovered.astype(np.float32))

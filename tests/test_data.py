"""Local collection in the real simulator, the transition record, tasks, environments and the simulator's version."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
from pydantic import ValidationError

from stages.common.timing import digest
from stages.common.transitions import Transitions
from stages.data import local
from stages.data.__main__ import check_environment, summary, whole_episodes, write
from stages.data.recorded import DISCOUNT, as_recorded, recorded
from stages.data.settings import Local
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.simulator import make
from stages.tasks.tasks import D4RL_TRANSITIONS, HEALTHY, TIERS, Task, check_dataset, d4rl_files, gym_mujoco
from tests.conftest import ROOT

DATASET = "hopper-medium-replay"


@pytest.fixture(scope="module")
def collected():
    return local.collect(DATASET, 1003, 0.99, 1)


@pytest.mark.parametrize(
    ("task", "expected", "steps"),
    [("hopper", 19.455434, 26), ("walker2d", 37.087680, 63), ("halfcheetah", -278.750902, 1000)],
)
def test_the_simulator_reproduces_recorded_returns(task, expected, steps):
    """Returns of random actions, recorded with mujoco 3.3.7; with another engine, no score would be comparable."""
    env, rng, total = make(ENVIRONMENTS[task]), np.random.default_rng(0), 0.0
    env.reset(seed=0)
    for step in range(1, 1001):  # noqa: B007
        _, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        total += reward
        if terminated or truncated:
            break
    assert step == steps
    assert total == pytest.approx(expected, abs=1e-5)


def test_collection_repeats_byte_for_byte(collected, tmp_path):
    collected.save(tmp_path / "a.npz")
    local.collect(DATASET, 1003, 0.99, 1).save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_rows_are_consecutive_within_episodes_and_each_end_is_a_terminal_or_a_timeout(collected):
    assert len(collected) == 1003
    last = np.append(np.diff(collected.episode) != 0, True)
    np.testing.assert_array_equal(collected.next_observations[:-1][~last[:-1]], collected.observations[1:][~last[:-1]])
    terminal = collected.discounts == 0
    np.testing.assert_array_equal(terminal | collected.timeouts, last)
    assert not (terminal & collected.timeouts).any()
    healthy = gym_mujoco("hopper").healthy(collected.next_observations)
    np.testing.assert_array_equal(~healthy, terminal)  # `healthy` is the simulator's rule
    assert set(np.unique(collected.discounts)) == {np.float32(0), np.float32(0.99)}


SMALL = [f"{task}-medium-replay" for task in ("hopper", "walker2d", "halfcheetah")]
COLLECT = f"""
import sys
from stages.data.recorded import as_recorded
from stages.data.local import collect
for dataset in {SMALL}:
    collect(dataset, 3000, 0.99, 1).save("real.npz")
    assert as_recorded("real.npz", dataset, 3000, 0.99), dataset
"""
OTHER_PROCESSORS = {  # libraries that are told to use none of the instructions that older processors lack
    "this one": {},
    "OpenBLAS, SSE3": {"OPENBLAS_CORETYPE": "Prescott"},
    "OpenBLAS, AVX": {"OPENBLAS_CORETYPE": "Sandybridge"},
    "NumPy, SSE4": {"NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__)},
}


same_library = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="data are recorded for x86-64 Linux"
)


@same_library
@pytest.mark.parametrize("processor", OTHER_PROCESSORS)
def test_every_processor_collects_the_recorded_bytes(processor, tmp_path):
    """All snapshots of all replay data sets; float32 actors gave each of the four other data."""
    changed = {**os.environ, "PYTHONPATH": str(ROOT), **OTHER_PROCESSORS[processor]}
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=tmp_path, env=changed, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@same_library
def test_a_data_set_of_other_bytes_is_told_from_the_recorded_one(tmp_path):
    path = tmp_path / "real.npz"
    local.collect(SMALL[0], 3000, DISCOUNT, 1).save(path)
    assert as_recorded(path, SMALL[0], 3000, DISCOUNT) is True
    assert as_recorded(path, SMALL[1], 3000, DISCOUNT) is False
    assert as_recorded(path, SMALL[0], 2999, DISCOUNT) is None
    assert as_recorded(path, SMALL[0], 3000, 0.995) is None
    assert {(f"{task}-{tier}", 100_000) for task in ("hopper", "walker2d", "halfcheetah") for tier in TIERS} <= {
        *recorded()
    }
    assert len(set(recorded().values())) == len(recorded())


def test_the_data_stage_says_whether_local_data_are_as_recorded(collected, params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "collect", lambda *_: collected)
    collected.save("same.npz")
    collected_md5, said = digest("same.npz"), []
    for md5 in ("0" * 32, collected_md5, None):
        monkeypatch.setattr("stages.data.recorded.recorded", lambda md5=md5: {(DATASET, len(collected)): md5})
        write(DATASET, params)
        said.append(json.loads((tmp_path / f"results/{DATASET}/data.json").read_text())["as_recorded"])
    assert said == [False, True, None]


def test_actions_follow_the_behaviour_policy_s_distribution_on_a_grid():
    behaviour = local.Behaviour(local.behaviours("hopper", "medium")[0])
    observation = np.array([1.25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0])
    hidden = observation
    for name in ("hidden0", "hidden1"):
        hidden = np.maximum(hidden @ behaviour.weights[f"{name}.weight"] + behaviour.weights[f"{name}.bias"], 0)
    mean = hidden @ behaviour.weights["mean.weight"] + behaviour.weights["mean.bias"]
    std = np.exp(hidden @ behaviour.weights["log_std.weight"] + behaviour.weights["log_std.bias"])
    noise = np.random.default_rng(0).standard_normal((4000, 3))
    drawn = np.array([behaviour.act(observation, row) for row in noise])
    assert drawn.dtype == np.float32
    assert (drawn * 2.0**16 % 1 == 0).all()
    assert np.abs(drawn - np.tanh(mean + std * noise)).max() <= 2.0**-17 + 1e-12


def test_a_data_set_without_behaviour_policies_is_rejected_with_the_allowed_names(monkeypatch, tmp_path):
    (tmp_path / "hopper").mkdir()
    (tmp_path / "hopper/index.json").write_text('{"tiers": {"medium": ["1.safetensors"]}}')
    monkeypatch.setattr(local, "BEHAVIOURS", tmp_path)
    with pytest.raises(SystemExit, match=r"no behaviours .* walker2d-expert; allowed: hopper-random, hopper-medium$"):
        local.collect("walker2d-expert", 100, 0.99, 1)


@pytest.mark.parametrize("dataset", ["hopper-medium-replay", "walker2d-random", "halfcheetah-medium-expert"])
def test_the_number_of_processes_changes_no_byte(dataset):
    one, three = (local.collect(dataset, 1203, 0.99, processes).arrays() for processes in (1, 3))
    assert one.keys() == three.keys()
    assert all(one[name].tobytes() == three[name].tobytes() for name in one)


@pytest.mark.parametrize("task", ["hopper", "walker2d", "halfcheetah"])
def test_every_tier_of_every_robot_is_shipped(task):
    snapshots = {tier: local.behaviours(task, tier) for tier in TIERS}
    assert snapshots["random"] == [None]
    assert snapshots["medium-expert"] == snapshots["medium"] + snapshots["expert"]
    (medium,), replay = snapshots["medium"], snapshots["medium-replay"]
    assert len(replay) == 20
    assert [int(path.stem) for path in replay] == sorted({int(path.stem) for path in replay})
    assert {path.parent for path in replay} == {medium.parent}
    assert int(replay[-3].stem) <= int(medium.stem) <= int(replay[-1].stem) or task == "hopper"  # see select.py
    env = make(ENVIRONMENTS[task])
    for tier in TIERS[1:]:
        for path in snapshots[tier]:
            behaviour = local.Behaviour(path)
            action = behaviour.act(np.zeros(env.observation_space.shape), np.zeros(env.action_space.shape))
            assert np.isfinite(action).all()


@pytest.mark.parametrize("task", ["hopper", "walker2d", "halfcheetah"])
def test_shipped_snapshots_are_exactly_those_of_the_tiers_with_their_task_s_layers(task):
    """Two hidden layers of 128 units, 3 MB for each task; the tiers of index.json name every snapshot in the folder."""
    folder, env = local.BEHAVIOURS / task, make(ENVIRONMENTS[task])
    state, action = env.observation_space.shape[0], env.action_space.shape[0]
    layers = {"hidden0": (state, 128), "hidden1": (128, 128), "mean": (128, action), "log_std": (128, action)}
    tiers = json.loads((folder / "index.json").read_text())["tiers"]
    named = {folder / name for names in tiers.values() for name in names}
    assert {"medium", "medium-replay", "expert"} <= tiers.keys()
    assert named == set(folder.rglob("*.safetensors"))
    for path in named:
        weights = local.Behaviour(path).weights
        shapes = {f"{name}.weight": shape for name, shape in layers.items()}
        shapes |= {f"{name}.bias": shape[1:] for name, shape in layers.items()}
        assert {name: array.shape for name, array in weights.items()} == shapes
        assert all(np.isfinite(array).all() for array in weights.values())
    assert sum(path.stat().st_size for path in named) < 3e6


def test_a_data_set_of_a_single_episode_is_rejected(collected, params, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    episodes = {"hopper-medium": 2, "hopper-expert": 1}
    monkeypatch.setattr(local, "collect", lambda dataset, *_: collected.rows(collected.episode < episodes[dataset]))
    write("hopper-medium", params)
    with pytest.raises(SystemExit, match=r"^hopper-expert: has a single episode; at least two are needed, [^\n]+$"):
        write("hopper-expert", params)
    assert (tmp_path / "data/hopper-medium/real.npz").exists()
    assert not (tmp_path / "data/hopper-expert").exists()


@pytest.mark.parametrize(("count", "timeouts"), [(5, [4]), (6, []), (7, [6])])
def test_a_step_that_ends_the_task_is_no_timeout_even_if_time_runs_out_or_the_data_end_there(
    monkeypatch, count, timeouts
):
    """In the stub environment every third step does both."""
    space = gym.spaces.Box(-1, 1, (1,))

    class Stub(SimpleNamespace):
        def reset(self, seed):
            self.step_of_episode = 0
            return np.zeros(2), {}

        def step(self, action):
            self.step_of_episode += 1
            over = self.step_of_episode == 3
            return np.zeros(2), 1.0, over, over, {}

    monkeypatch.setattr(local, "make", lambda environment: Stub(action_space=space, close=lambda: None))
    rows = list(local.rollouts({}, local.Uniform(), count, 0.9, np.random.default_rng(0)))
    assert [k for k, row in enumerate(rows) if row[4] == 0] == list(range(2, count, 3))
    assert [k for k, row in enumerate(rows) if row[5]] == timeouts


def test_shares_are_whole_numbers_that_differ_by_one_at_most():
    assert local.shares(10, 3) == [4, 3, 3]
    assert local.shares(2, 3) == [1, 1]
    assert sum(local.shares(100_003, 20)) == 100_003


def test_every_tier_has_d4rl_s_size():
    assert set(D4RL_TRANSITIONS) == set(TIERS)


@pytest.mark.parametrize(
    ("written", "count"), [(7, 7), (1, 1), ("d4rl", 302_000), (0.15, 45_300), (0.05, 15_100), (1e-9, 1)]
)
def test_the_size_of_a_local_data_set_is_a_number_or_a_share_of_d4rl_s(written, count):
    assert Local(transitions=written).count("walker2d-medium-replay") == count
    assert type(Local(transitions=written).count("walker2d-medium-replay")) is int


@pytest.mark.parametrize("written", [0, 0.0, 1.0, 1.5, -0.1, True, "half"])
def test_other_sizes_of_local_data_sets_are_refused(written):
    with pytest.raises(ValidationError):
        Local(transitions=written)


def test_data_set_names_are_checked_by_source():
    for name, source in [("ant-medium-v2", "d4rl"), ("antmaze-umaze-v2", "d4rl"), ("D4RL/door/human-v2", "minari")]:
        check_dataset(name, source)
    for name, source, message in [
        ("hopper-medium-v2", "local", r"\(hopper\|walker2d"),
        ("hopper-medium", "d4rl", "of hopper, halfcheetah, walker2d, ant, antmaze, pen"),
        ("../evil-v0", "minari", "is not a Minari id"),
        ("/evil-v0", "minari", "is not a Minari id"),
        ("D4RL/door human-v2", "minari", "is not a Minari id"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_dataset(name, source)


def test_a_task_is_saved_and_loaded_and_a_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gym_mujoco("hopper").save("hopper-medium")
    task = Task.load("hopper-medium")
    assert task.score(3234.3) == pytest.approx(100)
    assert task.healthy is gym_mujoco("hopper").healthy
    (tmp_path / "data/hopper-medium/task.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"data/hopper-medium/task.json: not a record of a task"):
        Task.load("hopper-medium")


def test_data_with_other_shapes_than_their_environment_are_rejected(collected):
    check_environment(collected, gym_mujoco("hopper"), DATASET)
    with pytest.raises(SystemExit, match=r"shapes \(\(11,\), \(3,\)\), those of Walker2d-v4 have \(\(17,\), \(6,\)\)"):
        check_environment(collected, gym_mujoco("walker2d"), DATASET)


def test_every_d4rl_data_set_has_a_file_reference_scores_and_an_environment():
    assert len(d4rl_files()) == 71
    assert {row.environment for row in d4rl_files().values()} <= set(ENVIRONMENTS)
    assert len({row.path for row in d4rl_files().values()}) == 71
    assert all(low < high for low, high in (row.reference for row in d4rl_files().values()))
    known = [row for row in d4rl_files().values() if row.sha256]
    assert all(len(bytes.fromhex(row.sha256)) == 32 and row.size > 1e6 for row in known)
    assert {f"{task}-{tier}-v2" for task in ("hopper", "halfcheetah", "walker2d", "ant") for tier in TIERS} <= {
        row.name for row in known
    }


@pytest.mark.parametrize("name", sorted(ENVIRONMENTS))
def test_every_environment_can_be_made_and_stepped(name):
    env = make(ENVIRONMENTS[name])
    state, _ = env.reset(seed=0)
    assert state.shape == env.observation_space.shape
    assert np.all(env.action_space.low == -1)
    assert np.all(env.action_space.high == 1)
    state, reward, *_ = env.step(env.action_space.sample())
    assert np.isfinite(state).all()
    assert np.isfinite(reward)


@pytest.mark.parametrize(
    ("name", "goal", "start"),
    [
        ("antmaze-umaze", (0, 8), (0, 0)),  # D4RL's own goals, in its coordinates
        ("antmaze-medium", (20, 20), (0, 0)),
        ("antmaze-large", (32, 24), (0, 0)),
        ("maze2d-umaze", (1, 1), None),
        ("maze2d-medium", (6, 6), None),
        ("maze2d-large", (7, 9), None),
    ],
)
def test_mazes_have_d4rl_s_coordinates(name, goal, start):
    env = make(ENVIRONMENTS[name])
    scale = 4 if "ant" in name else 1
    for seed in range(3):
        state, _ = env.reset(seed=seed)
        position = env.unwrapped.goal + np.array(ENVIRONMENTS[name]["offset"][:2])
        tolerance = 0.25 * scale + 0.2  # noise of the position, and Maze2D's goal in the middle of its cell
        assert np.abs(position - goal).max() <= tolerance
        if start:
            assert np.abs(state[:2] - start).max() <= 0.25 * scale


@pytest.mark.parametrize(
    ("name", "heights", "angles", "joints"),
    [("Hopper", (0.7, 1.5), 0.2, 100), ("Walker2d", (0.8, 2.0), 1.0, 3), ("Ant", (0.2, 1.0), 3, 3)],
)
def test_the_rule_of_where_a_task_ends_is_the_simulator_s(name, heights, angles, joints):
    """States around its bounds and exactly at them, set in the simulator, which says itself whether it is healthy."""
    rng, env = np.random.default_rng(0), gym.make(f"{name}-v4").unwrapped
    root, seen, expected = (2, 3) if name == "Ant" else (1, 2), [], []
    for k in range(400):
        position = env.init_qpos + rng.uniform(-0.1, 0.1, env.model.nq)
        position[root[0]] = heights[k % 2] if k < 20 else rng.uniform(heights[0] - 0.15, heights[1] + 0.15)
        position[root[1]] = rng.uniform(-1.3, 1.3) * angles
        position[-1] = rng.uniform(-1.3, 1.3) * joints
        env.set_state(position, rng.uniform(-9, 9, env.model.nv))  # observed velocities are clipped at 10
        seen.append(env._get_obs())
        expected.append(env.is_healthy)
    assert 0.1 < np.mean(expected) < 0.9
    np.testing.assert_array_equal(HEALTHY[f"{name}-v4"](np.array(seen)), expected)


def test_episodes_are_whole_unless_the_data_end_before_them():
    """Lengths 2, 3, 3, 1 and 2 of at most 3: the second ends in a terminal at the limit, the fourth before it."""
    lengths, terminals, count = [2, 3, 3, 1, 2], [2, 4, 8], 11
    discounts = np.where(np.isin(np.arange(count), terminals), 0, 0.9).astype(np.float32)
    zeros, episode = np.zeros((count, 1), np.float32), np.repeat(np.arange(5, dtype=np.int32), lengths)
    data = Transitions(zeros, zeros, zeros[:, 0], zeros, discounts, episode, np.zeros(count, bool))
    assert whole_episodes(data, 3, "local").tolist() == [False, True, True, True, False]
    facts = summary(replace(data, rewards=np.arange(11, dtype=np.float32)), Task({"id": "a"}, 3, 1.0, None), "local")
    returns = np.array([2 + 3 + 4, 5 + 6 + 7, 8])  # of the whole ones
    assert facts["length_mean"] == pytest.approx(7 / 3)
    assert facts["return_std"] == pytest.approx(returns.std())
    assert (facts["return_mean"], facts["return_max"]) == pytest.approx((returns.mean(), 18))
    assert whole_episodes(data, 3, "d4rl").tolist() == [True, True, True, True, False]


def test_an_unknown_environment_is_named():
    with pytest.raises(SystemExit, match=r"Hopper-v99 cannot be made here"):
        make({"id": "Hopper-v99"})


def test_summary_averages_whole_episodes(collected):
    facts = summary(collected, gym_mujoco("hopper"), "local")
    ends = np.flatnonzero(collected.discounts == 0)
    returns = [collected.rewards[collected.episode == collected.episode[end]].sum() for end in ends]
    assert facts["return_mean"] == pytest.approx(np.mean(returns), rel=1e-5)
    assert facts["terminals"] == len(ends)
    assert facts["score_mean"] == pytest.approx(100 * (np.mean(returns) + 20.272305) / (3234.3 + 20.272305), rel=1e-5)


def test_scores_are_normalised_as_in_d4rl():
    task = gym_mujoco("walker2d")
    np.testing.assert_allclose(task.score([1.629008, 4592.3, 2296.964504]), [0, 100, 50], atol=1e-9)


def test_transitions_are_saved_and_loaded_unchanged(collected, tmp_path):
    collected.save(tmp_path / "real.npz")
    loaded = Transitions.load(tmp_path / "real.npz")
    assert collected.arrays().keys() == loaded.arrays().keys()
    assert all(np.array_equal(array, loaded.arrays()[name]) for name, array in collected.arrays().items())
    assert list(tmp_path.iterdir()) == [tmp_path / "real.npz"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewards": np.array([np.nan, 0])}, "rewards has values that are not finite"),
        ({"actions": np.array([[0.0], [1.5]])}, "actions reach 1.5"),
        ({"discounts": np.array([0.9])}, "discounts has 1 rows, observations has 2"),
        ({"discounts": np.array([0.9, 1.1])}, "discounts must lie within"),
    ],
)
def test_an_invalid_record_is_rejected(changes, message):
    good = {name: np.zeros((2, 1)) for name in ("observations", "actions", "next_observations")}
    good |= {"rewards": np.zeros(2), "discounts": np.zeros(2)}
    with pytest.raises(ValueError, match=message):
        Transitions(**{**good, **changes})


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.001, 1), (0.26, 11), (0.5, 20), (0.999, 39)])
def test_whole_episodes_are_held_out_and_their_number_is_rounded_up_but_never_all(episodes, share, count):
    held = episodes.held_out(share, np.random.default_rng(0))
    chosen, others = set(episodes.episode[held]), set(episodes.episode[~held])
    assert (len(chosen), len(others)) == (count, 40 - count)
    assert not chosen & others


@pytest.mark.parametrize(("rewards", "largest"), [([-4, -2, 3], 5), ([4, -2, -3], 3), ([0, 0, 0], 1)])
def test_the_largest_return_to_go_is_taken_without_its_sign(rewards, largest):
    """Of episodes of two steps and of one, with the discount 0.5; 1 where all are 0, since it divides."""
    zeros, episode = np.zeros((3, 1)), np.array([0, 0, 1], dtype=np.int32)
    data = Transitions(zeros, zeros, np.array(rewards, dtype=np.float32), zeros, zeros[:, 0], episode, zeros[:, 0] > 0)
    assert data.largest_return(0.5) == largest


def test_a_broken_file_is_rejected_by_name(tmp_path):
    path = tmp_path / "real.npz"
    for content in (b"", b"PK\x03\x04 cut", b"nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(SystemExit, match=r"real.npz: not a record of transitions"):
            Transitions.load(path)

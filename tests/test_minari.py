"""Minari data sets: reading real ones, compared with Gymnasium's flattening, and exporting them."""

import json

import gymnasium as gym
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector.episode_buffer import EpisodeBuffer

from stages.common.transitions import Transitions
from stages.data import export as export_module
from stages.data.__main__ import check_environment
from stages.data.export import chains, export
from stages.data.minari import Unusable, flat, read, within_one
from stages.tasks.environments import name_of
from stages.tasks.simulator import make
from stages.tasks.tasks import Task, gym_mujoco

MAZE = "gymnasium_robotics:PointMaze_UMaze-v3"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Path of an empty local Minari folder; the remote does not exist."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("MINARI_REMOTE", "nowhere://")
    return tmp_path / "minari"


def record(identity: str, env: gym.Env, episodes: int = 3, steps: int = 20, **options) -> list[EpisodeBuffer]:
    """Creates a Minari data set of random actions in a real environment; returns its episodes."""
    env.action_space.seed(0)
    buffers = []
    for seed in range(episodes):
        states, rows = [env.reset(seed=seed)[0]], []
        while len(rows) < steps:
            action = env.action_space.sample()
            state, reward, terminated, truncated, _ = env.step(action)
            states.append(state)
            rows.append((action, reward, terminated, truncated))
            if terminated or truncated:
                break
        actions, rewards, terminations, truncations = (list(column) for column in zip(*rows, strict=True))
        if isinstance(states[0], dict):
            states = {key: [state[key] for state in states] for key in states[0]}
        buffers.append(EpisodeBuffer(seed, seed, None, states, actions, rewards, terminations, truncations, {}))
    names = {
        "algorithm_name": "random",
        "author": "t",
        "author_email": "t@t",
        "code_permalink": "t",
        "description": "t",
    }
    options = {"eval_env": env.spec, **names, **options}
    minari.create_dataset_from_buffers(identity, buffers, env=env, **options)
    return buffers


def test_vector_observations_are_read_unchanged(params):
    buffers = record("test/hopper-v0", gym.make("Hopper-v5"), steps=100)
    data, task, _ = read("test/hopper-v0", 0.9)
    lengths = [len(buffer.rewards) for buffer in buffers]
    np.testing.assert_array_equal(np.bincount(data.episode), lengths)
    np.testing.assert_array_equal(
        data.observations, np.concatenate([buffer.observations[:-1] for buffer in buffers]).astype(np.float32)
    )
    np.testing.assert_array_equal(
        data.next_observations, np.concatenate([buffer.observations[1:] for buffer in buffers]).astype(np.float32)
    )
    np.testing.assert_allclose(data.actions, np.concatenate([buffer.actions for buffer in buffers]), atol=1e-6)
    np.testing.assert_allclose(data.rewards, np.concatenate([buffer.rewards for buffer in buffers]), rtol=1e-6)
    ended = np.concatenate([buffer.terminations for buffer in buffers])
    assert ended.sum() == 3  # random hoppers fall
    np.testing.assert_array_equal(data.discounts, np.where(ended, np.float32(0), np.float32(0.9)))
    assert not data.timeouts.any()
    assert name_of(task.environment) == "Hopper-v5"
    assert task.episode_limit == 1000
    assert task.reference is None
    assert task.score(12.5) == 12.5
    assert task.healthy is gym_mujoco("hopper").healthy
    check_environment(data, task, "test/hopper-v0")


def test_dict_observations_are_flattened_as_in_gymnasium_with_the_goal():
    env = gym.make(MAZE)
    buffers = record("test/pointmaze-v0", env, ref_min_score=1.0, ref_max_score=5.0)
    data, task, _ = read("test/pointmaze-v0", 0.9)
    flat = [
        spaces.flatten(env.observation_space, {key: values[t] for key, values in buffer.observations.items()})
        for buffer in buffers
        for t in range(len(buffer.rewards))
    ]
    np.testing.assert_array_equal(data.observations, np.array(flat, dtype=np.float32))
    assert data.observations.shape == (60, 8)
    assert data.timeouts.sum() == 3  # truncated, not terminated
    assert task.reference == (1.0, 5.0)
    assert task.score(3.0) == 50
    ours = make(task.environment)
    state, _ = ours.reset(seed=0)
    np.testing.assert_array_equal(state.astype(np.float32), data.observations[0])  # as in training
    check_environment(data, task, "test/pointmaze-v0")


def test_actions_are_scaled_alike_in_data_and_environment():
    buffers = record("test/pendulum-v0", gym.make("Pendulum-v1"))
    data, task, _ = read("test/pendulum-v0", 0.9)
    np.testing.assert_allclose(data.actions, np.concatenate([buffer.actions for buffer in buffers]) / 2, atol=1e-6)
    env = make(task.environment)
    env.reset(seed=0)
    state, reward, *_ = env.step(data.actions[0].astype(np.float64))
    np.testing.assert_allclose(state, data.next_observations[0], atol=1e-5)
    np.testing.assert_allclose(reward, data.rewards[0], atol=1e-5)


def test_unusable_spaces_are_rejected():
    record("test/cartpole-v0", gym.make("CartPole-v1"))
    with pytest.raises(SystemExit, match=r"^Minari data set test/cartpole-v0: .*Discrete\(2\); only a bounded Box"):
        read("test/cartpole-v0", 0.9)
    with pytest.raises(Unusable, match="observations in Discrete; only Box, and Dict of Box"):
        flat(spaces.Dict(a=spaces.Box(0, 1), b=spaces.Discrete(3)), {"a": np.zeros((2, 1)), "b": np.zeros(2)})
    with pytest.raises(Unusable, match=r"actions outside its action space, at 1\.5"):
        within_one(spaces.Box(-2, 2, (1,)), np.array([[3.0]]))


def test_a_missing_or_broken_data_set_is_reported_in_one_line(root):
    with pytest.raises(SystemExit, match=r"^Minari data set test/none-v0: [^\n]+$"):
        read("test/none-v0", 0.9)
    record("test/broken-v0", gym.make("Hopper-v5"))
    next(root.rglob("*.hdf5")).write_bytes(b"not HDF5")
    with pytest.raises(SystemExit, match=r"^Minari data set test/broken-v0: [^\n]+$"):
        read("test/broken-v0", 0.9)


def test_an_exported_data_set_is_read_back_unchanged(collected_hopper, root):
    provenance = {"dataset": "hopper-medium-replay", "method": "real"}
    provenance |= {"parameters": {"horizon": 5}, "git_revision": "abc"}
    export(collected_hopper, gym_mujoco("hopper"), "test/export-v0", provenance)
    dataset = minari.load_dataset("test/export-v0")
    assert dataset.total_steps == len(collected_hopper)
    assert dataset.total_episodes == collected_hopper.episode[-1] + 1
    assert dataset.env_spec.id == "Hopper-v4"
    assert dataset.storage.metadata["provenance"] == provenance
    assert minari.get_normalized_score(dataset, np.array(3234.3)) == pytest.approx(1)
    for episode in dataset:
        assert dataset.observation_space.contains(episode.observations[0])
        assert dataset.action_space.contains(episode.actions[0])
    data, task, _ = read("test/export-v0", 0.99)  # reads the export back
    for name, array in collected_hopper.arrays().items():
        np.testing.assert_array_equal(getattr(data, name), array, err_msg=name)
    assert task.reference == gym_mujoco("hopper").reference


def synthetic() -> Transitions:
    """Six rows: two consecutive, a terminal, an n-step transition and its successor, and one of a second generator."""
    states = np.array([[0], [1], [5], [7], [8], [9]], dtype=np.float32)
    following = np.array([[1], [2], [7], [8], [9], [10]], dtype=np.float32)
    return Transitions(
        observations=states,
        actions=np.linspace(-1, 1, 6, dtype=np.float32)[:, None],
        rewards=np.arange(6, dtype=np.float32),
        next_observations=following,
        discounts=np.array([0.9, 0.9, 0, 0.81, 0.9, 0.9], dtype=np.float32),
        generator=np.array([0, 0, 0, 0, 0, 1], dtype=np.int8),
        real_fraction=np.float32(0.5),
    )


def test_consecutive_synthetic_rows_become_episodes(root):
    assert chains(synthetic()) == [slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)]
    task = Task({"id": "MountainCarContinuous-v0"}, 999, 1.0, None)
    dataset = export(synthetic(), task, "test/synthetic-v0", {"dataset": "d", "method": "dawm"})
    episodes = list(minari.load_dataset("test/synthetic-v0"))
    assert [len(episode) for episode in episodes] == [2, 1, 2, 1]
    np.testing.assert_array_equal(episodes[2].observations, [[7], [8], [9]])
    np.testing.assert_array_equal(np.concatenate([episode.rewards for episode in episodes]), np.arange(6))
    np.testing.assert_array_equal(episodes[2].infos["discount"], np.array([0.81, 0.9], dtype=np.float32))
    assert [episode.terminations[-1] for episode in episodes] == [False, True, False, False]
    assert [episode.truncations[-1] for episode in episodes] == [True, False, True, True]
    assert "ref_min_score" not in dataset.storage.metadata


def test_an_export_overwrites_nothing_and_a_failed_one_leaves_nothing(collected_hopper, root, monkeypatch):
    provenance = {"dataset": "hopper-medium-replay", "method": "real"}
    export(collected_hopper, gym_mujoco("hopper"), "test/export-v0", provenance)
    with pytest.raises(SystemExit, match="this Minari data set already exists"):
        export(collected_hopper, gym_mujoco("hopper"), "test/export-v0", provenance)

    def broken(data):
        yield next(iter(whole(data)))
        raise KeyboardInterrupt

    whole = export_module.buffers
    monkeypatch.setattr(export_module, "buffers", broken)
    with pytest.raises(KeyboardInterrupt):
        export(collected_hopper, gym_mujoco("hopper"), "test/other-v0", provenance)
    assert not (root / "test/other-v0").exists()


def test_provenance_names_parameters_and_revisions():
    provenance = export_module.provenance("hopper-medium-replay", "dawm")
    assert provenance["parameters"]["horizon"] == json.loads(json.dumps(provenance))["parameters"]["horizon"]
    assert len(provenance["git_revision"]) == 40
    assert len(provenance["dvc_revision"]) == 32
    assert export_module.provenance("hopper-medium-replay", "none")["dvc_revision"] is None

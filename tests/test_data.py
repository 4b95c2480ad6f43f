"""Collection in the real simulator, D4RL's files, the record itself, and the physics that all scores rest on."""

import h5py
import numpy as np
import pytest

from stages.common.simulator import make
from stages.common.tasks import task_of
from stages.common.transitions import Transitions
from stages.data import d4rl, local
from stages.data.__main__ import summary

DATASET = "hopper-medium-replay"


@pytest.fixture(scope="module")
def collected():
    return local.collect(DATASET, 1003, 0.99)


@pytest.mark.parametrize(
    ("environment", "expected", "steps"),
    [("Hopper-v4", 19.455434, 26), ("Walker2d-v4", 37.087680, 63), ("HalfCheetah-v4", -278.750902, 1000)],
)
def test_the_physics_is_what_it_was(environment, expected, steps):
    """Random actions, as recorded with mujoco 3.3.7; another engine gives other scores, so no result would compare."""
    env, rng, total = make(environment), np.random.default_rng(0), 0.0
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
    local.collect(DATASET, 1003, 0.99).save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_rows_are_chained_within_episodes_and_each_end_has_one_reason(collected):
    assert len(collected) == 1003
    last = np.append(np.diff(collected.episode) != 0, True)
    np.testing.assert_array_equal(collected.next_observations[:-1][~last[:-1]], collected.observations[1:][~last[:-1]])
    terminal = collected.discounts == 0
    np.testing.assert_array_equal(terminal | collected.timeouts, last)
    assert not (terminal & collected.timeouts).any()
    healthy = task_of(DATASET).healthy(collected.next_observations)
    np.testing.assert_array_equal(~healthy, terminal)  # the rule that imagined terminals follow is the simulator's
    assert set(np.unique(collected.discounts)) == {np.float32(0), np.float32(0.99)}


def test_actions_are_the_behaviour_s_own_distribution():
    behaviour = local.behaviours("hopper", "medium")[0]
    observation = np.array([1.25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0])
    hidden = observation.astype(np.float32)
    for name in ("hidden0", "hidden1"):
        hidden = np.maximum(hidden @ behaviour.weights[f"{name}.weight"] + behaviour.weights[f"{name}.bias"], 0)
    mean = hidden @ behaviour.weights["mean.weight"] + behaviour.weights["mean.bias"]
    std = np.exp(hidden @ behaviour.weights["log_std.weight"] + behaviour.weights["log_std.bias"])
    noise = np.random.default_rng(0).standard_normal((4000, 3))
    drawn = np.arctanh(np.clip([behaviour.act(observation, row) for row in noise], -0.9999999, 0.9999999))
    inside = np.abs(drawn) < 5  # tanh in float32 cannot be undone further out
    np.testing.assert_allclose(drawn[inside], (mean + std * noise)[inside], rtol=1e-2, atol=1e-3)
    assert inside.mean() > 0.5


def test_a_data_set_without_behaviours_is_refused_with_those_that_have_some():
    with pytest.raises(
        SystemExit, match=r"no behaviours are shipped for walker2d-expert; allowed: .*hopper-medium-replay"
    ):
        local.collect("walker2d-expert", 100, 0.99)


def test_summary_is_of_whole_episodes(collected):
    found = summary(collected, DATASET, "local")
    ends = np.flatnonzero(collected.discounts == 0)
    returns = [collected.rewards[collected.episode == collected.episode[end]].sum() for end in ends]
    assert found["return_mean"] == pytest.approx(np.mean(returns), rel=1e-5)
    assert found["terminals"] == len(ends)
    assert found["score_mean"] == pytest.approx(100 * (np.mean(returns) + 20.272305) / (3234.3 + 20.272305), rel=1e-5)


def test_scores_are_d4rl_s():
    task = task_of("walker2d-medium")
    np.testing.assert_allclose(task.score([1.629008, 4592.3, 2296.964504]), [0, 100, 50], atol=1e-9)


@pytest.fixture
def d4rl_file(tmp_path):
    """Three episodes in D4RL's layout: one that ends in a terminal, one that times out, one cut at the file's end."""
    rng, n = np.random.default_rng(0), 9
    columns = {
        "observations": rng.standard_normal((n, 11)),
        "next_observations": rng.standard_normal((n, 11)),
        "actions": rng.uniform(-1, 1, (n, 3)),
        "rewards": np.arange(n, dtype=np.float64),
        "terminals": np.arange(n) == 2,
        "timeouts": np.arange(n) == 6,
    }
    with h5py.File(tmp_path / "hopper_medium_replay-v2.hdf5", "w") as file:
        for name, values in columns.items():
            file[name] = values
    return tmp_path, columns


def test_d4rl_files_are_read_by_d4rl_s_rules(d4rl_file):
    folder, columns = d4rl_file
    data = d4rl.read("hopper-medium-replay-v2", str(folder), 0.9)
    assert data.rewards.tolist() == [0, 1, 2, 3, 4, 5, 7, 8]  # the step that times out is left out
    assert data.episode.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert data.timeouts.tolist() == [False] * 5 + [True, False, True]
    np.testing.assert_allclose(data.discounts, [0.9, 0.9, 0, 0.9, 0.9, 0.9, 0.9, 0.9])
    np.testing.assert_allclose(
        data.next_observations, columns["next_observations"][[0, 1, 2, 3, 4, 5, 7, 8]], rtol=1e-6
    )


def test_a_foreign_or_missing_file_is_refused_by_name(d4rl_file):
    folder, _ = d4rl_file
    with pytest.raises(SystemExit, match=r"data.directory = None"):
        d4rl.read("hopper-medium-v2", None, 0.9)
    with pytest.raises(SystemExit, match=r"hopper_medium-v2.hdf5: not a readable D4RL v2 file"):
        d4rl.read("hopper-medium-v2", str(folder), 0.9)
    (folder / "hopper_medium-v2.hdf5").write_bytes(b"not HDF5")
    with pytest.raises(SystemExit, match=r"hopper_medium-v2.hdf5: not a readable D4RL v2 file"):
        d4rl.read("hopper-medium-v2", str(folder), 0.9)


def test_the_record_survives_its_file(collected, tmp_path):
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
def test_a_bad_record_is_refused(changes, message):
    good = {name: np.zeros((2, 1)) for name in ("observations", "actions", "next_observations")}
    good |= {"rewards": np.zeros(2), "discounts": np.zeros(2)}
    with pytest.raises(ValueError, match=message):
        Transitions(**{**good, **changes})


def test_a_broken_file_is_refused_by_name(tmp_path):
    path = tmp_path / "real.npz"
    for content in (b"", b"PK\x03\x04 cut", b"nothing of the kind"):
        path.write_bytes(content)
        with pytest.raises(SystemExit, match=r"real.npz: not a record of transitions"):
            Transitions.load(path)

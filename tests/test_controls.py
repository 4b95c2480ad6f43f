"""The controls: real data again, the simulator's own answers, random actions; each is what it says and no more."""

import hashlib
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from stages.augment.joined import joined
from stages.baselines.copy import __main__ as copy
from stages.baselines.copy.__main__ import COLUMNS, copied
from stages.baselines.oracle import __main__ as oracle
from stages.baselines.oracle.__main__ import corrected
from stages.baselines.shuffled import __main__ as shuffling
from stages.baselines.shuffled.__main__ import shuffled
from stages.common.algorithm_settings import settings_for
from stages.common.cost import made, remade
from stages.common.environments import ENVIRONMENTS
from stages.common.rng import numpy_stream
from stages.common.tasks import Task, gym_mujoco
from stages.common.transitions import Transitions
from stages.evaluate.rollout import act
from stages.fidelity.physics import Physics
from stages.policy.trainer import train


def table(data) -> np.ndarray:
    """All columns of each row side by side; of a record or a dict."""
    columns = [data[name] if isinstance(data, dict) else getattr(data, name) for name in COLUMNS]
    return np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)


def rows_of(data) -> list[bytes]:
    return [bytes(row) for row in table(data)]


def test_a_copy_holds_real_rows_whole_and_each_as_often_as_any_other(episodes):
    real, index = np.unique(rows_of(episodes), return_inverse=True)
    assert len(real) == len(index)  # the rows are told apart
    for count in (len(real) // 2, len(real), 5 * len(real) + 7):
        found = copied(episodes, count, np.random.default_rng(0))
        assert {len(column) for column in found.values()} == {count}
        places = np.searchsorted(real, rows_of(found))
        assert (real[places.clip(max=len(real) - 1)] == rows_of(found)).all()
        assert set(np.bincount(places, minlength=len(real))) <= {count // len(real), -(-count // len(real))}
    assert rows_of(found) != sorted(rows_of(found))


def test_copies_of_one_stream_are_the_same_and_of_others_are_not(episodes):
    one, same, other = (rows_of(copied(episodes, 50, numpy_stream("copy", "line", k))) for k in (0, 0, 1))
    assert one == same != other


GAMMA, GAIN, SEEDS = 0.9, 0.8, 12


@pytest.fixture(scope="module")
def steered() -> Transitions:
    """s' = s + a / 2, r = -s'²: best is a = -2 s, within its bounds; the data have a = -0.8 s and noise."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (2000, 1))
    actions = (-GAIN * states + 0.3 * rng.standard_normal((2000, 1))).clip(-1, 1)
    following = states + actions / 2
    columns = states, actions, -(following[:, 0] ** 2), following, np.full(2000, GAMMA)
    return Transitions(
        *(c.astype(np.float32) for c in columns), np.arange(2000, dtype=np.int32), np.ones(2000, dtype=bool)
    )


def worth(policy) -> np.ndarray:
    """(seeds,) the discounted return of each last policy in the system itself, over even starts."""
    layers = [[policy[f"actor.body.layers.{k}.{part}"][-1] for part in ("weight", "bias")] for k in range(3)]
    states, total = torch.linspace(-1, 1, 41).repeat(SEEDS, 1)[..., None], 0
    for t in range(60):
        states = states + act(layers, (states - policy["mean"]) / policy["std"]) / 2
        total = total - GAMMA**t * states[..., 0] ** 2
    return total.mean(1).numpy()


@pytest.fixture(scope="module")
def learned(params, steered):
    """The returns of TD3+BC's policies on the data alone, or with others in a share of each batch."""

    def learn(name: str, others: Transitions | None) -> np.ndarray:
        settings = settings_for(params.policy, params.td3bc, "line")
        vars(settings).update(
            steps=800, batch=64, hidden=[32, 32], learning_rate=1e-3, tau=0.02, policy_noise=0.1, alpha=0.4
        )
        return worth(train(steered, others, ("line", name, "td3bc"), settings, SEEDS, 800, torch.device("cpu")))

    return learn


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """How many standard errors the means of two sets of seeds differ by."""
    return abs(one.mean() - other.mean()) / np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / SEEDS)


def test_a_copy_scores_as_the_real_data_and_a_broken_one_does_not(steered, learned):
    """Half of each batch, and all of it; the broken copy has its actions in another order."""
    parts = [copied(steered, 20_000, numpy_stream("copy", "line", k)) for k in range(2)]
    real = learned("real", None)
    behaviour = -((1 - GAIN / 2) ** 2) / 3 / (1 - GAMMA * (1 - GAIN / 2) ** 2)  # without its noise, in closed form
    assert real.mean() > behaviour / 2  # what is learned is more than imitation
    for share in (0.5, 0.0):
        again = learned(f"copy {share}", joined(parts, share, made([], 0, 0.0, {})))
        assert apart(real, again) < 2.5
    whole = joined(parts, 0.5, made([], 0, 0.0, {}))
    mixed = np.random.default_rng(0).permutation(len(whole))
    broken = learned("broken", replace(whole, actions=whole.actions[mixed]))
    assert apart(real, broken) > 4
    assert broken.mean() < 2 * real.mean()


@pytest.fixture(scope="module")
def hopper():
    return Physics(ENVIRONMENTS["hopper"])


@pytest.fixture(scope="module")
def windows(collected_hopper) -> Transitions:
    """Real transitions with everything wrong that a world model would imagine, in windows of three steps."""
    data = collected_hopper.rows(np.arange(len(collected_hopper)) % 5 == 0)
    ends = np.flatnonzero(collected_hopper.discounts == 0)  # with those that ended, which are few
    data = replace(
        data, **{n: np.concatenate([getattr(data, n), getattr(collected_hopper, n)[ends]]) for n in data.arrays()}
    )
    n = len(data)
    return Transitions(
        observations=data.observations,
        actions=data.actions,
        rewards=data.rewards * 0 - 3,
        next_observations=data.next_observations + 5,
        discounts=np.full(n, 0.5, dtype=np.float32),
        generator=np.sort(np.arange(n) % 2).astype(np.int8),
        step=(np.arange(n) % 3).astype(np.int16),
        real_fraction=np.float32(0.25),
        made=made([], 7, 12.0, {"kept": n}),
    )


def test_the_oracle_gives_real_transitions_back(hopper, collected_hopper):
    found = corrected(collected_hopper, hopper, 0.99)
    known = ~hopper.cut(collected_hopper.observations)
    assert known.mean() > 0.9
    np.testing.assert_allclose(
        found.next_observations[known], collected_hopper.next_observations[known], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(found.rewards[known], collected_hopper.rewards[known], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found.discounts[known], collected_hopper.discounts[known])
    assert (found.discounts == 0).any()
    assert {found.next_observations.dtype, found.rewards.dtype, found.discounts.dtype} == {np.dtype(np.float32)}


def test_nothing_of_what_was_imagined_to_follow_is_left(hopper, windows):
    found = corrected(windows, hopper, 0.99)
    right = corrected(replace(windows, rewards=windows.rewards + 1, discounts=windows.discounts * 0), hopper, 0.99)
    for name in ("next_observations", "rewards", "discounts"):
        assert getattr(found, name).tobytes() == getattr(right, name).tobytes()
        assert (getattr(found, name) != getattr(windows, name)).all()
    for name in ("observations", "actions", "generator", "step", "real_fraction", "made"):
        np.testing.assert_array_equal(getattr(found, name), getattr(windows, name))
    healthy = gym_mujoco("hopper").healthy(found.next_observations)
    assert 0 < (~healthy).sum() < len(healthy)
    np.testing.assert_array_equal(found.discounts, np.where(healthy, np.float32(0.99), 0))


def test_rows_on_which_the_simulator_has_no_answer_are_left_out(windows):
    n = len(windows)
    following, rewards, ended = np.tile(np.arange(n)[:, None], 11) / 1.0, np.arange(n) / 1.0, np.arange(n) % 2 == 0
    following[3, 4], rewards[7] = np.nan, np.inf
    found = corrected(windows, lambda states, actions: (following, rewards, ended), 0.9)
    left = np.setdiff1d(np.arange(n), [3, 7])
    np.testing.assert_array_equal(found.rewards, left)
    np.testing.assert_array_equal(found.next_observations[:, 5], left)
    np.testing.assert_array_equal(found.discounts, np.where(left % 2 == 0, 0, np.float32(0.9)))
    for name in ("observations", "actions", "generator", "step"):
        np.testing.assert_array_equal(getattr(found, name), getattr(windows, name)[left])


def test_shuffling_changes_the_later_actions_of_each_window_alone(windows, episodes, collected_hopper):
    given = replace(windows, actions=windows.actions * 0.5)  # so that none is one of the data's
    found = shuffled(given, collected_hopper, numpy_stream("shuffled"))
    real = {bytes(row) for row in collected_hopper.actions}
    assert not {bytes(row) for row in given.actions} & real
    later = windows.step > 0
    np.testing.assert_array_equal(found.actions[~later], given.actions[~later])
    assert {bytes(row) for row in found.actions[later]} <= real
    assert found.actions.dtype == np.float32
    for name, column in given.arrays().items():
        if name != "actions":
            np.testing.assert_array_equal(getattr(found, name), column)
    again, other = (shuffled(given, collected_hopper, numpy_stream(name)) for name in ("shuffled", "other"))
    np.testing.assert_array_equal(again.actions, found.actions)
    assert not np.array_equal(other.actions, found.actions)


def test_shuffled_actions_are_drawn_evenly_and_tell_nothing_of_the_state(episodes):
    """Each of the data's about equally often, and uncorrelated with the actions that they replace."""
    rows = np.random.default_rng(0).integers(len(episodes), size=60_000)
    given = Transitions(**{name: getattr(episodes, name)[rows] for name in COLUMNS}, step=np.ones(len(rows), np.int16))
    found = shuffled(given, episodes, numpy_stream("shuffled"))
    real, own = np.unique([bytes(row) for row in episodes.actions], return_inverse=True)
    counts = np.bincount(np.searchsorted(real, [bytes(row) for row in found.actions]), minlength=len(real))
    expected = len(rows) / len(real)
    assert len(real) == len(own)
    assert abs(((counts - expected) ** 2 / expected).sum() - (len(real) - 1)) < 4 * np.sqrt(2 * (len(real) - 1))
    correlation = np.corrcoef(np.c_[given.actions, found.actions].T)[:2, 2:]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(rows))


def test_what_is_remade_names_its_source_and_keeps_what_that_took(tmp_path):
    weights, source = tmp_path / "weights", tmp_path / "dawm.npz"
    weights.write_bytes(b"weights")
    source.write_bytes(b"transitions")
    first = made([str(weights)], 123, 4.56789, {"kept": 5, "dropped": 1})
    told = json.loads(str(remade(str(source), first)))
    assert told == {
        "trained": [hashlib.md5(b"weights").hexdigest()],
        "source": hashlib.md5(b"transitions").hexdigest(),
        "parameters": 123,
        "evaluations": 4.568,
        "counts": {"kept": 5, "dropped": 1},
    }
    assert json.loads(str(first)) == {**told, "source": None}


@pytest.fixture
def stage(tiny_params, collected_hopper, windows, tmp_path, monkeypatch):
    """Runs a control on files of two generators, and gives what it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "hopper-medium-replay"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**tiny_params, "generators": 2}))
    collected_hopper.save("data/hopper-medium-replay/real.npz")
    windows.save("data/hopper-medium-replay/dawm.npz")
    gym_mujoco("hopper").save("hopper-medium-replay")

    def run(module) -> SimpleNamespace:
        module.main()
        name = module.__name__.split(".")[-2]
        record = Transitions.load(f"data/hopper-medium-replay/{name}.npz")
        return SimpleNamespace(record=record, told=json.loads(str(record.made)))

    return run


def test_the_stage_of_the_copy_makes_the_budget_s_number_for_each_generator(stage, tiny_params, collected_hopper):
    found = stage(copy)
    count = tiny_params["budget"]["transitions"]
    assert found.record.generator.tolist() == [0] * count + [1] * count
    assert found.record.real_fraction == tiny_params["real_fraction"]
    assert set(rows_of(found.record)) <= set(rows_of(collected_hopper))
    assert rows_of(found.record)[:count] != rows_of(found.record)[count:]
    nothing = {"trained": [], "source": None, "parameters": 0, "evaluations": 0}
    assert found.told == {**nothing, "counts": {"kept": 2 * count}}


@pytest.mark.parametrize("module", [oracle, shuffling])
def test_the_stages_of_the_others_say_that_they_were_made_from_dawm_s(stage, windows, module):
    found = stage(module)
    with open("data/hopper-medium-replay/dawm.npz", "rb") as file:
        source = hashlib.md5(file.read()).hexdigest()
    assert found.told == {**json.loads(str(windows.made)), "source": source}
    assert found.record.real_fraction == windows.real_fraction
    assert len(found.record) == len(windows)
    np.testing.assert_array_equal(found.record.observations, windows.observations)
    changed = {name for name in COLUMNS if not np.array_equal(getattr(found.record, name), getattr(windows, name))}
    assert changed == ({"actions"} if module is shuffling else {"rewards", "next_observations", "discounts"})
    again = stage(module)
    assert all(np.array_equal(column, getattr(again.record, name)) for name, column in found.record.arrays().items())


def test_an_environment_whose_state_is_not_observed_has_no_oracle(stage):
    Task({"id": "PointMaze_UMaze-v3"}, 300, 1.0, None).save("hopper-medium-replay")
    with pytest.raises(SystemExit, match=r"^oracle hopper-medium-replay: its observation does not hold .*leave oracle"):
        stage(oracle)

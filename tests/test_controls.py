"""The controls: `copy` (real transitions), `oracle` (the simulator's consequences), `shuffled` (random actions)."""

import hashlib
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from stages.baselines.copy import __main__ as copy
from stages.baselines.copy.__main__ import COLUMNS, copied
from stages.baselines.oracle import __main__ as oracle
from stages.baselines.oracle.__main__ import corrected
from stages.baselines.shuffled import __main__ as shuffling
from stages.baselines.shuffled.__main__ import shuffled
from stages.common.rng import numpy_stream
from stages.common.transitions import Transitions
from stages.policy.acting import policy_of
from stages.policy.trainer import train
from stages.synthetic_data.cost import cost_record, derived_cost_record
from stages.synthetic_data.join import joined
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.physics import Physics
from stages.tasks.tasks import Task, gym_mujoco
from tests.conftest import settings_for


def table(data) -> np.ndarray:
    """The columns of a record or a dict, side by side."""
    columns = [data[name] if isinstance(data, dict) else getattr(data, name) for name in COLUMNS]
    return np.concatenate([column.reshape(len(column), -1) for column in columns], axis=1)


def rows_of(data) -> list[bytes]:
    return [bytes(row) for row in table(data)]


def test_a_copy_holds_complete_real_rows_with_equal_frequencies(episodes):
    real, index = np.unique(rows_of(episodes), return_inverse=True)
    assert len(real) == len(index)  # all rows differ
    for count in (len(real) // 2, len(real), 5 * len(real) + 7):
        copy_rows = copied(episodes, count, np.random.default_rng(0))
        assert {len(column) for column in copy_rows.values()} == {count}
        positions = np.searchsorted(real, rows_of(copy_rows))
        assert (real[positions.clip(max=len(real) - 1)] == rows_of(copy_rows)).all()
        assert set(np.bincount(positions, minlength=len(real))) <= {count // len(real), -(-count // len(real))}
    assert rows_of(copy_rows) != sorted(rows_of(copy_rows))


def test_equal_streams_give_equal_copies(episodes):
    one, same, other = (rows_of(copied(episodes, 50, numpy_stream("copy", "line", k))) for k in (0, 0, 1))
    assert one == same != other


GAMMA, GAIN, SEEDS = 0.9, 0.8, 12


@pytest.fixture(scope="module")
def steered() -> Transitions:
    """s' = s + a / 2, r = -s'². The best action is -2 s within its bounds; the data have a = -0.8 s plus noise."""
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (2000, 1))
    actions = (-GAIN * states + 0.3 * rng.standard_normal((2000, 1))).clip(-1, 1)
    next_states = states + actions / 2
    columns = states, actions, -(next_states[:, 0] ** 2), next_states, np.full(2000, GAMMA)
    return Transitions(
        *(c.astype(np.float32) for c in columns), np.arange(2000, dtype=np.int32), np.ones(2000, dtype=bool)
    )


def discounted_returns(policy) -> np.ndarray:
    """(seeds,) mean discounted return of each final policy in the true system, over evenly spaced starts."""
    act = policy_of(policy, "td3bc", None, slice(-1, None))
    states, total = torch.linspace(-1, 1, 41).repeat(SEEDS, 1)[..., None], 0
    for t in range(60):
        actions, _ = act((states - policy["mean"]) / policy["std"], None, None)
        states = states + actions / 2
        total = total - GAMMA**t * states[..., 0] ** 2
    return total.mean(1).numpy()


@pytest.fixture(scope="module")
def learned(params, steered):
    """A function that trains TD3+BC on the data, alone or with a synthetic set, and returns the policies' returns."""

    def learn(name: str, synthetic: Transitions | None) -> np.ndarray:
        settings = settings_for(params.policy, params.td3bc, "line")
        vars(settings).update(
            steps=600,
            snapshot_every=600,
            batch=64,
            hidden=[32, 32],
            learning_rate=1e-3,
            reward_scale=1.0,
            tau=0.02,
            policy_noise=0.1,
            alpha=0.4,
        )
        cell = "line", name, "td3bc"
        return discounted_returns(train(steered, synthetic, cell, settings, SEEDS, torch.device("cpu")))

    return learn


def z_score(one: np.ndarray, other: np.ndarray) -> float:
    """The difference between the means of two sets of seeds, in standard errors."""
    return abs(one.mean() - other.mean()) / np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / SEEDS)


@pytest.mark.slow
def test_a_copy_scores_like_the_real_data_and_a_broken_copy_does_not(steered, learned):
    """The copy is half of each batch, or all of it. The broken copy has its actions in random order.

    By chance alone a difference exceeds four standard errors once in some thousand times, on whatever processor.
    """
    parts = [copied(steered, 20_000, numpy_stream("copy", "line", k)) for k in range(2)]
    real = learned("real", None)
    behaviour = -((1 - GAIN / 2) ** 2) / 3 / (1 - GAMMA * (1 - GAIN / 2) ** 2)  # closed form, without the noise
    assert real.mean() > behaviour / 2  # training does better than imitation
    for share in (0.5, 0.0):
        copied_returns = learned(f"copy {share}", joined(parts, share, cost_record([], 0, 0.0, {})))
        assert z_score(real, copied_returns) < 4
    whole = joined(parts, 0.5, cost_record([], 0, 0.0, {}))
    mixed = np.random.default_rng(0).permutation(len(whole))
    broken = learned("broken", replace(whole, actions=whole.actions[mixed]))
    assert z_score(real, broken) > 4
    assert broken.mean() < 2 * real.mean()


@pytest.fixture(scope="module")
def hopper():
    return Physics(ENVIRONMENTS["hopper"])


@pytest.fixture(scope="module")
def windows(collected_hopper) -> Transitions:
    """Real transitions in windows of three steps, with wrong rewards, next states and discounts."""
    data = collected_hopper.rows(np.arange(len(collected_hopper)) % 5 == 0)
    ends = np.flatnonzero(collected_hopper.discounts == 0)  # all terminals, which are rare
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
        cost=cost_record([], 7, 12.0, {"kept": n}),
    )


def test_the_oracle_reproduces_real_transitions(hopper, collected_hopper):
    oracle_data = corrected(collected_hopper, hopper, 0.99)
    known = ~hopper.cut(collected_hopper.observations)
    assert known.mean() > 0.9
    np.testing.assert_allclose(
        oracle_data.next_observations[known], collected_hopper.next_observations[known], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(oracle_data.rewards[known], collected_hopper.rewards[known], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(oracle_data.discounts[known], collected_hopper.discounts[known])
    assert (oracle_data.discounts == 0).any()
    columns = oracle_data.next_observations, oracle_data.rewards, oracle_data.discounts
    assert {column.dtype for column in columns} == {np.dtype(np.float32)}


def test_the_oracle_replaces_all_imagined_consequences_and_nothing_else(hopper, windows):
    oracle_data = corrected(windows, hopper, 0.99)
    expected = corrected(replace(windows, rewards=windows.rewards + 1, discounts=windows.discounts * 0), hopper, 0.99)
    for name in ("next_observations", "rewards", "discounts"):
        assert getattr(oracle_data, name).tobytes() == getattr(expected, name).tobytes()
        assert (getattr(oracle_data, name) != getattr(windows, name)).all()
    for name in ("observations", "actions", "generator", "step", "real_fraction", "cost"):
        np.testing.assert_array_equal(getattr(oracle_data, name), getattr(windows, name))
    healthy = gym_mujoco("hopper").healthy(oracle_data.next_observations)
    assert 0 < (~healthy).sum() < len(healthy)
    np.testing.assert_array_equal(oracle_data.discounts, np.where(healthy, np.float32(0.99), 0))


def test_rows_without_a_finite_answer_of_the_simulator_are_left_out(windows):
    n = len(windows)
    next_states, rewards, ended = np.tile(np.arange(n)[:, None], 11) / 1.0, np.arange(n) / 1.0, np.arange(n) % 2 == 0
    next_states[3, 4], rewards[7] = np.nan, np.inf
    oracle_data = corrected(windows, lambda states, actions: (next_states, rewards, ended), 0.9)
    left = np.setdiff1d(np.arange(n), [3, 7])
    np.testing.assert_array_equal(oracle_data.rewards, left)
    np.testing.assert_array_equal(oracle_data.next_observations[:, 5], left)
    np.testing.assert_array_equal(oracle_data.discounts, np.where(left % 2 == 0, 0, np.float32(0.9)))
    for name in ("observations", "actions", "generator", "step"):
        np.testing.assert_array_equal(getattr(oracle_data, name), getattr(windows, name)[left])


def test_shuffling_replaces_only_the_later_actions_of_each_window(windows, episodes, collected_hopper):
    given = replace(windows, actions=windows.actions * 0.5)  # so that none occurs in the data
    control = shuffled(given, collected_hopper, numpy_stream("shuffled"))
    real = {bytes(row) for row in collected_hopper.actions}
    assert not {bytes(row) for row in given.actions} & real
    later = windows.step > 0
    np.testing.assert_array_equal(control.actions[~later], given.actions[~later])
    assert {bytes(row) for row in control.actions[later]} <= real
    assert control.actions.dtype == np.float32
    for name, column in given.arrays().items():
        if name != "actions":
            np.testing.assert_array_equal(getattr(control, name), column)
    again, other = (shuffled(given, collected_hopper, numpy_stream(name)) for name in ("shuffled", "other"))
    np.testing.assert_array_equal(again.actions, control.actions)
    assert not np.array_equal(other.actions, control.actions)


def test_shuffled_actions_are_uniform_over_the_data_and_uncorrelated_with_the_replaced_ones(episodes):
    """By a χ² test of their frequencies, and by their correlation with the original actions."""
    rows = np.random.default_rng(0).integers(len(episodes), size=60_000)
    given = Transitions(**{name: getattr(episodes, name)[rows] for name in COLUMNS}, step=np.ones(len(rows), np.int16))
    control = shuffled(given, episodes, numpy_stream("shuffled"))
    real = np.unique([bytes(row) for row in episodes.actions])
    counts = np.bincount(np.searchsorted(real, [bytes(row) for row in control.actions]), minlength=len(real))
    expected = len(rows) / len(real)
    assert len(real) == len(episodes)
    assert abs(((counts - expected) ** 2 / expected).sum() - (len(real) - 1)) < 4 * np.sqrt(2 * (len(real) - 1))
    correlation = np.corrcoef(np.c_[given.actions, control.actions].T)[:2, 2:]
    assert np.abs(correlation).max() < 4 / np.sqrt(len(rows))


def test_a_derived_cost_record_names_its_source_and_keeps_the_costs(tmp_path):
    weights, source = tmp_path / "weights", tmp_path / "dawm.npz"
    weights.write_bytes(b"weights")
    source.write_bytes(b"transitions")
    first = cost_record([str(weights)], 123, 4.56789, {"kept": 5, "dropped": 1})
    derived = json.loads(str(derived_cost_record(str(source), first)))
    assert derived == {
        "trained": [hashlib.md5(b"weights").hexdigest()],
        "source": hashlib.md5(b"transitions").hexdigest(),
        "parameters": 123,
        "evaluations": 4.568,
        "counts": {"kept": 5, "dropped": 1},
    }
    assert json.loads(str(first)) == {**derived, "source": None}


@pytest.fixture
def stage(tiny_params, collected_hopper, windows, tmp_path, monkeypatch):
    """A function that runs a control's stage on data of two generators and returns its training set and cost record."""
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
        return SimpleNamespace(record=record, cost=json.loads(str(record.cost)))

    return run


def test_the_stage_copy_writes_the_budget_s_number_of_transitions_for_each_generator(
    stage, tiny_params, collected_hopper
):
    output = stage(copy)
    count = tiny_params["budget"]["transitions"]
    assert output.record.generator.tolist() == [0] * count + [1] * count
    assert output.record.real_fraction == tiny_params["real_fraction"]
    assert set(rows_of(output.record)) <= set(rows_of(collected_hopper))
    assert rows_of(output.record)[:count] != rows_of(output.record)[count:]
    nothing = {"trained": [], "source": None, "parameters": 0, "evaluations": 0}
    assert output.cost == {**nothing, "counts": {"kept": 2 * count}}


@pytest.mark.parametrize("module", [oracle, shuffling])
def test_oracle_and_shuffled_record_dawm_s_set_as_their_source(stage, windows, module):
    output = stage(module)
    with open("data/hopper-medium-replay/dawm.npz", "rb") as file:
        source = hashlib.md5(file.read()).hexdigest()
    assert output.cost == {**json.loads(str(windows.cost)), "source": source}
    assert output.record.real_fraction == windows.real_fraction
    assert len(output.record) == len(windows)
    np.testing.assert_array_equal(output.record.observations, windows.observations)
    changed = {name for name in COLUMNS if not np.array_equal(getattr(output.record, name), getattr(windows, name))}
    assert changed == ({"actions"} if module is shuffling else {"rewards", "next_observations", "discounts"})
    again = stage(module)
    assert all(np.array_equal(column, getattr(again.record, name)) for name, column in output.record.arrays().items())


def test_the_oracle_refuses_an_environment_whose_state_is_not_observed(stage):
    Task({"id": "PointMaze_UMaze-v3"}, 300, 1.0, None).save("hopper-medium-replay")
    with pytest.raises(SystemExit, match=r"^oracle hopper-medium-replay: the observation does not hold .*leave oracle"):
        stage(oracle)

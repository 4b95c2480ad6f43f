"""DAWM corrected by a forward model: linear models with known answers, windows rolled out, and the two stages."""

import json
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from stages.baselines.corrected import __main__ as correct_module
from stages.baselines.corrected import train as train_module
from stages.baselines.corrected.__main__ import corrected
from stages.common.settings import shared
from stages.common.timing import digest
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.forward_model.model import ForwardModel
from stages.forward_model.train import fit
from stages.synthetic_data.cost import cost_record
from stages.tasks.tasks import gym_mujoco
from tests.conftest import overlaid

A, B = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([[-0.5], [0.3]])
REWARD = np.array([1.0, 0.0, -2.0])
DISCOUNT = 0.9


def linear_model(biases=(0.0,), ends=None) -> ForwardModel:
    """Members that predict s' = A s + B a + bias and r = REWARD · (s, a) + bias; `ends` is the terminal logit."""
    streams = [torch_stream(k) for k in range(len(biases))]
    terminal = ends is not None
    model = ForwardModel(2, 1, terminal, [], streams, len(biases), gaussian=False, norm=True)
    matrix = np.c_[REWARD, np.zeros((3, int(terminal))), np.r_[(A - np.eye(2)).T, B.T]]
    with torch.no_grad():
        model.dynamics.layers[0].weight.copy_(torch.from_numpy(matrix))
        for member, bias in enumerate(biases):
            model.dynamics.layers[0].bias[member, 0] = bias
            if terminal:
                model.dynamics.layers[0].bias[member, 0, 1] = ends
    return model


class Everywhere:
    """Bounds that reject a first coordinate beyond `limit`."""

    def __init__(self, limit=1e9):
        self.limit = limit

    def plausible(self, rewards, states):
        return np.abs(states[:, 0]) <= self.limit


def settings(**changes):
    return SimpleNamespace(**{"replaced": "both", "rollout": False, "kept": 1.0, "filter": "disagreement", **changes})


@pytest.fixture
def dawm() -> Transitions:
    """Two generators with three windows each, of three, two and three steps; consequences follow from nothing."""
    rng = np.random.default_rng(0)
    step = np.array([0, 1, 2, 0, 1, 0, 1, 2] * 2, dtype=np.int16)
    states, following = rng.standard_normal((2, 16, 2)).astype(np.float32)
    return Transitions(
        observations=states,
        actions=rng.uniform(-1, 1, (16, 1)).astype(np.float32),
        rewards=rng.standard_normal(16).astype(np.float32),
        next_observations=following,
        discounts=np.full(16, DISCOUNT, dtype=np.float32),
        generator=np.repeat(np.arange(2, dtype=np.int8), 8),
        step=step,
        real_fraction=np.float32(0.5),
        cost=cost_record([], 7, 12.0, {"kept": 16}),
    )


def system(states, actions):
    """Next states and rewards."""
    return states @ A.T + actions @ B.T, np.hstack([states, actions]) @ REWARD


def test_each_transition_gets_the_consequences_of_its_own_generator_s_model(dawm):
    result, counts = corrected(dawm, [linear_model(), linear_model([0.5])], None, Everywhere(), DISCOUNT, settings())
    for name in ("observations", "actions", "generator", "step", "real_fraction", "cost"):
        np.testing.assert_array_equal(getattr(result, name), getattr(dawm, name))
    bias = 0.5 * (dawm.generator == 1)
    next_states, rewards = system(dawm.observations, dawm.actions)
    np.testing.assert_allclose(result.next_observations, next_states + bias[:, None], atol=1e-5)
    np.testing.assert_allclose(result.rewards, rewards + bias, atol=1e-5)
    assert (result.discounts == np.float32(DISCOUNT)).all()
    assert counts == {"kept": 16, "dropped": 0}
    assert {result.rewards.dtype, result.next_observations.dtype, result.discounts.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("replaced", "own"), [("states", "rewards"), ("rewards", "next_observations")])
def test_only_what_is_named_is_replaced(dawm, replaced, own):
    both, _ = corrected(dawm, [linear_model()] * 2, None, Everywhere(), DISCOUNT, settings())
    result, _ = corrected(dawm, [linear_model()] * 2, None, Everywhere(), DISCOUNT, settings(replaced=replaced))
    other = {"rewards": "next_observations", "next_observations": "rewards"}[own]
    np.testing.assert_array_equal(getattr(result, own), getattr(dawm, own))
    np.testing.assert_array_equal(getattr(result, other), getattr(both, other))


def test_a_rolled_out_window_follows_the_model_with_dawm_s_actions(dawm):
    result, _ = corrected(dawm, [linear_model()] * 2, None, Everywhere(), DISCOUNT, settings(rollout=True))
    assert len(result) == len(dawm)
    np.testing.assert_array_equal(result.actions, dawm.actions)
    for start in np.flatnonzero(dawm.step == 0):
        state = dawm.observations[start]
        rows = [start + h for h in range(3) if start + h < len(dawm) and (h == 0 or dawm.step[start + h] == h)]
        for row in rows:
            np.testing.assert_allclose(result.observations[row], state, atol=1e-5)
            state, reward = system(state, dawm.actions[row])
            np.testing.assert_allclose(result.next_observations[row], state, atol=1e-5)
            assert result.rewards[row] == pytest.approx(reward, abs=1e-5)


@pytest.mark.parametrize("rollout", [False, True])
def test_an_end_by_the_rule_ends_a_rolled_out_window_and_an_implausible_step_is_dropped(dawm, rollout):
    def healthy(states):
        return states[..., 1] < 0

    limit = 0.8
    everything, _ = corrected(dawm, [linear_model()] * 2, None, Everywhere(), DISCOUNT, settings(rollout=rollout))
    end, outside = everything.next_observations[:, 1] >= 0, np.abs(everything.next_observations[:, 0]) > limit
    assert (end & ~outside)[np.flatnonzero(dawm.step > 0) - 1].any()  # after which the window would go on
    kept, reached = [], True
    for row, step in enumerate(dawm.step):
        reached = reached or step == 0 or not rollout
        kept.append(reached and not outside[row])
        reached = reached and not (outside[row] or end[row])
    config = settings(rollout=rollout)
    result, counts = corrected(dawm, [linear_model()] * 2, healthy, Everywhere(limit), DISCOUNT, config)
    assert 0 < sum(kept) < 16
    np.testing.assert_array_equal(result.actions, dawm.actions[kept])
    np.testing.assert_array_equal(result.discounts == 0, end[kept])
    assert counts["kept"] == sum(kept)
    assert counts["dropped"] > 0


def test_without_a_rule_the_model_decides_where_tasks_end(dawm):
    for logit in (-50.0, 50.0):
        result, _ = corrected(dawm, [linear_model(ends=logit)] * 2, None, Everywhere(), DISCOUNT, settings())
        assert ((result.discounts == 0) == (logit > 0)).all()


def test_transitions_on_which_the_members_disagree_most_are_dropped_from_each_generator(dawm):
    model = linear_model([0.0, 0.0, 0.0])
    with torch.no_grad():  # the members differ in proportion to the action
        for member in range(3):
            model.dynamics.layers[0].weight[member, 2] += member
    result, counts = corrected(dawm, [model] * 2, None, Everywhere(), DISCOUNT, settings(kept=0.5))
    assert counts == {"kept": 8, "dropped": 0}
    for k in range(2):
        size = np.abs(dawm.actions[dawm.generator == k, 0])
        np.testing.assert_array_equal(
            result.actions[result.generator == k, 0], dawm.actions[dawm.generator == k, 0][size <= np.sort(size)[3]]
        )
    mean, _ = system(result.observations, result.actions)
    np.testing.assert_allclose(result.next_observations, mean + result.actions, atol=1e-5)  # of the members


def test_next_states_far_from_the_model_s_are_dropped_and_nothing_is_replaced(dawm):
    dawm = replace(dawm, next_observations=dawm.next_observations * np.float32([1, 30]))
    config = settings(replaced="nothing", filter="agreement", kept=0.5)
    result, counts = corrected(dawm, [linear_model(), linear_model([0.5])], None, Everywhere(), DISCOUNT, config)
    assert counts == {"kept": 8, "dropped": 0}
    predicted = system(dawm.observations, dawm.actions)[0] + 0.5 * (dawm.generator == 1)[:, None]
    distance = np.square((predicted - dawm.next_observations) / dawm.next_observations.std(0)).sum(1)
    kept = [row for k in range(2) for row in sorted(8 * k + np.argsort(distance[8 * k : 8 * k + 8])[:4])]
    for name, column in dawm.rows(np.isin(np.arange(16), kept)).arrays().items():
        np.testing.assert_array_equal(getattr(result, name), column)


def test_disagreement_is_the_elites_standard_deviation():
    model = linear_model([0.0, 1.0, 5.0])
    model.elites = torch.tensor([0, 1])
    *_, disagreement = model.expect(torch.zeros(4, 2), torch.zeros(4, 1))
    np.testing.assert_allclose(disagreement, 0.5, rtol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"members": 3}, {"loss": "likelihood"}])
def test_a_trained_model_predicts_the_system(params, changes):
    rng = np.random.default_rng(0)
    states, actions = rng.standard_normal((4000, 2)), rng.uniform(-1, 1, (4000, 1))
    next_states, rewards = system(states, actions)
    columns = states, actions, rewards, next_states, np.full(4000, DISCOUNT)
    arrays = [column.astype(np.float32) for column in columns]
    data = Transitions(*arrays, np.arange(4000, dtype=np.int32) // 10, np.arange(4000) % 10 == 9)
    changes = {"hidden": [64, 64], "steps": 500, "batch": 256, "learning_rate": 5e-3, **changes}
    config = shared(params.corrected.dynamics, params.budget).model_copy(update=changes)
    model = fit(train_module.build(data, False, "linear", 0, config), data, ("corrected", "linear", 0), config)
    rewards, ended, next_states, _ = model.expect(torch.from_numpy(arrays[0]), torch.from_numpy(arrays[1]))
    assert ended is None
    assert np.sqrt(np.mean((rewards.numpy() - arrays[2]) ** 2)) < 0.05 * arrays[2].std()
    assert np.sqrt(np.mean((next_states.numpy() - arrays[3]) ** 2)) < 0.05


def test_the_stages_write_a_training_set_with_both_costs(tiny_params, episodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "line"])
    changes = {"generators": 2, "corrected": {"real_fraction": 0.25}, "augment": {"margin": 1000.0}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(tiny_params, changes)))
    episodes.save("data/line/real.npz")
    gym_mujoco("halfcheetah").save("line")
    rows = np.r_[np.arange(50), np.arange(50)]
    columns = {name: getattr(episodes, name)[rows] for name in ("observations", "actions", "next_observations")}
    dawm = Transitions(
        **columns,
        rewards=np.full(100, -3, dtype=np.float32),
        discounts=np.full(100, 0.99, dtype=np.float32),
        generator=np.repeat(np.arange(2, dtype=np.int8), 50),
        step=np.tile(np.arange(5, dtype=np.int16), 20),
        real_fraction=np.float32(0.5),
        cost=cost_record([], 7, 12.0, {"kept": 100}),
    )
    dawm.save("data/line/dawm.npz")
    train_module.main()
    correct_module.main()
    result = Transitions.load("data/line/corrected.npz")
    assert len(result) == 100
    assert result.real_fraction == np.float32(0.25)
    np.testing.assert_array_equal(result.actions, dawm.actions)
    halves = result.next_observations[:50], result.next_observations[50:]
    assert not np.array_equal(*halves)  # each generator has its own forward model
    cost = json.loads(str(result.cost))
    assert cost["trained"] == [digest("models/line/corrected.safetensors")]
    assert cost["source"] == digest("data/line/dawm.npz")
    widths = [5, *tiny_params["corrected"]["dynamics"]["hidden"], 4]
    assert cost["parameters"] == 7 + sum((i + 1) * o for i, o in pairwise(widths))
    assert cost["evaluations"] == 12 + 1
    assert cost["counts"] == {"kept": 100, "dropped": 0}
    first = result.next_observations.copy()
    correct_module.main()
    np.testing.assert_array_equal(Transitions.load("data/line/corrected.npz").next_observations, first)

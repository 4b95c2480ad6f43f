"""The one-step models on a linear system with known noise; rollouts of a linear model against their closed form;
elites, penalties, terminals and reproducibility.
"""

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from stages.baselines.onestep import rollout as rollout_module
from stages.baselines.onestep import train as train_module
from stages.baselines.onestep.rollout import rollout
from stages.baselines.onestep.train import advantage_weights, build, train
from stages.common.settings import shared
from stages.common.timing import digest
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.fidelity.value import Value
from stages.forward_model import train as fit_module
from stages.forward_model.onestep import OneStep
from stages.synthetic_data.bounds import Bounds
from stages.synthetic_data.complete import to_transitions
from stages.synthetic_data.generate import generate
from stages.synthetic_data.terminals import terminals_learned
from stages.tasks.tasks import Task, gym_mujoco
from tests.conftest import overlaid

A, B = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([[-0.5], [0.3]])
K, SPREAD = np.array([[0.5, -0.4]]), 0.2  # of the behaviour policy: a = K s + SPREAD ε
REWARD, REWARD_NOISE = np.array([1.0, 0.0, -2.0]), 0.05
EPISODES, LENGTH = 1000, 10
LEARNED = True  # terminals, because TASK has no rule
TASK = Task({"id": "PointMaze_UMaze-v3"}, 300, 10.0, None)


def noise(states):
    """The standard deviations of the next state, (N, 2): the first depends on the state, the second does not."""
    return np.c_[0.1 * np.exp(0.5 * states[:, 0]), np.full(len(states), 0.03)]


@pytest.fixture(scope="module")
def system() -> Transitions:
    """s' = A s + B a + noise(s) ε, r = s₀ - 2 a + noise."""
    rng = np.random.default_rng(0)
    states, parts = 0.5 * rng.standard_normal((EPISODES, 2)), []
    for _ in range(LENGTH):
        actions = (states @ K.T + SPREAD * rng.standard_normal((EPISODES, 1))).clip(-1, 1)
        rewards = np.c_[states, actions] @ REWARD + REWARD_NOISE * rng.standard_normal(EPISODES)
        next_states = states @ A.T + actions @ B.T + noise(states) * rng.standard_normal((EPISODES, 2))
        parts.append((states, actions, rewards, next_states))
        states = next_states
    columns = [np.stack(part, axis=1).astype(np.float32) for part in zip(*parts, strict=True)]
    columns = [column.reshape(EPISODES * LENGTH, *column.shape[2:]) for column in columns]
    episode, last = np.divmod(np.arange(EPISODES * LENGTH, dtype=np.int32), LENGTH)
    return Transitions(*columns, np.full(len(episode), 0.99, dtype=np.float32), episode, last == LENGTH - 1)


def small(params, **changes):
    """Settings of small networks that learn the linear system."""
    changes = {"hidden": [32, 32], "steps": 700, "batch": 256, "learning_rate": 5e-3, **changes}
    return shared(params.onestep.dynamics, params.budget).model_copy(update=changes)


@pytest.fixture(scope="module")
def trained(params, system) -> OneStep:
    return train(system, False, "linear", 0, small(params), torch.device("cpu"))


@pytest.fixture(scope="module")
def points():
    """States and actions well inside the data, as NumPy arrays and as tensors."""
    rng = np.random.default_rng(1)
    states, actions = rng.uniform(-0.6, 0.6, (200, 2)), rng.uniform(-0.4, 0.4, (200, 1))
    return states, actions, torch.from_numpy(states).float(), torch.from_numpy(actions).float()


def test_every_member_predicts_the_system_s_mean_and_standard_deviation(trained, points):
    states, actions, *tensors = points
    with torch.no_grad():
        mean, log_variance = trained.predict(trained.inputs(torch.cat(tensors, dim=1)).expand(3, -1, -1))
    mean, std = trained.targets.inverse(mean).numpy(), ((log_variance / 2).exp() * trained.targets.std).numpy()
    next_states = states @ A.T + actions @ B.T
    expected = np.c_[np.c_[states, actions] @ REWARD, next_states - states]
    expected_std = np.c_[np.full(len(states), REWARD_NOISE), noise(states)]
    for member in range(3):
        error = (mean[member] - expected) / expected_std
        assert (np.sqrt((error**2).mean(0)) < 0.3).all()
        ratio = std[member] / expected_std
        np.testing.assert_allclose(ratio.mean(0), 1, atol=0.12)
        assert 0.6 < ratio.min() < ratio.max() < 1.5
    assert not np.array_equal(mean[0], mean[1])


def test_the_cloned_policy_matches_the_behaviour_of_the_data(trained, points):
    states, _, tensor, _ = points
    with torch.no_grad():
        mean, log_std = trained.act(tensor)
    np.testing.assert_allclose(mean, states @ K.T, atol=0.4 * SPREAD)
    assert np.sqrt(((mean.numpy() - states @ K.T) ** 2).mean()) < 0.15 * SPREAD
    np.testing.assert_allclose(log_std.exp() / SPREAD, 1, atol=0.25)


def test_a_trained_rollout_starts_with_the_given_action_and_continues_with_the_cloned_policy(trained):
    count, state, action = 20_000, np.array([0.4, -0.3]), np.array([0.5])
    starts = (torch.from_numpy(part).float().expand(count, -1) for part in (state, action))
    path, actions, rewards, ended, penalties = rollout(trained, None, *starts, 4, 0.0, torch_stream("rollout"))
    shapes = [part.shape for part in (path, actions, rewards, ended, penalties)]
    assert shapes == [(count, 5, 2), (count, 4, 1), (count, 4), (count, 4), (count, 4)]
    assert (path[:, 0] == state.astype(np.float32)).all()
    assert (actions[:, 0] == np.float32(0.5)).all()
    assert np.abs(actions).max() <= 1
    assert not ended.any()
    assert not penalties.any()
    expected = A @ state + B @ action
    for h in range(1, 5):
        np.testing.assert_allclose(path[:, h].mean(0), expected, atol=0.02)
        expected = (A + B @ K) @ expected
    for h in range(1, 4):
        gains = np.linalg.lstsq(np.c_[path[:, h], np.ones(count)], actions[:, h], rcond=None)[0][:2].T
        np.testing.assert_allclose(gains, K, atol=0.1)


STDS = np.array([[0.05, 0.1, 0.02], [0.3, 0.04, 0.05], [9, 9, 9]])  # of reward and state, for each member


def linear_model(terminal=False, biases=(0, 0, 0), ends=0.0) -> OneStep:
    """Three members equal to the system, each with a bias and standard deviations (STDS); the first two are elites.

    The normalisers are not the identity. The cloned policy is a = K s + 0.1 ε. `ends` is the terminal logit: far above
    0 every task ends, far below 0 none does.
    """
    streams = [torch_stream(k) for k in range(3)]
    model = OneStep(2, 1, terminal, SimpleNamespace(hidden=[], elites=2), streams)
    size = 3 + terminal
    model.inputs.mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    model.inputs.std.copy_(torch.tensor([2.0, 0.5, 1.5]))
    model.targets.mean.copy_(torch.linspace(-1, 1, size))
    model.targets.std.copy_(torch.linspace(0.5, 2, size))
    channels = np.arange(3) + (np.arange(3) > 0) * terminal  # of the reward and the state
    matrix = np.zeros((3, size))
    matrix[:, channels] = np.r_[REWARD[None], np.c_[A - np.eye(2), B]].T
    mean, std = (getattr(model.targets, name).numpy() for name in ("mean", "std"))
    layer, behaviour = model.dynamics.layers[0], model.behaviour.layers[0]
    with torch.no_grad():
        model.highest.fill_(30)
        model.lowest.fill_(-30)
        layer.weight.zero_()
        behaviour.weight.zero_()
        layer.weight[:, :, :size] = torch.from_numpy(model.inputs.std.numpy()[:, None] * matrix / std)
        for member, bias in enumerate(biases):
            offset = model.inputs.mean.numpy() @ matrix
            offset[channels] += bias
            offset[1 : 1 + terminal] += ends
            layer.bias[member, 0, :size] = torch.from_numpy((offset - mean) / std)
            deviation = np.full(size, 7.0)  # the terminal's, which is not part of the uncertainty
            deviation[channels] = STDS[member]
            layer.bias[member, 0, size:] = torch.from_numpy(2 * np.log(deviation / std))
        behaviour.weight[0, :, 0] = torch.from_numpy(K[0] * model.inputs.std[:2].numpy())
        behaviour.bias[0, 0] = torch.tensor([K[0] @ model.inputs.mean[:2].numpy(), np.log(0.1)])
    return model


def test_rollouts_of_a_linear_model_have_the_closed_form_s_moments():
    """The mean is A_cl^h s₁; the covariance is that of a mixture of two elites that differ only in their noise."""
    count, state, action = 40_000, np.array([0.4, -0.3]), np.array([0.5])
    starts = (torch.from_numpy(part).float().expand(count, -1) for part in (state, action))
    path, actions, rewards, *_ = rollout(linear_model(), None, *starts, 5, 0.0, torch_stream("rollout"))
    closed, each = A + B @ K, np.diag((STDS[:2, 1:] ** 2).mean(0))
    mean, covariance = A @ state + B @ action, each
    reward, variance = REWARD @ np.r_[state, action], (STDS[:2, 0] ** 2).mean()
    through = REWARD[:2] + REWARD[2] * K[0]
    for h in range(1, 6):
        states, error = path[:, h], np.sqrt(np.diag(covariance) / count)
        assert (np.abs(states.mean(0) - mean) < 4 * error).all()
        scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        np.testing.assert_allclose((np.cov(states.T) - covariance) / scale, 0, atol=0.04)
        assert abs(rewards[:, h - 1].mean() - reward) < 4 * np.sqrt(variance / count)
        assert rewards[:, h - 1].var() == pytest.approx(variance, rel=0.05)
        if h < 5:
            action_noise = actions[:, h, 0] - states @ K[0]
            assert abs(action_noise.mean()) < 4 * 0.1 / np.sqrt(count)
            assert action_noise.std() == pytest.approx(0.1, rel=0.02)
        reward = through @ mean
        variance = through @ covariance @ through + 0.01 * REWARD[2] ** 2 + (STDS[:2, 0] ** 2).mean()
        mean, covariance = closed @ mean, closed @ covariance @ closed.T + 0.01 * B @ B.T + each


def test_each_row_comes_from_a_random_elite_and_from_no_other_member():
    model, count = linear_model(biases=(-50, 50, 1000)), 4000
    starts = torch.zeros(count, 2), torch.zeros(count, 1)
    rewards, _, next_states, _ = model.step(*starts, torch_stream("a"))
    first = next_states[:, 0] < 0
    assert (next_states[:, 0].abs() - 50).abs().max() < 1
    assert torch.equal(first, rewards < 0)  # one member predicts the whole row
    assert torch.equal(first, next_states[:, 1] < 0)
    assert abs(first.float().mean() - 0.5) < 4 * 0.5 / np.sqrt(count)
    assert 0.4 < (first[1:] == first[:-1]).float().mean() < 0.6
    model.elites.copy_(torch.tensor([2, 1]))
    others = model.step(*starts, torch_stream("a"))[2][:, 0]
    assert ((others - 50).abs().lt(1) | (others - 1000).abs().lt(100)).all()
    assert others.gt(500).any()


@pytest.mark.parametrize("terminal", [False, True])
def test_penalties_are_the_largest_deviation_of_any_member_times_the_penalty(terminal):
    model, starts = linear_model(terminal), (torch.zeros(50, 2), torch.zeros(50, 1))
    largest = np.linalg.norm(STDS, axis=1).max()
    assert model.elites.tolist() == [0, 1]
    assert np.linalg.norm(STDS, axis=1).argmax() == 2  # the largest is of the member that is not an elite
    for penalty in (0.0, 1.0, 5.0):
        *_, penalties = rollout(model, None, *starts, 3, penalty, torch_stream("a"))
        np.testing.assert_allclose(penalties, penalty * largest, rtol=1e-4)


class Line:
    """Bounds in which rewards are plausible within ±10."""

    def plausible(self, rewards, states):
        return np.abs(rewards) <= 10


def test_penalties_are_subtracted_after_the_plausibility_filter():
    states, actions = np.zeros((3, 3, 1), np.float32), np.zeros((3, 2, 1), np.float32)
    rewards = np.array([[1, 2], [-9, 11], [11, 3]], dtype=np.float32)
    penalties = np.array([[100, 0.5], [5, 5], [50, 5]], dtype=np.float32)
    columns, counts = to_transitions(states, actions, rewards, np.zeros((3, 2), bool), 0.9, Line(), penalties)
    assert columns["rewards"].tolist() == [1 - 100, 2 - 0.5, -9 - 5]
    assert columns["rewards"].dtype == np.float32
    assert counts == {"kept": 3, "dropped": 3, "after_terminal": 0}


def test_a_penalty_lowers_rewards_and_keeps_the_same_transitions(params, system):
    augment = params.augment.model_copy(update={"transitions": 300, "margin": 0.1, "max_drop": 0.9})
    model, config, results = linear_model(biases=(0.7, 0, 0)), params.model_copy(update={"augment": augment}), []
    for penalty in (0.0, 5.0):
        stream = torch_stream("a")

        def sample_windows(starts, penalty=penalty, stream=stream):
            given = (torch.from_numpy(part)[starts] for part in (system.observations, system.actions))
            return rollout(model, None, *given, 3, penalty, stream)

        results.append(generate(system, sample_windows, config, "onestep linear", stream))
    (plain, counts), (lower, penalised_counts) = results
    assert counts == penalised_counts
    assert counts["dropped"] > 0
    assert len(plain["rewards"]) == 300
    for name in plain.keys() - {"rewards"}:
        np.testing.assert_array_equal(plain[name], lower[name])
    largest = np.linalg.norm(STDS, axis=1).max()
    np.testing.assert_allclose(plain["rewards"] - lower["rewards"], 5 * largest, rtol=1e-4)
    assert Bounds(system, 0.1).plausible(plain["rewards"][:, None], plain["next_observations"][:, None]).all()
    assert not Bounds(system, 0.1).inside(lower["rewards"], Bounds(system, 0.1).rewards).all()


@dataclass(frozen=True)
class Rule:
    """A task with the rule `healthy` for terminals."""

    healthy: object = None


def below(states):
    return states[..., 0] < 0.1


def test_the_environment_s_rule_overrides_the_models_terminals():
    starts = torch.zeros(500, 2), torch.zeros(500, 1)
    for model in (linear_model(), linear_model(terminal=True, ends=200), linear_model(terminal=True, ends=-200)):
        path, _, _, ended, _ = rollout(model, below, *starts, 3, 0.0, torch_stream("a"))
        np.testing.assert_array_equal(ended, path[:, 1:, 0] >= 0.1)
        assert 0 < ended.sum() < ended.size
        _, _, _, ended, _ = rollout(model, None, *starts, 3, 0.0, torch_stream("a"))
        assert (ended == (model.terminal and model.dynamics.layers[0].bias[0, 0, 1] > 0)).all()
    assert linear_model().step(*starts, torch_stream("a"))[1] is None


def test_without_a_rule_the_models_learn_where_tasks_end(params):
    """A step ends the task if it crosses a line; about a sixth of the steps do."""
    rng = np.random.default_rng(0)
    states, actions = rng.standard_normal((6000, 2)), rng.uniform(-1, 1, (6000, 1))
    next_states = states + 0.3 * actions + 0.02 * rng.standard_normal((6000, 2))
    ended = next_states[:, 0] > 1
    columns = states, actions, states[:, 0], next_states, np.where(ended, 0, 0.99)
    arrays = [column.astype(np.float32) for column in columns]
    data = Transitions(*arrays, np.arange(6000, dtype=np.int32), ~ended)
    assert terminals_learned(data, Rule(), "rule")
    assert not terminals_learned(data, Rule(below), "rule")
    assert terminals_learned(data, Rule(below), "model")
    assert not terminals_learned(data.rows(~ended), Rule(), "rule")
    assert not terminals_learned(data.rows(~ended), Rule(), "model")
    model = train(data, True, "line", 0, small(params, steps=500), torch.device("cpu"))
    starts = (torch.from_numpy(array) for array in arrays[:2])
    rewards, predicted_ends, predicted_states, _ = model.step(*starts, torch_stream("a"))
    assert predicted_ends.float().mean() == pytest.approx(ended.mean(), abs=0.04)
    assert (predicted_ends.numpy() == ended).mean() > 0.92
    np.testing.assert_allclose(predicted_states, next_states, atol=0.2)
    assert np.median(np.abs(rewards.numpy() - arrays[2])) < 0.05


@pytest.mark.parametrize("worst", [0, 1, 2])
def test_elites_are_the_members_with_the_smallest_error_on_the_given_rows(trained, system, worst):
    tensors = [torch.from_numpy(array[:500]) for array in (system.observations, system.actions)]
    targets = np.c_[system.rewards, system.next_observations - system.observations][:500].astype(np.float32)
    original = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    with torch.no_grad():
        trained.dynamics.layers[1].weight[worst] += 0.5
    trained.choose(*tensors, torch.from_numpy(targets))
    elites = trained.elites.tolist()
    with torch.no_grad():
        mean, _ = trained.predict(trained.inputs(torch.cat(tensors, dim=1)).expand(3, -1, -1))
    trained.load_state_dict(original)
    std = np.concatenate([system.rewards[:, None], system.next_observations - system.observations], axis=1).std(0)
    errors = (((trained.targets.inverse(mean).numpy() - targets) / std) ** 2).mean((1, 2))
    assert elites == np.argsort(errors)[:2].tolist()
    assert worst not in elites
    assert len(set(elites)) == 2


def test_elites_are_chosen_on_held_out_episodes_and_training_uses_the_rest(params, system, device, monkeypatch):
    calls, choose, noise_of = {}, OneStep.choose, fit_module.UpdateNoise

    def recording_choose(self, *arrays):
        calls["choose"] = arrays
        choose(self, *arrays)

    def recording_noise(rows, count, shape):
        calls["rows"], calls["count"] = rows, count
        return noise_of(rows, count, shape)

    monkeypatch.setattr(OneStep, "choose", recording_choose)
    monkeypatch.setattr(fit_module, "UpdateNoise", recording_noise)
    config = small(params, steps=2, held_out=0.1)
    train(system, False, "linear", 0, config, device)
    held_out = np.setdiff1d(np.arange(len(system)), calls["rows"])
    assert len(held_out) == 0.1 * len(system)
    assert not set(system.episode[held_out]) & set(system.episode[calls["rows"]])
    states, actions, targets = calls["choose"]
    np.testing.assert_array_equal(states, system.observations[held_out])
    np.testing.assert_array_equal(actions, system.actions[held_out])
    change = system.next_observations - system.observations
    np.testing.assert_array_equal(targets, np.c_[system.rewards, change][held_out])
    assert calls["count"] == 3 * config.batch  # each member has a batch of its own


def test_the_loss_is_the_likelihood_of_the_members_and_the_cloned_policy(system):
    """Compared with torch's Gaussian likelihood, each member on its own rows, plus the weight of the learned bounds."""
    model = linear_model()
    normal = torch.distributions.Normal
    draws = SimpleNamespace(rows=torch.arange(90) + 7, starts=torch.randint(90, (60,), generator=torch_stream("a")))
    change = system.next_observations - system.observations
    arrays = system.observations, system.actions, np.c_[system.rewards, change]
    states, actions, targets = (torch.from_numpy(array[:200]) for array in arrays)
    with torch.no_grad():
        loss = model.loss(states, actions, targets, draws)
    expected = torch.tensor(0.01 * 3 * 3 * (30 + 30), dtype=torch.float64)
    for member in range(3):
        rows = 7 + draws.starts[20 * member : 20 * (member + 1)]
        s, a = (part[rows].double().numpy() for part in (states, actions))
        mean = np.c_[np.c_[s, a] @ REWARD, s @ A.T + a @ B.T - s]
        std = torch.from_numpy(STDS[member])
        likelihood = normal(torch.from_numpy(mean), std).log_prob(targets[rows].double())
        constant = torch.log(torch.tensor(2 * np.pi)) + 2 * model.targets.std.double().log()
        expected += (-2 * likelihood - constant).mean()
        if member == 0:
            policy_likelihood = normal(torch.from_numpy(s @ K.T), 0.1).log_prob(actions[rows].double())
            expected += (-policy_likelihood - 0.5 * torch.log(torch.tensor(2 * np.pi))).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_generators_and_their_members_begin_with_weights_of_their_own(params, episodes):
    initial, another = (build(episodes, LEARNED, "line", k, small(params)).dynamics.layers[0].weight for k in range(2))
    assert not torch.equal(initial, another)
    assert not torch.equal(initial[0], initial[1])


def test_equal_streams_give_equal_rollouts(trained, system):
    starts = [torch.from_numpy(array[:100]) for array in (system.observations, system.actions)]
    one, same, other = (rollout(trained, None, *starts, 3, 1.0, torch_stream(name)) for name in "aab")
    assert all(a.tobytes() == b.tobytes() for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_a_loss_that_is_not_finite_ends_the_training(params, episodes, device):
    with pytest.raises(SystemExit, match=r"^onestep line 2: the loss is not finite at step \d+: "):
        train(episodes, LEARNED, "line", 2, small(params, steps=60, batch=32, learning_rate=1e20), device)


@pytest.mark.parametrize("share", [0.05, None])
def test_the_stages_write_a_training_set_with_its_cost(tiny_params, episodes, tmp_path, monkeypatch, share):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "line"])
    changes = {"generators": 2, "onestep": {"real_fraction": share}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(tiny_params, changes)))
    episodes.save("data/line/real.npz")
    gym_mujoco("halfcheetah").save("line")
    train_module.main()
    rollout_module.main()
    onestep = Transitions.load("data/line/onestep.npz")
    assert onestep.generator.tolist() == [0] * 500 + [1] * 500
    assert onestep.real_fraction == np.float32(tiny_params["real_fraction"] if share is None else share)
    assert (onestep.discounts > 0).all()  # HalfCheetah's rule ends no episode
    rows = {bytes(row) for row in np.c_[episodes.observations, episodes.actions]}
    starts = onestep.step == 0
    assert {bytes(row) for row in np.c_[onestep.observations, onestep.actions][starts]} <= rows
    assert not {bytes(row) for row in onestep.actions[~starts]} & {bytes(row) for row in episodes.actions}
    cost = json.loads(str(onestep.cost))
    assert cost["trained"] == [digest("models/line/onestep.safetensors")]
    assert cost["source"] is None
    widths = [3 + 2, 32, 32, 2 * (1 + 3)], [3, 32, 32, 2 * 2]
    dynamics, behaviour = (sum((i + 1) * o for i, o in pairwise(w)) for w in widths)
    assert cost["parameters"] == 3 * dynamics + behaviour
    counts = cost["counts"]
    assert counts["kept"] + counts["dropped"] + counts["after_terminal"] == 3 * counts["windows"]
    passes = (3 * 3 + 2) * counts["windows"] / counts["kept"]  # three members at each step, the policy between
    assert cost["evaluations"] == pytest.approx(passes, abs=1e-3)


@pytest.mark.slow
def test_an_advantage_weighted_clone_acts_as_the_weights_say(params, monkeypatch):
    """In one state half of the data act near 0.5 and earn 1, half near -0.5 and earn 0; so A is ±1 deviation."""
    rng = np.random.default_rng(0)
    good = rng.permutation(np.arange(4000) < 2000)
    actions = np.where(good, 0.5, -0.5)[:, None] + 0.05 * rng.standard_normal((4000, 1))
    states = 0.1 * rng.standard_normal((4000, 2))
    columns = states, actions, good, states, np.zeros(4000)
    data = Transitions(
        *(column.astype(np.float32) for column in columns), np.arange(4000, dtype=np.int32), np.zeros(4000, dtype=bool)
    )
    device, given, fitted = torch.device("cpu"), torch.from_numpy(data.observations[:500]), []
    monkeypatch.setattr("stages.fidelity.value.UPDATES", 500)  # the value is constant

    def fitted_once(*arguments):
        fitted[:] = fitted or [Value(*arguments)]
        return fitted[0]

    monkeypatch.setattr(train_module, "Value", fitted_once)
    for temperature in (0.25, 0.5, 1.0):
        weights = advantage_weights(data, 0.99, temperature, "bandit", device)
        ratio = min(np.exp(1 / temperature), 20) / np.exp(-1 / temperature)
        assert (weights[good].mean() / weights[~good].mean()).item() == pytest.approx(ratio, rel=0.3)
        assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    for weighting, share in ((None, 0.5), (weights, 1 / (1 + np.exp(-2)))):
        model = train(data, True, "bandit", 0, small(params), device, weights=weighting)
        mean, log_std = (part.detach().numpy() for part in model.act(given))
        assert mean.mean() == pytest.approx(share - 0.5, abs=0.04)
        assert np.exp(log_std).mean() == pytest.approx(np.sqrt(share * (1 - share)), abs=0.05)

"""Completion of imagined windows, on hand-made cases; and generation with DAWM's untrained models."""

import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from stages.augment.imagine import completed_windows, target_return, window_sampler
from stages.baselines.synther.model import Denoiser
from stages.common.settings import Quantile
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions, return_to_go
from stages.idm.model import InverseDynamics
from stages.policy.ensemble import Stack
from stages.synthetic_data.bounds import Bounds, check_dropped
from stages.synthetic_data.complete import to_transitions
from stages.synthetic_data.generate import generate, start_weights
from stages.tasks.tasks import gym_mujoco
from stages.world_model import model as world_model
from stages.world_model.mlp import MlpDenoiser
from stages.world_model.model import WorldModel
from tests.conftest import overlaid


class Line:
    """Bounds of states on a line: plausible up to ±10."""

    def plausible(self, rewards, states):
        return (np.abs(states[..., 0]) <= 10) & np.isfinite(rewards)


def windows(*paths):
    """Windows through these states, with actions 0, 0.1, 0.2, … and rewards 0, 1, 2, …"""
    states = np.array(paths, dtype=np.float32)[..., None]
    horizon = states.shape[1] - 1
    actions = np.tile(np.arange(horizon, dtype=np.float32)[:, None] / 10, (len(states), 1, 1))
    return states, actions, np.tile(np.arange(horizon, dtype=np.float32), (len(states), 1))


@dataclass(frozen=True)
class Rule:
    """A task with the rule `healthy` for terminals."""

    healthy: object = None
    return_scale: float = 10.0


def above_zero(states):
    return states[..., 0] > 0


def always(states):
    return np.ones(states.shape[:-1], dtype=bool)


def test_steps_after_a_terminal_or_an_implausible_step_are_dropped():
    states, actions, rewards = windows([1, 2, 3, 4], [1, 2, -1, 3], [1, 99, 2, 3], [1, 2, -1, 99], [1, -1, 99, 3])
    columns, counts = to_transitions(states, actions, rewards, ~above_zero(states[:, 1:]), 0.9, Line())
    assert columns["observations"][:, 0].tolist() == [1, 2, 3, 1, 2, 1, 2, 1]
    assert columns["next_observations"][:, 0].tolist() == [2, 3, 4, 2, -1, 2, -1, -1]
    np.testing.assert_allclose(columns["discounts"], [0.9, 0.9, 0.9, 0.9, 0, 0.9, 0, 0])
    np.testing.assert_allclose(columns["rewards"], [0, 1, 2, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(columns["actions"][:, 0], [0, 0.1, 0.2, 0, 0.1, 0, 0.1, 0])
    assert columns["step"].tolist() == [0, 1, 2, 0, 1, 0, 1, 0]
    assert counts == {"kept": 8, "dropped": 3, "after_terminal": 4}


def test_a_window_is_dropped_from_its_first_nan_on():
    states, actions, rewards = windows([1, 2, 3])
    rewards[0, 0] = np.nan
    _, counts = to_transitions(states, actions, rewards, ~above_zero(states[:, 1:]), 0.9, Line())
    assert counts == {"kept": 0, "dropped": 2, "after_terminal": 0}


def test_bounds_are_the_range_of_the_data_plus_a_margin(episodes):
    bounds = Bounds(episodes, 0.5)
    low = np.minimum(episodes.observations, episodes.next_observations).min(0)
    high = np.maximum(episodes.observations, episodes.next_observations).max(0)
    for sign, edge in ((1, high + 0.5 * (high - low)), (-1, low - 0.5 * (high - low))):
        for beyond, inside in [(-0.001, True), (0.001, False)]:
            for k in range(3):  # the others are inside
                states = (low + high) / 2
                states[k] = edge[k] + sign * beyond
                assert bounds.plausible(np.zeros((1, 1), np.float32), states[None, None])[0, 0] == inside
    assert not bounds.plausible(np.full((1, 1), np.nan), low[None, None])[0, 0]


def test_a_share_of_all_may_be_dropped_and_no_more():
    check_dropped("a", 3, 1, 0.25)
    for kept, dropped in ((2, 1), (0, 0)):
        with pytest.raises(SystemExit, match=f"^a: dropped {dropped} of {kept + dropped} imagined"):
            check_dropped("a", kept, dropped, 0.25)


def test_the_rules_of_the_environments_detect_unhealthy_states():
    standing = np.array([1.2, 0.0] + [0.0] * 9)
    hopper = gym_mujoco("hopper").healthy
    assert hopper(standing)
    assert not hopper(np.r_[0.69, standing[1:]])
    assert not hopper(np.r_[1.2, -0.21, standing[2:]])
    assert not hopper(np.r_[standing[:10], 101])
    walker = gym_mujoco("walker2d").healthy
    assert walker(standing)
    assert not walker(np.r_[2.01, standing[1:]])
    assert not walker(np.r_[1.2, 1.01, standing[2:]])
    assert gym_mujoco("halfcheetah").healthy(np.full((2, 17), 1e3)).all()


@pytest.fixture
def models(params, episodes):
    torch.manual_seed(0)
    model, inverse = WorldModel(3, 2, 3, False, params.diffusion).eval(), InverseDynamics(3, 2, [8], "mean").eval()
    steps = np.concatenate([episodes.rewards[:, None], episodes.next_observations], axis=1)
    model.fit(torch.from_numpy(episodes.observations), torch.from_numpy(steps))
    return model, inverse


def generated(task, generator, model, inverse, params, episodes):
    stream = torch_stream("augment", "test", generator)
    sample_windows = window_sampler(episodes, task, model, inverse, params, stream)
    return generate(episodes, sample_windows, params, f"augment hopper-medium generator {generator}", stream)


def test_the_first_action_is_real_and_later_ones_are_inferred_between_imagined_states(params, models):
    states, actions = torch.randn(6, 3), torch.rand(6, 2)
    given = states, actions, torch.full((6,), 0.5)
    stream = torch.Generator().manual_seed(0)
    path, path_actions, rewards, ended = completed_windows(*models, above_zero, *given, params.sampler, stream)
    np.testing.assert_array_equal(ended, path[:, 1:, 0] <= 0)
    assert path.shape == (6, 4, 3)
    assert rewards.shape == (6, 3)
    np.testing.assert_array_equal(path[:, 0], states)
    np.testing.assert_array_equal(path_actions[:, 0], actions)
    for h in (1, 2):
        expected = models[1].infer(torch.from_numpy(path[:, h]), torch.from_numpy(path[:, h + 1]))
        np.testing.assert_allclose(path_actions[:, h], expected, rtol=1e-5, atol=1e-6)


def test_generation_returns_the_requested_number_and_counts_every_step(params, episodes, models):
    columns, counts = generated(Rule(above_zero), 0, *models, params, episodes)
    assert len(columns["rewards"]) == 500
    assert counts["kept"] + counts["dropped"] + counts["after_terminal"] == 3 * counts["windows"]
    ended = columns["next_observations"][:, 0] <= 0
    assert ended.any()
    np.testing.assert_array_equal(columns["discounts"] == 0, ended)
    again, _ = generated(Rule(above_zero), 0, *models, params, episodes)
    other, _ = generated(Rule(above_zero), 1, *models, params, episodes)
    assert all(np.array_equal(columns[name], again[name]) for name in columns)
    assert not np.array_equal(columns["rewards"], other["rewards"])


def test_dropping_more_than_max_drop_ends_the_stage_with_the_numbers(params, episodes, models):
    strict = params.model_copy(update={"augment": params.augment.model_copy(update={"margin": 0.1, "max_drop": 0.01})})
    models[0].normalizer.states.mean += 100
    with pytest.raises(
        SystemExit, match=r"augment hopper-medium generator 0: dropped [\d,]+ of [\d,]+ .* augment.max_drop = 0.01"
    ):
        generated(Rule(always), 0, *models, strict, episodes)


def test_a_first_batch_without_a_plausible_step_ends_the_stage_at_any_max_drop(params, episodes, models):
    lax = params.model_copy(update={"augment": params.augment.model_copy(update={"margin": 0.1, "max_drop": 1.0})})
    models[0].normalizer.states.mean += 1e6
    with pytest.raises(SystemExit, match=r"augment hopper-medium generator 0: dropped ([\d,]+) of \1 imagined"):
        generated(Rule(always), 0, *models, lax, episodes)


@pytest.mark.parametrize("channel", [True, False])
def test_without_a_rule_the_model_s_terminal_channel_ends_tasks(params, episodes, channel):
    torch.manual_seed(0)
    model = WorldModel(3, 2, 3, channel, params.diffusion).eval()
    ends = (episodes.discounts == 0)[:, None].astype(np.float32)[:, : int(channel)]
    steps = np.concatenate([episodes.rewards[:, None], ends, episodes.next_observations], axis=1)
    model.fit(torch.from_numpy(episodes.observations), torch.from_numpy(steps))
    inverse = InverseDynamics(3, 2, [8], "mean").eval()
    columns, counts = generated(Rule(), 0, model, inverse, params, episodes)
    assert (counts["after_terminal"] > 0) == channel  # an untrained channel ends about half of the steps
    assert (columns["discounts"] == 0).any() == channel


def test_the_target_return_is_a_number_or_a_quantile_of_the_data(params, episodes):
    returns = return_to_go(episodes.rewards, episodes.episode, 0.9) / 10
    assert target_return(episodes, 0.7, 0.9, Rule()) == 0.7
    assert target_return(episodes, Quantile(quantile=0.9), 0.9, Rule()) == pytest.approx(np.quantile(returns, 0.9))
    assert target_return(episodes, Quantile(quantile=1), 0.9, Rule()) == pytest.approx(returns.max())


def test_return_weighted_starts_have_exponential_weights(params, episodes):
    config = params.augment.model_copy(update={"starts": "return-weighted", "start_temperature": 0.5})
    weights = start_weights(episodes, config)
    returns = np.bincount(episodes.episode, weights=episodes.rewards)
    scaled = (returns - returns.min()) / (returns.max() - returns.min())
    first, second = 3, 7
    rows = [np.flatnonzero(episodes.episode == episode)[0] for episode in (first, second)]
    expected = np.exp((scaled[first] - scaled[second]) / 0.5)
    assert (weights[rows[0]] / weights[rows[1]]).item() == pytest.approx(expected)
    assert start_weights(episodes, params.augment).unique().tolist() == [1.0]


DAWM = ["world_model.__main__", "idm.__main__", "augment.__main__"]
STAGES = {
    "dawm": DAWM,
    "dwm": ["world_model.__main__", "baselines.dwm.__main__"],
    "joint": ["baselines.joint.train", "baselines.joint.sample"],
    "gta": ["baselines.joint.train", "baselines.gta.__main__"],
    "bidirectional": [*DAWM[:2], "baselines.bidirectional.train", "baselines.bidirectional.__main__"],
    "onestep": ["baselines.onestep.train", "baselines.onestep.rollout"],
    "reverse": ["baselines.reverse.train", "baselines.reverse.rollout"],
    "synther": ["baselines.synther.train", "baselines.synther.sample"],
}


def count_evaluations(monkeypatch) -> Counter:
    """Counts the rows that go through networks from here on: a window, a transition or a pair of states each."""
    evaluated = Counter()

    def counting(network):
        forward = network.forward

        def counted(self, x, *others):
            evaluated["rows"] += len(x) if network in (MlpDenoiser, Denoiser) else x.shape[:-1].numel()
            return forward(self, x, *others)

        monkeypatch.setattr(network, "forward", counted)

    for network in (MlpDenoiser, Denoiser, InverseDynamics, Stack):
        counting(network)
    return evaluated


@pytest.mark.parametrize("terminals", ["rule", "model"])
@pytest.mark.parametrize("method", STAGES)
def test_all_methods_end_hopper_s_tasks_by_the_rule_or_by_their_models(
    method, terminals, tiny_params, collected_hopper, device, tmp_path, monkeypatch
):
    """All stages of the method. In the data the hopper is lowered, so that about half of the states are unhealthy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "hopper"])
    changes = {"terminals": terminals, "budget": {"steps": 10, "transitions": 200}, "diffusion": {"steps": 10}}
    changes |= {"sampler": {"steps": 4}}  # of whose levels GTA leaves out the first
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(tiny_params, changes)))
    task = gym_mujoco("hopper")
    lowering = np.eye(11, dtype=np.float32)[0] * (0.7 - np.median(collected_hopper.observations[:, 0]))
    states = {name: getattr(collected_hopper, name) + lowering for name in ("observations", "next_observations")}
    replace(collected_hopper, **states).save("data/hopper/real.npz")
    task.save("hopper")
    *trainings, sampling = STAGES[method]
    for name in trainings:
        import_module(f"stages.{name}").main()
    evaluated = count_evaluations(monkeypatch)
    import_module(f"stages.{sampling}").main()

    synthetic = Transitions.load(f"data/hopper/{method}.npz")
    cost, parts = json.loads(str(synthetic.cost)), len(np.unique(synthetic.lambda_return)) if method == "dwm" else 1
    assert cost["evaluations"] == pytest.approx(evaluated["rows"] / (cost["counts"]["kept"] / parts), abs=1e-3)
    unhealthy = ~task.healthy(synthetic.next_observations)
    assert 0.05 < unhealthy.mean() < 0.95
    if (method, terminals) != ("reverse", "model"):  # which has the ends of the real states alone, and they are rare
        assert synthetic.terminal().any()
    assert np.array_equal(synthetic.terminal(), unhealthy) == (terminals == "rule")
    model = {"dawm": "diffusion", "dwm": "diffusion", "bidirectional": "diffusion", "gta": "joint"}.get(method, method)
    weights = f"models/hopper/{model}.safetensors"
    if method == "synther":
        assert len(load_file(weights)["0.network.leave.bias"]) == 11 + 3 + 1 + 11 + 1  # it always has the output
    elif method == "reverse":  # it takes the real states' ends from the data, and has no output
        assert load_file(weights)["0.highest"].shape[-1] == 1 + 11
    elif method == "onestep":
        assert load_file(weights)["0.highest"].shape[-1] == 1 + 11 + (terminals == "model")
    else:
        assert world_model.load(weights, device)[0].sizes["terminal"] == (terminals == "model")

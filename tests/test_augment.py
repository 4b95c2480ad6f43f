"""Which imagined steps become transitions, by hand; and the whole of generation on models made for the test."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from stages.augment.complete import Bounds, complete
from stages.augment.generate import generate, imagined, imagining, start_weights, target
from stages.common.rng import torch_stream
from stages.common.tasks import gym_mujoco
from stages.common.transitions import return_to_go
from stages.common.world_model_settings import Quantile
from stages.diffusion.world_model import WorldModel
from stages.idm.model import InverseDynamics


class Line:
    """States on a line, believable up to 10; healthy above 0."""

    def believable(self, rewards, states):
        return (np.abs(states[..., 0]) <= 10) & np.isfinite(rewards)


def windows(*paths):
    states = np.array(paths, dtype=np.float32)[..., None]
    horizon = states.shape[1] - 1
    actions = np.tile(np.arange(horizon, dtype=np.float32)[:, None] / 10, (len(states), 1, 1))
    return states, actions, np.tile(np.arange(horizon, dtype=np.float32), (len(states), 1))


@dataclass(frozen=True)
class Rule:
    """A task with that rule for terminals."""

    healthy: object = None
    return_scale: float = 10.0


def above_zero(states):
    return states[..., 0] > 0


def always(states):
    return np.ones(states.shape[:-1], dtype=bool)


def test_what_follows_a_terminal_or_an_unbelievable_step_is_not_kept():
    states, actions, rewards = windows([1, 2, 3, 4], [1, 2, -1, 3], [1, 99, 2, 3], [1, 2, -1, 99], [1, -1, 99, 3])
    kept, counts = complete(states, actions, rewards, ~above_zero(states[:, 1:]), 0.9, Line())
    assert kept["observations"][:, 0].tolist() == [1, 2, 3, 1, 2, 1, 2, 1]
    assert kept["next_observations"][:, 0].tolist() == [2, 3, 4, 2, -1, 2, -1, -1]
    np.testing.assert_allclose(kept["discounts"], [0.9, 0.9, 0.9, 0.9, 0, 0.9, 0, 0])
    np.testing.assert_allclose(kept["rewards"], [0, 1, 2, 0, 1, 0, 1, 0])
    np.testing.assert_allclose(kept["actions"][:, 0], [0, 0.1, 0.2, 0, 0.1, 0, 0.1, 0])
    assert kept["step"].tolist() == [0, 1, 2, 0, 1, 0, 1, 0]
    assert counts == {"kept": 8, "dropped": 3, "after_terminal": 4}


def test_nan_is_never_kept():
    states, actions, rewards = windows([1, 2, 3])
    rewards[0, 0] = np.nan
    _, counts = complete(states, actions, rewards, ~above_zero(states[:, 1:]), 0.9, Line())
    assert counts == {"kept": 0, "dropped": 2, "after_terminal": 0}


def test_bounds_are_the_data_s_box_and_a_margin(episodes):
    bounds = Bounds(episodes, 0.5)
    low = np.minimum(episodes.observations, episodes.next_observations).min(0)
    high = np.maximum(episodes.observations, episodes.next_observations).max(0)
    edge = high + 0.5 * (high - low)
    for factor, inside in [(0.999, True), (1.001, False)]:
        assert bounds.believable(np.zeros((1, 1), np.float32), (edge * factor)[None, None])[0, 0] == inside
    assert not bounds.believable(np.full((1, 1), np.nan), low[None, None])[0, 0]


def test_an_environment_s_own_rule_ends_an_episode():
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


def made_by(task, generator, model, inverse, params, episodes):
    stream = torch_stream("augment", "test", generator)
    imagine = imagining(episodes, task, model, inverse, params, stream)
    return generate(episodes, imagine, params, f"augment hopper-medium generator {generator}", stream)


def test_the_first_action_is_real_and_the_others_are_inferred_between_imagined_states(params, models):
    states, actions = torch.randn(6, 3), torch.rand(6, 2)
    given = states, actions, torch.full((6,), 0.5)
    stream = torch.Generator().manual_seed(0)
    found, acted, rewards, ended = imagined(*models, above_zero, *given, params.sampler, stream)
    np.testing.assert_array_equal(ended, found[:, 1:, 0] <= 0)
    assert found.shape == (6, 4, 3)
    assert rewards.shape == (6, 3)
    np.testing.assert_array_equal(found[:, 0], states)
    np.testing.assert_array_equal(acted[:, 0], actions)
    for h in (1, 2):
        expected = models[1].infer(torch.from_numpy(found[:, h]), torch.from_numpy(found[:, h + 1]))
        np.testing.assert_allclose(acted[:, h], expected, rtol=1e-5, atol=1e-6)


def test_generation_keeps_as_many_as_asked_and_counts_what_it_saw(params, episodes, models, device):
    made, counts = made_by(Rule(above_zero), 0, *models, params, episodes)
    assert len(made["rewards"]) == 500
    assert counts["kept"] + counts["dropped"] + counts["after_terminal"] == 3 * counts["windows"]
    ended = made["next_observations"][:, 0] <= 0
    assert ended.any()
    np.testing.assert_array_equal(made["discounts"] == 0, ended)
    again, _ = made_by(Rule(above_zero), 0, *models, params, episodes)
    other, _ = made_by(Rule(above_zero), 1, *models, params, episodes)
    assert all(np.array_equal(made[name], again[name]) for name in made)
    assert not np.array_equal(made["rewards"], other["rewards"])


def test_too_many_dropped_ends_the_stage_with_the_figures(params, episodes, models, device):
    strict = params.model_copy(update={"augment": params.augment.model_copy(update={"margin": 0.1, "max_drop": 0.01})})
    models[0].normalizer.states.mean += 100
    with pytest.raises(
        SystemExit, match=r"augment hopper-medium generator 0: dropped [\d,]+ of [\d,]+ .* augment.max_drop = 0.01"
    ):
        made_by(Rule(always), 0, *models, strict, episodes)


def test_a_batch_of_which_nothing_is_kept_ends_the_stage_whatever_share_may_be_dropped(
    params, episodes, models, device
):
    lax = params.model_copy(update={"augment": params.augment.model_copy(update={"margin": 0.1, "max_drop": 1.0})})
    models[0].normalizer.states.mean += 1e6
    with pytest.raises(SystemExit, match=r"augment hopper-medium generator 0: dropped ([\d,]+) of \1 imagined"):
        made_by(Rule(always), 0, *models, lax, episodes)


@pytest.mark.parametrize("channel", [True, False])
def test_without_a_rule_of_the_environment_the_model_s_own_channel_ends_tasks(params, episodes, device, channel):
    torch.manual_seed(0)
    model = WorldModel(3, 2, 3, channel, params.diffusion).eval()
    ends = (episodes.discounts == 0)[:, None].astype(np.float32)[:, : int(channel)]
    steps = np.concatenate([episodes.rewards[:, None], ends, episodes.next_observations], axis=1)
    model.fit(torch.from_numpy(episodes.observations), torch.from_numpy(steps))
    inverse = InverseDynamics(3, 2, [8], "mean").eval()
    made, counts = made_by(Rule(), 0, model, inverse, params, episodes)
    assert (counts["after_terminal"] > 0) == channel  # an untrained channel ends about every other step
    assert (made["discounts"] == 0).any() == channel


def test_the_target_return_is_a_number_or_a_quantile_of_the_data_s(params, episodes):
    returns = return_to_go(episodes.rewards, episodes.episode, 0.9) / 10
    assert target(episodes, 0.7, 0.9, Rule()) == 0.7
    assert target(episodes, Quantile(quantile=0.9), 0.9, Rule()) == pytest.approx(np.quantile(returns, 0.9))
    assert target(episodes, Quantile(quantile=1), 0.9, Rule()) == pytest.approx(returns.max())


def test_return_weighted_starts_favour_good_episodes_by_the_exponential(params, episodes):
    config = params.augment.model_copy(update={"starts": "return-weighted", "start_temperature": 0.5})
    weights = start_weights(episodes, config)
    returns = np.bincount(episodes.episode, weights=episodes.rewards)
    scaled = (returns - returns.min()) / (returns.max() - returns.min())
    first, second = 3, 7
    rows = [np.flatnonzero(episodes.episode == episode)[0] for episode in (first, second)]
    expected = np.exp((scaled[first] - scaled[second]) / 0.5)
    assert (weights[rows[0]] / weights[rows[1]]).item() == pytest.approx(expected)
    assert start_weights(episodes, params.augment).unique().tolist() == [1.0]

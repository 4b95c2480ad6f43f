"""Training the world model: averaged weights, validation, precision, learned terminals."""

from functools import partial

import numpy as np
import pytest
import torch

from stages.common.rng import numpy_stream
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import Training, UpdateNoise, learning_rate
from stages.tasks.tasks import Task
from stages.world_model.model import WorldModel
from stages.world_model.train import VALIDATION_WINDOWS, train, windows_loss
from stages.world_model.windows import Windows

HOPPER = Task({"id": "Hopper-v4"}, 1000, 400.0, None)
MAZE = Task({"id": "PointMaze_UMaze-v3"}, 300, 1.0, None)


def small(params, **changes):
    diffusion = params.diffusion.model_copy(update={"steps": 60, "batch": 32, **changes})
    return params.model_copy(update={"diffusion": diffusion})


def begin(params, episodes, device) -> tuple[WorldModel, Windows]:
    torch.manual_seed(0)
    windows = Windows(episodes, params.horizon, 0.99, 400.0, False, device)
    model = WorldModel(3, 2, params.horizon, False, params.diffusion)
    model.fit(windows.states, windows.steps)
    return model, windows


def test_converting_states_to_changes_and_back_is_the_identity(params, episodes, device):
    model, windows = begin(params, episodes, device)
    states, steps = windows.states[:20], windows(torch.arange(20))[0]
    relative = model.relative(steps, states)
    torch.testing.assert_close(relative[:, 1, 1:], steps[:, 1, 1:] - steps[:, 0, 1:])
    torch.testing.assert_close(model.absolute(relative, states), steps)


@pytest.mark.parametrize("target", ["state", "change"])
def test_sampling_with_a_perfect_denoiser_returns_the_data(params, episodes, device, target):
    """Whether a step holds the state or its change, states and rewards of the samples are the data's own."""
    model, windows = begin(small(params, target=target), episodes, device)
    starts = torch.arange(10)
    steps, _ = windows(starts)
    truth = model.normalizer(model.relative(steps, windows.states[starts]))
    model.process.denoise = lambda network, x, sigma, condition: truth
    given = windows.states[starts], windows.actions[starts], windows.returns[starts]
    sampled = model.sample(*given, params.sampler, torch.Generator().manual_seed(0))
    torch.testing.assert_close(sampled.states, steps[..., 1:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sampled.rewards, steps[..., 0], rtol=1e-4, atol=1e-4)


def test_the_moving_average_follows_the_weights(params, episodes, device):
    changed = small(params, ema=0.9, ema_every=2, schedule="constant")
    model, windows = begin(changed, episodes, device)
    draws = UpdateNoise(torch.arange(len(episodes)), 32, (params.horizon, model.step))
    loss = partial(windows_loss, model, windows, hidden=0.25)
    training = Training(model.network, loss, draws, changed.diffusion, torch_stream("test"))
    expected = training.weights[0].detach().clone()
    for step in range(1, 7):
        training()
        if step % 2 == 0:
            expected = 0.9 * expected + 0.1 * training.weights[0].detach()
    torch.testing.assert_close(training.average[0], expected, rtol=1e-5, atol=1e-7)
    assert not any(
        mean.requires_grad for mean in training.average
    )  # otherwise it would keep the graphs of all updates in memory
    before = training.weights[0].detach().clone()
    training.swap()
    torch.testing.assert_close(training.weights[0], expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(training.average[0], before)


def test_the_validation_loss_is_the_final_average_s_on_held_out_episodes(params, episodes, device):
    model, losses = train(episodes, "hopper-medium", HOPPER, 0, small(params), device)
    held_out = episodes.held_out(params.diffusion.held_out, numpy_stream("diffusion", "hopper-medium", "held out"))
    draws = UpdateNoise(torch.from_numpy(held_out.nonzero()[0]), VALIDATION_WINDOWS, (params.horizon, model.step))
    draws(torch_stream("diffusion", "hopper-medium", "validation"))
    windows = Windows(episodes, params.horizon, params.discount, HOPPER.return_scale, False, device)
    with torch.no_grad():
        again = windows_loss(model, windows, draws, 0.0).item()
    assert losses["validation_loss"] == pytest.approx(again, rel=1e-5)
    assert [point["step"] for point in losses["curve"]] == [6 * k for k in range(1, 11)]
    assert losses["validation_loss"] == losses["curve"][-1]["validation"]
    assert losses["curve"][0]["validation"] > losses["validation_loss"]
    without = small(params, held_out=0.0)
    _, losses = train(episodes, "hopper-medium", HOPPER, 0, without, device)
    assert "validation_loss" not in losses


def test_bfloat16_leaves_weights_and_losses_in_float32(params, episodes, device):
    precise, rough = (
        train(episodes, "hopper-medium", HOPPER, 0, small(params, precision=kind), device)
        for kind in ("float32", "bfloat16")
    )
    assert {value.dtype for value in rough[0].state_dict().values()} == {torch.float32}
    assert rough[1]["validation_loss"] != precise[1]["validation_loss"]
    assert rough[1]["validation_loss"] == pytest.approx(precise[1]["validation_loss"], rel=0.05)


@pytest.mark.slow
def test_a_terminal_channel_learns_where_tasks_end(params, episodes, device):
    """Episodes of a single step, which ends the task if it crosses a line; about a sixth of the steps do."""
    rng = np.random.default_rng(0)
    states, actions = (rng.standard_normal((4000, size)).astype(np.float32) for size in (3, 2))
    following = states + 0.3 * np.tanh(actions[:, [0, 1, 0]])
    ended = following[:, 0] > 1
    discounts = np.where(ended, 0, 0.99).astype(np.float32)
    number = np.arange(4000, dtype=np.int32)
    data = Transitions(states, np.tanh(actions), states[:, 0], following, discounts, number, ~ended)
    mlp = params.diffusion.mlp.model_copy(update={"width": 64})
    config = small(params, steps=1500, batch=256, learning_rate=3e-3, mlp=mlp).model_copy(update={"horizon": 1})
    model, _ = train(data, "antmaze", MAZE, 0, config, device)
    assert model.sizes["terminal"]
    sampler = params.sampler.model_copy(update={"steps": 10, "guidance": 1.0})
    given = torch.from_numpy(data.observations), torch.from_numpy(data.actions), torch.from_numpy(states[:, 0])
    sampled = model.sample(*given, sampler, torch.Generator().manual_seed(0))
    predicted = sampled.terminals[:, 0].numpy()
    assert 0.5 * ended.mean() < predicted.mean() < 2 * ended.mean()
    assert (predicted == ended).mean() > 0.95
    without, _ = train(episodes, "hopper-medium", HOPPER, 0, small(params, steps=10), device)
    few = torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2)
    assert without.sample(*few, sampler, torch.Generator()).terminals is None


def test_hidden_returns_do_not_change_the_loss(params, episodes, device):
    model, windows = begin(params, episodes, device)
    draws = UpdateNoise(torch.arange(len(episodes)), 16, (params.horizon, model.step))
    draws(torch_stream("draws"))
    hidden = windows_loss(model, windows, draws, 1.0)
    windows.returns += 1
    assert windows_loss(model, windows, draws, 1.0) == hidden
    assert windows_loss(model, windows, draws, 0.0) != hidden


def test_the_learning_rate_follows_half_a_cosine_or_is_constant():
    assert [learning_rate(step, 100, "cosine") for step in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    assert learning_rate(70, 100, "constant") == 1


def test_the_training_loss_is_unbiased_and_the_rate_begins_at_its_whole(params):
    network, config = torch.nn.Linear(1, 1), small(params, steps=4, schedule="cosine").diffusion
    draws = UpdateNoise(torch.arange(3), 2, (1,))
    training = Training(
        network, lambda draws: 0 * network.weight.sum() + 0 * network.bias.sum() + 7.0, draws, config, torch_stream("a")
    )
    for done, factor in enumerate((1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2), 1):
        training()
        assert training.rate.item() == pytest.approx(config.learning_rate * factor)
        assert training.done == done
        assert training.training_loss() == pytest.approx(7.0, rel=1e-5)


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 0.0), (1.0, 2.0), (1.5, 3.0)])
def test_guidance_leads_away_from_windows_whose_return_is_hidden(params, weight, expected):
    """The clean estimate is 2 where the return is known, else 0."""
    model = WorldModel(3, 2, 2, False, small(params, normalizer="gaussian", target="state").diffusion)
    model.process.denoise = lambda network, x, sigma, condition: 2 * condition.returns_known[:, None, None].expand_as(x)
    sampler = params.sampler.model_copy(update={"guidance": weight})
    given = torch.zeros(4, 3), torch.zeros(4, 2), torch.ones(4)
    sampled = model.sample(*given, sampler, torch.Generator().manual_seed(0))
    assert sampled.states.eq(expected).all()  # the normaliser was not fitted, so it is the identity


@pytest.mark.parametrize(("method", "factor"), [("ancestral", 0.25), ("ddim", 1.0)])
def test_the_temperature_scales_what_a_stochastic_sampler_begins_with(params, method, factor):
    model, seen = WorldModel(3, 2, 2, False, params.diffusion), []
    model.process.denoise = lambda network, x, sigma, condition: seen.append((x, sigma[0])) or 0 * x
    sampler = params.sampler.model_copy(update={"method": method, "temperature": 0.25})
    given = torch.zeros(4000, 3), torch.zeros(4000, 2), torch.ones(4000)
    model.sample(*given, sampler, torch.Generator().manual_seed(0))
    x, sigma = seen[0]
    assert x.std().item() == pytest.approx(factor * sigma.item(), rel=0.02)


@pytest.mark.parametrize("ended", [False, True])
def test_a_task_ends_where_the_terminal_channel_is_nearer_to_the_flag(params, ended):
    """The flags 0 and 1 are -1 and 1 when normalised, so that their middle is 0."""
    model = WorldModel(3, 2, 2, True, params.diffusion)
    model.process.denoise = lambda network, x, sigma, condition: torch.full_like(x, 0.2 if ended else -0.2)
    given = torch.zeros(4, 3), torch.zeros(4, 2), torch.zeros(4)
    sampled = model.sample(*given, params.sampler, torch.Generator().manual_seed(0))
    assert sampled.terminals.eq(ended).all()


@pytest.mark.parametrize("name", ["ddpm", "edm", "flow"])
def test_only_ddpm_s_clean_estimates_are_clipped_to_the_range_of_the_data(params, episodes, device, name):
    model, windows = begin(
        small(params, process=name, normalizer="minmax", reward_normalizer="minmax", target="state"), episodes, device
    )
    model.process.denoise = lambda network, x, sigma, condition: torch.full_like(x, 3.0)  # the data's range is ±1
    given = windows.states[:5], windows.actions[:5], windows.returns[:5]
    sampled = model.sample(*given, params.sampler, torch.Generator().manual_seed(0))
    low, high = windows.steps.amin(0), windows.steps.amax(0)
    reached = high if name == "ddpm" else (low + high) / 2 + 3 * (high - low) / 2
    torch.testing.assert_close(sampled.rewards, reached[0].expand_as(sampled.rewards), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sampled.states, reached[1:].expand_as(sampled.states), rtol=1e-4, atol=1e-4)


def test_a_loss_that_is_not_finite_ends_the_training(params, episodes, device):
    with pytest.raises(SystemExit, match=r"diffusion hopper-medium 0: the loss is not finite at step \d+: "):
        train(episodes, "hopper-medium", HOPPER, 0, small(params, learning_rate=1e20), device)

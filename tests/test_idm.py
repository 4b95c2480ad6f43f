"""The inverse dynamics model, on a system whose inverse is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stages.common.rng import numpy_stream
from stages.idm import model as idm
from stages.idm.train import train


def test_the_actions_of_a_linear_system_are_inferred(params, episodes, device):
    config = params.idm.model_copy(update={"steps": 1500, "hidden": [64, 64], "learning_rate": 3e-3})
    model, errors = train(episodes, "hopper-medium", 0, config, device)
    assert errors["r2"] > 0.98
    error = (
        model.infer(torch.from_numpy(episodes.observations), torch.from_numpy(episodes.next_observations)).numpy()
        - episodes.actions
    )
    assert abs(error).mean() < 0.05


def test_held_out_episodes_train_nothing_and_are_what_is_judged(params, episodes, device):
    """With other actions in them, the weights are the same; R² is the share of their variance that is explained."""
    config = params.idm.model_copy(update={"steps": 30, "held_out": 0.3})
    held = episodes.held_out(0.3, numpy_stream("idm", "hopper-medium", "held out"))
    others = replace(episodes, actions=np.where(held[:, None], 0.5 * episodes.actions[::-1], episodes.actions))
    (model, errors), (same, _) = (train(data, "hopper-medium", 0, config, device) for data in (episodes, others))
    for one, other in zip(model.state_dict().values(), same.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    states, following = (torch.from_numpy(part[held]) for part in (episodes.observations, episodes.next_observations))
    actions = episodes.actions[held].astype(np.float64)
    squared = np.square(model.infer(states, following).numpy() - actions)
    assert errors["r2"] == pytest.approx(1 - squared.sum() / np.square(actions - actions.mean(0)).sum(), rel=1e-5)
    assert errors["mean_squared_error"] == pytest.approx(squared.mean(), rel=1e-5)


def test_inferred_actions_are_clipped_and_loaded_models_infer_the_same(device, tmp_path):
    torch.manual_seed(0)
    models = [idm.InverseDynamics(3, 2, [8, 16], "mean") for _ in range(2)]
    states, following = torch.randn(50, 3), 100 * torch.randn(50, 3)
    for model in models:
        model.fit_scales(states, torch.randn(50, 3))
    assert models[0](states, following)[0].abs().max() > 1
    assert models[0].infer(states, following).abs().max() == 1
    idm.save(models, tmp_path / "idm.safetensors")
    for before, after in zip(models, idm.load(tmp_path / "idm.safetensors", device), strict=True):
        assert torch.equal(before.infer(states, following), after.infer(states, following))


def test_a_gaussian_head_samples_the_spread_of_actions_that_states_do_not_determine(episodes, device, params):
    """The actions have no effect: the predicted mean is about constant, and samples spread as the actions do."""
    still = replace(episodes, next_observations=episodes.observations)
    config = params.idm.model_copy(update={"steps": 800, "hidden": [32], "learning_rate": 3e-3, "head": "gaussian"})
    model, _ = train(still, "hopper-medium", 0, config, device)
    states = torch.from_numpy(still.observations).repeat(20, 1)
    mean, log_std = model(states, states)
    assert mean.std() < 0.15
    actual = episodes.actions.std()
    assert abs(log_std.exp().mean().item() - actual) < 0.1 * actual
    samples = model.infer(states, states, torch.Generator().manual_seed(0))
    assert samples.std() > 0.85 * actual  # clipped to ±1
    assert torch.equal(model.infer(states, states), mean.detach().clamp(-1, 1))


def test_the_gaussian_head_s_mean_equals_the_mean_head_s(episodes, device, params):
    config = params.idm.model_copy(update={"steps": 200, "hidden": [16]})
    plain, spread = (
        train(episodes, "hopper-medium", 0, config.model_copy(update={"head": head}), device)[0]
        for head in ("mean", "gaussian")
    )
    states, following = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.next_observations)
    torch.testing.assert_close(plain(states, following)[0], spread(states, following)[0], rtol=1e-5, atol=1e-6)


def test_a_loaded_model_has_the_head_that_was_saved(device, tmp_path):
    torch.manual_seed(0)
    before = idm.InverseDynamics(3, 2, [8, 9, 10, 11, 12, 13], "gaussian")
    idm.save([before], tmp_path / "idm.safetensors")
    (after,) = idm.load(tmp_path / "idm.safetensors", device)
    given = torch.randn(2, 9, 3)
    for one, other in zip(before(*given), after(*given), strict=True):
        assert torch.equal(one, other)

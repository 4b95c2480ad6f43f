"""The inverse dynamics model, on a system whose inverse is known."""

import torch

from stages.idm import model as idm
from stages.idm.train import train


def test_it_finds_the_actions_of_a_linear_system(params, episodes, device):
    config = params.idm.model_copy(update={"steps": 1500, "hidden": [64, 64], "learning_rate": 3e-3})
    model, errors = train(episodes, "hopper-medium", 0, config, device)
    assert errors["r2"] > 0.98
    error = (
        model.infer(torch.from_numpy(episodes.observations), torch.from_numpy(episodes.next_observations)).numpy()
        - episodes.actions
    )
    assert abs(error).mean() < 0.05


def test_inferred_actions_stay_in_the_box_and_models_survive_their_file(device, tmp_path):
    torch.manual_seed(0)
    models = [idm.InverseDynamics(3, 2, [8, 16]) for _ in range(2)]
    states, following = torch.randn(50, 3), 100 * torch.randn(50, 3)
    for model in models:
        model.fit_scales(states, torch.randn(50, 3))
    assert models[0](states, following).abs().max() > 1
    assert models[0].infer(states, following).abs().max() == 1
    idm.save(models, tmp_path / "idm.safetensors")
    for before, after in zip(models, idm.load(tmp_path / "idm.safetensors", device), strict=True):
        assert torch.equal(before.infer(states, following), after.infer(states, following))

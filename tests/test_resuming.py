"""Interrupted training of each generator's networks resumes to the same weights, to the last bit."""

import pytest
import torch

from stages.baselines.corrected import train as corrected
from stages.baselines.onestep import train as onestep
from stages.baselines.reverse import train as reverse
from stages.baselines.synther import train as synther
from stages.common.checkpoint import Checkpoint
from stages.common.settings import shared
from stages.forward_model.train import fit
from stages.world_model.train import train as train_world_model
from tests.conftest import killed_and_resumed
from tests.test_world_model_training import HOPPER, small

STEPS, EVERY = 20, 2  # updates, and those between checkpoints


def trained(kind: str, params, data, device, checkpoint=None) -> tuple[torch.nn.Module, dict]:
    """A small model of that kind, and its losses if its training returns them."""
    if kind in ("mlp", "unet", "joint"):
        unet = params.diffusion.unet.model_copy(update={"width": 8, "multipliers": [1, 2], "embedding": 8})
        given = small(params, steps=STEPS, network="unet" if kind == "unet" else "mlp", unet=unet)
        return train_world_model(data, "line", HOPPER, 0, given, device, checkpoint, joint=kind == "joint")
    section = params.synther.denoiser if kind == "synther" else getattr(params, kind).dynamics
    config = shared(section, params.budget).model_copy(update={"steps": STEPS, "batch": 32})
    if kind == "corrected":
        model = corrected.build(data, True, "line", 0, config)
        return fit(model, data, (kind, "line", 0), config, checkpoint), {}
    if kind == "onestep":
        return onestep.train(data, True, "line", 0, config, device, checkpoint), {}
    module = synther if kind == "synther" else reverse
    return module.train(data, "line", 0, config, device, checkpoint), {}


@pytest.mark.parametrize("kind", ["mlp", "unet", "joint", "synther", "corrected", "onestep", "reverse"])
def test_an_interrupted_training_resumes_to_the_same_weights(params, episodes, device, kind, tmp_path, monkeypatch):
    """It is killed before its first checkpoint, right after it, and between two later ones."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr("stages.world_model.train.VALIDATION_WINDOWS", 64)
    checkpoint = Checkpoint(kind, params, [], device)
    whole, expected = trained(kind, params, episodes, device)
    (resumed, losses), ahead = killed_and_resumed(
        lambda: trained(kind, params, episodes, device, checkpoint), (1, EVERY, 13), monkeypatch
    )
    assert ahead == [range(STEPS), range(STEPS), range(EVERY, STEPS), range(12, STEPS)]
    assert losses == expected
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)

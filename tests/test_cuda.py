"""On CUDA, compiled losses and captured updates compute what plain ones do, and training resumes bit for bit.

Skipped without a CUDA device; the tests of policies and world model run the same code on a CPU, with a substitute for
the graph.
"""

from functools import partial

import pytest
import torch

from stages.baselines.corrected.train import build
from stages.common.checkpoint import Checkpoint
from stages.diffusion import training as generators
from stages.forward_model.train import fit
from stages.policy import trainer
from stages.policy.trainer import train as train_policies
from stages.policy.updates import CHUNK
from stages.world_model.train import train as train_world_model
from tests.conftest import killed_and_resumed
from tests.test_policy import VARIANTS, equal, made_by, names, settings_of
from tests.test_world_model_training import HOPPER, small

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture
def device(monkeypatch) -> torch.device:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # compiled and plain convolutions would round apart
    return torch.device("cuda")


@pytest.fixture
def plain(monkeypatch):
    """Calls a function without graphs."""

    def call(function):
        with monkeypatch.context() as patch:
            patch.setattr(trainer, "graph", None)
            patch.setattr(generators, "graph", None)
            return function()

    return call


def weights(model) -> dict:
    return model.state_dict() if isinstance(model, torch.nn.Module) else model


def assert_close(one, other):
    """No weight matrix differs by more than 1 % of its norm; Adam may amplify the rounding of single weights."""
    for name, tensor in weights(one).items():
        difference = (weights(other)[name] - tensor).double().norm()
        assert difference <= 0.01 * tensor.double().norm(), name


@pytest.mark.parametrize("compile", [False, True], ids=["captured", "compiled"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_policies(params, episodes, synthetic, device, variant, plain, compile):
    settings = settings_of(params, variant, steps=CHUNK + 30, snapshot_every=65, compile=False)
    arguments = episodes, made_by(variant, synthetic), names(variant), settings, 3, device
    expected = plain(lambda: train_policies(*arguments))
    settings.compile = compile
    assert_close(expected, train_policies(*arguments))


@pytest.mark.parametrize("variant", VARIANTS)
def test_policies_resume(params, episodes, synthetic, device, variant, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    settings = settings_of(params, variant, steps=CHUNK + 30, snapshot_every=65, compile=False)
    checkpoint = Checkpoint("policy", (), [], device)
    arguments = episodes, made_by(variant, synthetic), names(variant), settings, 3, device
    whole = train_policies(*arguments)

    class Killed(Exception):
        pass

    def until_killed(updates):
        for update in updates:
            if update == 80:
                raise Killed
            yield update

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "progress", lambda updates, what: until_killed(updates))
        with pytest.raises(Killed):
            train_policies(*arguments, checkpoint)
    assert equal(train_policies(*arguments, checkpoint), whole)


@pytest.mark.parametrize("compile", [False, True], ids=["captured", "compiled"])
@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_world_model(params, episodes, device, network, plain, compile):
    unet = params.diffusion.unet.model_copy(update={"width": 16})
    given = [
        small(params, network=network, unet=unet, precision="float32", compile=value) for value in (False, compile)
    ]
    models = [partial(train_world_model, episodes, "hopper-medium", HOPPER, 0, each, device) for each in given]
    (expected, losses), (model, others) = plain(models[0]), models[1]()
    assert_close(expected, model)
    assert others["validation_loss"] == pytest.approx(losses["validation_loss"], rel=1e-3)


def test_world_model_in_its_own_precision_is_compiled_and_captured(params, episodes, device):
    exact, rough = (
        train_world_model(episodes, "hopper-medium", HOPPER, 0, small(params, precision=kind), device)[1]
        for kind in ("float32", "auto")
    )
    assert rough["validation_loss"] != exact["validation_loss"]
    assert rough["validation_loss"] == pytest.approx(exact["validation_loss"], rel=0.05)


def test_world_model_resumes(params, episodes, device, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    checkpoint = Checkpoint("diffusion", params, [], device)
    arguments = episodes, "hopper-medium", HOPPER, 0, small(params, compile=False), device
    whole, _ = train_world_model(*arguments)
    (again, _), done = killed_and_resumed(lambda: train_world_model(*arguments, checkpoint), 40, monkeypatch)
    assert done == [range(36, 60)]
    assert equal(whole.state_dict(), again.state_dict())


@pytest.mark.parametrize("compile", [False, True], ids=["captured", "compiled"])
@pytest.mark.parametrize("loss", ["squared", "likelihood"])
def test_forward_model(params, episodes, device, plain, loss, compile):
    def trained(compile):
        changes = {"members": 3, "loss": loss, "steps": 60, "batch": 32, "compile": compile}
        config = params.corrected.dynamics.model_copy(update=changes)
        model = build(episodes, False, "hopper-medium", 0, config).to(device)
        return fit(model, episodes, ("corrected", "hopper-medium", 0), config)

    assert_close(plain(lambda: trained(False)), trained(compile))

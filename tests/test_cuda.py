"""On CUDA, compiled losses and captured updates compute what plain ones do, and training resumes bit for bit.

Skipped without a CUDA device; `test_captured.py` runs the same code on a CPU, with a substitute for the graph.
"""

import pytest
import torch

from benchmarks.agreement import ALLOWED, difference, trained
from stages.baselines.corrected.train import build
from stages.common.capture import graph
from stages.common.checkpoint import Checkpoint
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
def device() -> torch.device:
    return torch.device("cuda")


@pytest.mark.parametrize("compile", [False, True], ids=["captured", "compiled"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_policies(params, episodes, synthetic, device, variant, compile):
    settings = settings_of(params, variant, steps=CHUNK + 30, snapshot_every=65)

    def train(compile):
        settings.compile = compile
        return train_policies(episodes, made_by(variant, synthetic), names(variant), settings, 3, device)

    assert difference(trained(train, compile, graph), trained(train, False, None)) <= ALLOWED


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
def test_world_model(params, episodes, device, network, compile):
    unet, losses = params.diffusion.unet.model_copy(update={"width": 16}), []

    def train(compile):
        given = small(params, network=network, unet=unet, precision="float32", compile=compile)
        model, others = train_world_model(episodes, "hopper-medium", HOPPER, 0, given, device)
        losses.append(others["validation_loss"])
        return model.state_dict()

    assert difference(trained(train, compile, graph), trained(train, False, None)) <= ALLOWED
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


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
    (again, _), done = killed_and_resumed(lambda: train_world_model(*arguments, checkpoint), (40,), monkeypatch)
    assert done == [range(60), range(36, 60)]
    assert equal(whole.state_dict(), again.state_dict())


@pytest.mark.parametrize("compile", [False, True], ids=["captured", "compiled"])
@pytest.mark.parametrize("loss", ["squared", "likelihood"])
def test_forward_model(params, episodes, device, loss, compile):
    def train(compile):
        changes = {"members": 3, "loss": loss, "steps": 60, "batch": 32, "compile": compile}
        config = params.corrected.dynamics.model_copy(update=changes)
        model = build(episodes, False, "hopper-medium", 0, config).to(device)
        return fit(model, episodes, ("corrected", "hopper-medium", 0), config).state_dict()

    assert difference(trained(train, compile, graph), trained(train, False, None)) <= ALLOWED

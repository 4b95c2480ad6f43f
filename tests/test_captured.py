"""Compiled and captured updates equal plain ones: the code path of CUDA on a CPU, with a substitute for the graph.

torch.compile traces the losses and their gradients here as on CUDA. Its backend `aot_eager` then runs the traced
operations one by one. `inductor`, which turns them into code, takes minutes for all losses, so two trainings use it.
`test_cuda.py` uses it for all, and captures real graphs.
"""

import shutil
from collections import Counter
from functools import partial

import pytest
import torch
from torch._inductor import config as inductor

from benchmarks.agreement import difference, trained
from stages.common.capture import WARM_UP
from stages.policy.trainer import train as train_policies
from stages.world_model.train import train as train_world_model
from tests.conftest import SHORT
from tests.test_policy import VARIANTS, made_by, names, settings_of
from tests.test_world_model_training import HOPPER, small

pytestmark = pytest.mark.slow
CODE = pytest.mark.skipif(not shutil.which("g++"), reason="inductor needs a C++ compiler")


@pytest.fixture
def backend(request, monkeypatch):
    """Losses are compiled by the backend in the test's parameters, for each test anew.

    Inductor's code has no vector instructions, because it compiles faster then.
    """
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=request.param))
    with inductor.patch({"cpp.simdlen": 1, "compile_threads": 1}):  # torch would cache the effect of `cpp.vec_isa_ok`
        yield request.param


class Replays:
    """Substitutes for graphs, with their replays counted by the arguments of the function.

    Like a graph, a substitute runs nothing while it captures, and its replay takes no arguments.
    """

    def __init__(self):
        self.count = Counter()

    def __call__(self, function):
        def replay():
            self.count[getattr(function, "args", ())] += 1
            function()

        return replay


@pytest.mark.usefixtures("short_chunks", "backend")
@pytest.mark.parametrize(
    ("variant", "backend"),
    [*((variant, "aot_eager") for variant in VARIANTS), pytest.param("td3bc", "inductor", marks=CODE)],
    indirect=["backend"],
)
def test_policies(params, episodes, synthetic, device, variant):
    steps, replays = 2 * SHORT + 5, Replays()
    settings = settings_of(params, variant, hidden=[16], steps=steps, snapshot_every=15)

    def train(compile):
        settings.compile = compile
        return train_policies(episodes, made_by(variant, synthetic), names(variant), settings, 2, device)

    compiled = trained(train, True, replays)
    assert difference(compiled, trained(train, False, None)) < 1e-4
    period = {"td3bc": 2, "rebrac": 2, "rsp": 2, "sorl": 4, "saq": 3, "mopo": 2, "mobile": 2}.get(variant, 1)
    assert sum(replays.count.values()) == steps - WARM_UP * period
    assert set(replays.count) == {(phase,) for phase in range(period)}


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize(
    ("network", "backend"),
    [("mlp", "aot_eager"), ("unet", "aot_eager"), pytest.param("mlp", "inductor", marks=CODE)],
    indirect=["backend"],
)
def test_a_world_model(params, episodes, device, network):
    replays, losses = Replays(), []
    unet = params.diffusion.unet.model_copy(update={"width": 8, "multipliers": [1, 2], "embedding": 8})

    def train(compile):
        given = small(params, network=network, unet=unet, compile=compile)
        model, others = train_world_model(episodes, "hopper-medium", HOPPER, 0, given, device)
        losses.append(others["validation_loss"])
        return model.state_dict()

    compiled = trained(train, True, replays)
    assert difference(compiled, trained(train, False, None)) < 1e-4
    assert replays.count == {(): 60 - WARM_UP}
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)

"""Checks that captured updates, and captured and compiled ones, change weights as eager updates do.

Each training makes `UPDATES` updates in float32, without TF32, from the same random numbers. Policies have the sizes of
`policies.py` and generators those of params.yaml. The tests check small networks with the functions of this file:
`tests/test_cuda.py` on CUDA, `tests/test_captured.py` on a CPU.
The inverse model is missing, because its updates are not captured.
"""

from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch

from benchmarks import policies, world_model
from benchmarks.data import random_transitions
from benchmarks.markdown import head, row
from benchmarks.timing import peak_memory
from stages.baselines.corrected import train as corrected
from stages.baselines.onestep import train as onestep
from stages.baselines.synther import train as synther
from stages.common.capture import Captured, graph
from stages.common.settings import shared
from stages.common.transitions import Transitions
from stages.diffusion import training
from stages.forward_model.train import fit
from stages.policy import updates
from stages.policy.trainer import build_updates
from stages.tasks.tasks import gym_mujoco
from stages.world_model.train import train as train_world_model

UPDATES, SEEDS = 100, 5
ALLOWED = 0.01  # Adam may amplify the rounding of single weights
DATASET, TASK = "benchmark", gym_mujoco("halfcheetah")  # the random data have HalfCheetah's 17 and 6 dimensions
WORLD_MODEL = "dawm, dwm, corrected, bidirectional; with actions joint, gta, pgd"  # methods that train one like it


@contextmanager
def captured_by(capture):
    """Within it, all trainings are built with this `capture`, see `Captured`; None: their updates run eagerly."""

    def build(function, _):
        return Captured(function, capture)

    with patch.object(updates, "Captured", build), patch.object(training, "Captured", build):
        yield


@contextmanager
def without_tf32():
    """Within it, matrix products and convolutions on CUDA are computed in float32, not in TF32."""
    precision, allowed = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = allowed


def trained(train, compile: bool, capture) -> dict[str, torch.Tensor]:
    """What `train(compile)` returns, in float32 without TF32 and with that `capture`, see `captured_by`."""
    with captured_by(capture), without_tf32():
        return train(compile=compile)


def difference(weights: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest ‖a - b‖ / ‖b‖ of a tensor a of `weights` and b of `expected`; NaN if a weight is NaN."""
    ratios = []
    for name, tensor in expected.items():
        apart, norm = (weights[name] - tensor).double().norm(), tensor.double().norm()
        ratios.append(torch.where(apart == 0, 0.0, apart / norm))
    return torch.stack(ratios).max().item()


def weights_of(networks: dict[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """A copy of all weights, `<network>.<name>`."""
    return {
        f"{network}.{name}": weight.detach().clone()
        for network, module in networks.items()
        for name, weight in module.named_parameters()
    }


def train_policies(params, real: Transitions, algorithm: str, device, compile: bool) -> dict[str, torch.Tensor]:
    """Trains `SEEDS` policies and returns the weights of all of the learner's networks, targets included."""
    settings = policies.sized(params, algorithm, compile)
    settings.steps = UPDATES  # an algorithm whose phases follow one another goes through all of them
    update = build_updates(real, None, (DATASET, "real", algorithm), settings, SEEDS, device)
    for _ in range(UPDATES):
        update()
    return weights_of({name: part for name, part in update.parts().items() if isinstance(part, torch.nn.Module)})


def train_generator(train, section, params, compile: bool, **changes) -> dict[str, torch.Tensor]:
    """Calls `train(config)`, which returns a model, and returns the model's weights.

    Arguments:
        section: the network's section of params.yaml; `config` is that section with few steps and `changes`.
    """
    own = {"steps": UPDATES, "compile": compile, "precision": "float32", "ema": 0.0}  # no average: the latest weights
    return weights_of({"model": train(shared(section, params.budget).model_copy(update=own | changes))})


def trainings(params, real: Transitions, device, algorithms: list[str]) -> dict:
    """{what is trained: function of `compile` that returns its weights}."""

    def world(config):
        config = config.model_copy(update={"held_out": 0.0})  # nothing is validated
        settings = params.model_copy(update={"diffusion": config})
        return train_world_model(real, DATASET, TASK, 0, settings, device)[0]

    def forward(config):
        model = corrected.build(real, False, DATASET, 0, config).to(device)
        return fit(model, real, ("corrected", DATASET, 0), config)

    def denoiser(config):
        return synther.train(real, DATASET, 0, config, device)

    def ensemble(config):
        return onestep.train(real, False, DATASET, 0, config, device)

    rows = {algorithm: partial(train_policies, params, real, algorithm, device) for algorithm in algorithms}
    unet = params.diffusion.unet.model_copy(update={"width": world_model.UNET_WIDTH})
    networks = {
        f"world model, MLP ({WORLD_MODEL})": (world, params.diffusion, {"network": "mlp"}),
        f"world model, U-Net of width {unet.width} (the same)": (
            world,
            params.diffusion,
            {"network": "unet", "unet": unet},
        ),
        "denoiser (synther)": (denoiser, params.synther.denoiser, {}),
        "forward model (corrected)": (forward, params.corrected.dynamics, {}),
        "ensemble and behaviour policy (onestep, reverse)": (ensemble, params.onestep.dynamics, {}),
    }
    for name, (train, section, changes) in networks.items():
        rows[name] = partial(train_generator, train, section, params, **changes)
    return rows


def table(params, device, given, capture=graph) -> list[str]:
    """Prints a table with a row for each training, captured, and captured and compiled.

    An error is printed in the row of its training, and the next training begins.

    Arguments:
        given: the command-line arguments, see `__main__.py`; with `--compile false` nothing is compiled.
        capture: see `Captured`.

    Returns:
        those of `given.algorithms` that ran without an error.
    """
    ways = {"captured": False} if given.compile == "false" else {"captured": False, "captured and compiled": True}
    real, failed = random_transitions(policies.STATES, policies.ACTIONS, policies.TRANSITIONS), set()
    head(device, f"{UPDATES} updates of", "run", "largest difference from eager", "at most 1 %", texts=2)
    for name, train in trainings(params, real, device, given.algorithms).items():
        way = "eager"
        try:
            expected = trained(train, False, None)
            for way, compile in ways.items():
                torch.compiler.reset()  # else torch gives up compiling after a few sizes of the same function
                weights, memory = peak_memory(partial(trained, train, compile, capture), device)
                apart = difference(weights, expected)
                row(name, way, f"{apart:.1e}", "yes" if apart <= ALLOWED else "**no**", memory=memory)
        except Exception as error:
            failed.add(name)
            message = " ".join(f"{type(error).__name__}: {error}".split())
            row(name, way, message[:200].replace("|", "/"), "**no**", memory=None)
    return [algorithm for algorithm in given.algorithms if algorithm not in failed]

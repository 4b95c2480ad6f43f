"""Measures the speed of the world model, for docs/performance.md.

Training is compared with a plain loop, and sampling with SynthER's. The sizes are those of params.yaml; the data are
100,000 random transitions with Hopper's 11 observation and 3 action dimensions. Sampling is the whole augment stage
except writing its file: windows, inferred actions and the plausibility filter.
"""

from functools import partial
from statistics import median

import torch

from benchmarks.data import random_transitions
from benchmarks.markdown import head, row
from benchmarks.plain_world_model import PlainLoop, synther_sampler
from benchmarks.timing import take_turns
from stages.augment.imagine import completed_windows
from stages.common.settings import shared
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.training import Training, UpdateNoise
from stages.idm.model import InverseDynamics
from stages.synthetic_data.bounds import Bounds
from stages.synthetic_data.complete import to_transitions
from stages.tasks.tasks import always_healthy
from stages.world_model.model import WorldModel
from stages.world_model.train import windows_loss
from stages.world_model.windows import Windows

STATES, ACTIONS, TRANSITIONS = 11, 3, 100_000
SYNTHER_BATCH, UNET_WIDTH = 256, 32


def world_model(params, windows: Windows, device, **changes) -> WorldModel:
    """An untrained world model, with `changes` of the section `diffusion`."""
    torch.manual_seed(0)
    config = shared(params.diffusion, params.budget).model_copy(update=changes)
    model = WorldModel(STATES, ACTIONS, params.horizon, False, config).to(device)
    model.fit(windows.states, windows.steps)
    return model


def plain_training(params, windows: Windows, device, **changes) -> PlainLoop:
    """The plain loop, from the same weights as ours."""
    return PlainLoop(world_model(params, windows, device, **changes), windows, torch.arange(TRANSITIONS, device=device))


def our_training(params, windows: Windows, device, **changes):
    """Returns a function that makes `count` updates with the code of `stages.diffusion`."""
    rows, stream = torch.arange(TRANSITIONS, device=device), torch.Generator(device).manual_seed(0)
    model = world_model(params, windows, device, **changes)
    loss = partial(windows_loss, model, windows, hidden=model.config.null_probability)
    draws = UpdateNoise(rows, model.config.batch, (params.horizon, model.step))
    training = Training(model.network, loss, draws, model.config, stream)

    def run(count: int):
        for _ in range(count):
            training()

    return run


def sampling(params, real: Transitions, model: WorldModel, device, kept: dict):
    """Returns a function that samples `count` batches; it writes the transitions kept of a batch to `kept["DAWM"]`."""
    inverse = InverseDynamics(STATES, ACTIONS, params.idm.hidden, params.idm.head).to(device).eval()
    batch, bounds = params.augment.batch, Bounds(real, 100.0)  # wide, since the model is untrained
    states, actions = (torch.from_numpy(x[:batch]).to(device) for x in (real.observations, real.actions))
    returns, stream = torch.full((batch,), 0.75, device=device), torch.Generator(device).manual_seed(0)

    def run(count: int):
        for _ in range(count):
            windows = completed_windows(
                model, inverse, always_healthy, states, actions, returns, params.sampler, stream
            )
            _, counts = to_transitions(*windows, params.discount, bounds)
            kept["DAWM"] = counts["kept"]

    return run


def table(params, device, given):
    """Prints a table of training and a table of sampling.

    Arguments:
        given: the command-line arguments, see `__main__.py`.
    """
    real = random_transitions(STATES, ACTIONS, TRANSITIONS)
    windows = Windows(real, params.horizon, params.discount, 400.0, False, device)
    head(device, "world model", "loop", "updates/s", "times the plain loop", texts=2)
    unet = params.diffusion.unet.model_copy(update={"width": UNET_WIDTH})
    variants = {
        "mlp": {"network": "mlp", "compile": given.compile == "true" or params.diffusion.compile},
        "mlp, compiled": {"network": "mlp", "compile": True},
        "mlp, batch 64": {"network": "mlp", "batch": 64},
        f"unet of width {UNET_WIDTH}, batch 64": {"network": "unet", "unet": unet, "batch": 64},
    }
    for variant, changes in variants.items():
        torch.compiler.reset()  # else torch compiles the second size for any size
        loops = {"plain": plain_training, "ours": our_training}
        loops = {name: partial(build, params, windows, device, **changes) for name, build in loops.items()}
        speeds, memory = take_turns(loops, given, device, 5)
        for name, values in speeds.items():
            ratio = median(value / plain for value, plain in zip(values, speeds["plain"], strict=True))
            row(variant, name, f"{median(values):,.1f}", f"{ratio:.2f}", memory=memory[name])

    print()
    head(device, "sampler", "evaluations per transition", "kept transitions/s", "times SynthER's")
    kept, model = {"SynthER": SYNTHER_BATCH}, world_model(params, windows, device).eval()  # transitions a batch
    loops = {"SynthER": partial(synther_sampler, STATES, ACTIONS, SYNTHER_BATCH, device)}
    loops["DAWM"] = partial(sampling, params, real, model, device, kept)
    speeds, memory = take_turns(loops, given, device, 1)
    passes = {"SynthER": 255, "DAWM": evaluations(params.sampler) / params.horizon}  # network evaluations
    for name, values in speeds.items():
        rates = [value * kept[name] for value in values]
        ratio = median(
            value * kept[name] / (other * SYNTHER_BATCH) for value, other in zip(values, speeds["SynthER"], strict=True)
        )
        row(name, f"{passes[name]:.3g}", f"{median(rates):,.0f}", f"{ratio:,.0f}", memory=memory[name])

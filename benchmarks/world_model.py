"""Measures the speed of the world model, for docs/performance.md.

Training is compared with a plain loop, and sampling with SynthER's. The sizes are those of params.yaml; the data are
100,000 random transitions with Hopper's 11 observation and 3 action dimensions. Sampling is the whole augment stage
except writing its file: windows, inferred actions and the plausibility filter.
"""

from functools import partial
from statistics import median

import torch

from benchmarks.data import random_transitions
from benchmarks.plain_world_model import PlainLoop, synther_sampler
from benchmarks.timing import per_second
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
SYNTHER_BATCH = 256


def world_model(params, windows: Windows, device, **changes) -> WorldModel:
    """An untrained world model, with `changes` of the section `diffusion`."""
    torch.manual_seed(0)
    config = shared(params.diffusion, params.budget).model_copy(update=changes)
    model = WorldModel(STATES, ACTIONS, params.horizon, False, config).to(device)
    model.fit(windows.states, windows.steps)
    return model


def trainings(params, windows: Windows, device, **changes) -> dict:
    """The plain loop and ours, from the same weights: {name: function that makes `count` updates}."""
    rows, stream = torch.arange(TRANSITIONS, device=device), torch.Generator(device).manual_seed(0)
    plain = PlainLoop(world_model(params, windows, device, **changes), windows, rows)
    model = world_model(params, windows, device, **changes)
    loss = partial(windows_loss, model, windows, hidden=model.config.null_probability)
    draws = UpdateNoise(rows, model.config.batch, (params.horizon, model.step))
    training = Training(model.network, loss, draws, model.config, stream)

    def ours(count: int):
        for _ in range(count):
            training()

    return {"plain": plain, "ours": ours}


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

    def measure(runs: dict, first: int) -> dict:
        """{name: [repetitions per second of each round]}."""
        for run in runs.values():
            run(first)  # compilation, capture, caches
        rounds = [
            {name: per_second(run, given.seconds, device, first) for name, run in runs.items()}
            for _ in range(given.rounds)
        ]
        return {name: [speeds[name] for speeds in rounds] for name in runs}

    print("| world model | loop | updates/s | times the plain loop |\n|:--|:--|--:|--:|")
    unet = params.diffusion.unet.model_copy(update={"width": 32})
    variants = {
        "mlp": {"network": "mlp", "compile": given.compile == "true" or params.diffusion.compile},
        "mlp, compiled": {"network": "mlp", "compile": True},
        "mlp, batch 64": {"network": "mlp", "batch": 64},
        "unet of width 32, batch 64": {"network": "unet", "unet": unet, "batch": 64},
    }
    for variant, changes in variants.items():
        speeds = measure(trainings(params, windows, device, **changes), 5)
        for name, values in speeds.items():
            ratio = median(value / plain for value, plain in zip(values, speeds["plain"], strict=True))
            print(f"| {variant} | {name} | {median(values):,.1f} | {ratio:.2f} |", flush=True)

    print("\n| sampler | evaluations per transition | kept transitions/s | times SynthER's |\n|:--|--:|--:|--:|")
    kept, model = {"SynthER": SYNTHER_BATCH}, world_model(params, windows, device).eval()  # transitions a batch
    runs = {"SynthER": synther_sampler(STATES, ACTIONS, SYNTHER_BATCH, device)}
    runs["DAWM"] = sampling(params, real, model, device, kept)
    speeds = measure(runs, 1)
    passes = {"SynthER": 255, "DAWM": evaluations(params.sampler) / params.horizon}  # network evaluations
    for name, values in speeds.items():
        rates = [value * kept[name] for value in values]
        ratio = median(
            value * kept[name] / (other * SYNTHER_BATCH) for value, other in zip(values, speeds["SynthER"], strict=True)
        )
        print(f"| {name} | {passes[name]:.3g} | {median(rates):,.0f} | {ratio:,.0f} |", flush=True)

"""Measures the speed of policy training, for docs/performance.md.

Every algorithm has the size of TD3+BC's and IQL's papers: batches of 256, two hidden layers of 256, 17 observation and
6 action dimensions, 200,000 transitions on the device. The plain loop and ours take turns, so that other load on the
machine affects both; a figure is the median over the rounds. MOPO and MOBILE are left out: their plain loop keeps
imagined transitions in lists, which would say little about speed.
"""

from functools import partial
from importlib import import_module
from statistics import median
from types import SimpleNamespace

import numpy as np
import torch

from benchmarks import plain, plain_planners
from benchmarks.data import random_transitions
from benchmarks.markdown import head, row
from benchmarks.timing import take_turns
from stages.check.algorithms import resolve
from stages.common.transitions import Transitions, steps_left
from stages.policy.draws import Draw, draws_of
from stages.policy.trainer import build_updates

LEARNERS = {**plain.LEARNERS, **plain_planners.LEARNERS}
SEEDS = (1, 5, 10)
STATES, ACTIONS, TRANSITIONS, SIZE = 17, 6, 200_000, {"hidden": [256, 256], "batch": 256}


def plain_loop(real: Transitions, algorithm: str, settings, device):
    """Returns a function that makes `updates` updates of one seed: data on the device, indices drawn by NumPy."""
    learner = LEARNERS[algorithm](STATES, ACTIONS, settings)
    for name, part in list(vars(learner).items()):
        if type(part) is torch.Tensor:
            setattr(learner, name, part.to(device))
        for network in part if isinstance(part, list) else [part]:
            if isinstance(network, torch.nn.Module):
                network.to(device)
            elif isinstance(network, torch.nn.Parameter):
                network.data = network.to(device)
    columns = [real.observations, real.actions, real.rewards, real.discounts, real.next_observations]
    module, horizon = import_module(f"stages.algorithms.{algorithm}"), getattr(settings, "horizon", 0)
    if hasattr(module, "columns"):
        columns += [
            part.squeeze(1) if part.shape[1] == 1 else part for part in module.columns(real, settings)(real).values()
        ]
    columns = [torch.from_numpy(column).to(device) for column in columns]
    left, offsets = torch.from_numpy(steps_left(real.episode)).to(device), torch.arange(horizon, device=device)
    draws, stream = numbers_of(algorithm, settings), torch.Generator(device).manual_seed(0)

    def run(updates: int):
        for _ in range(updates):
            rows = torch.from_numpy(np.random.randint(0, TRANSITIONS, settings.batch)).to(device)
            batch = [column[rows] for column in columns]
            if horizon:
                ahead = rows[:, None] + offsets.minimum(left[rows][:, None] - 1)
                batch += [columns[1][ahead], columns[4][ahead], (offsets < left[rows][:, None]).float()]
            numbers = {name: draw((settings.batch, draw.width), stream) for name, draw in draws.items()}
            learner.train(batch, numbers)

    return run


def numbers_of(algorithm: str, settings) -> dict[str, Draw]:
    """The random numbers that an update of the algorithm takes."""
    streams, module = [torch.Generator()], import_module(f"stages.algorithms.{algorithm}")
    learner = module.Learner(STATES, ACTIONS, streams, settings, torch.device("cpu"))
    return draws_of(learner, ACTIONS)


def our_loop(real: Transitions, algorithm: str, settings, seeds: int, device):
    """Returns a function that makes `count` updates of all seeds together, with the code of `stages.policy`."""
    updates = build_updates(real, None, ("benchmark", "real", algorithm), settings, seeds, device)

    def run(count: int):
        for _ in range(count):
            updates()

    return run


def sized(params, algorithm: str, compile) -> SimpleNamespace:
    """An algorithm's settings, at the sizes of the benchmark.

    Training never ends, so RSP and SAQ-IQL, which train one network after the other, are measured on their first one.
    """
    settings = SimpleNamespace(**resolve(params.policy, getattr(params, algorithm), "benchmark"))
    vars(settings).update(SIZE, compile=compile, steps=10**9)
    return settings


def table(params, device, given):
    """Prints a table with a row for each algorithm and number of seeds, and names the algorithms without a plain loop.

    Arguments:
        given: the command-line arguments, see `__main__.py`.
    """
    real = random_transitions(STATES, ACTIONS, TRANSITIONS)
    compiled = {"auto": "auto", "true": True, "false": False}[given.compile]
    columns = "loop", "seeds", "updates/s", "seed-updates/s", "times the plain loop"
    head(device, "algorithm", *columns, texts=2)
    for algorithm in given.algorithms:
        if algorithm not in LEARNERS:
            continue
        torch.compiler.reset()  # else torch gives up compiling after a few sizes of the same function
        settings = sized(params, algorithm, compiled)
        loops = {"plain": partial(plain_loop, real, algorithm, settings, device)}
        loops |= {seeds: partial(our_loop, real, algorithm, settings, seeds, device) for seeds in given.seeds or SEEDS}
        speeds, memory = take_turns(loops, given, device)
        for key, values in speeds.items():
            seeds, name = (1, "plain") if key == "plain" else (key, "ours")
            speed = median(values)
            ratio = median(seeds * value / plain for value, plain in zip(values, speeds["plain"], strict=True))
            cells = f"{seeds}", f"{speed:,.1f}", f"{seeds * speed:,.1f}", f"{ratio:.2f}"
            row(algorithm, name, *cells, memory=memory[key])
    if others := [algorithm for algorithm in given.algorithms if algorithm not in LEARNERS]:
        print(f"\nWithout a plain loop, so not measured: {', '.join(others)}.")

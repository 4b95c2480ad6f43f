"""Measures what several policy stages at a time get of one device, for `cluster/resources.yaml`.

Each process trains five TD3+BC policies at the sizes of `policies.py`. All start together, and the sum of their speeds
tells whether a device that several stages share does more than one that a single stage has to itself.
"""

import time
from multiprocessing import get_context

import torch

from benchmarks.data import random_transitions
from benchmarks.policies import ACTIONS, STATES, TRANSITIONS, our_loop, sized
from stages.check.schema import Params
from stages.common.params import read, validate
from stages.common.torch_setup import setup
from stages.policy.updates import CHUNK

SEEDS, PROCESSES = 5, (1, 2, 4, 8)


def train(seconds: float, ready, speeds):
    """Trains for so many seconds once all processes are ready, and reports its updates per second and GPU memory."""
    params = validate(Params, read())  # its classes are made at run time, so it cannot be sent to a process
    device = setup(params.device, params.threads)
    real = random_transitions(STATES, ACTIONS, TRANSITIONS)
    run = our_loop(real, "td3bc", sized(params, "td3bc", False), SEEDS, device)
    run(CHUNK)
    ready.wait()
    start, updates = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        run(CHUNK)
        updates += CHUNK
        if device.type == "cuda":
            torch.cuda.synchronize()
    memory = torch.cuda.max_memory_reserved() / 2**30 if device.type == "cuda" else 0.0
    speeds.put((updates / (time.perf_counter() - start), memory))


def together(processes: int, seconds: float) -> tuple[float, float]:
    """The sum of the updates per second of that many processes, and the GPU memory of each, in GiB."""
    context = get_context("spawn")
    ready, speeds = context.Barrier(processes), context.Queue()
    each = [context.Process(target=train, args=(seconds, ready, speeds)) for _ in range(processes)]
    for process in each:
        process.start()
    measured = [speeds.get() for _ in each]
    for process in each:
        process.join()
    return sum(speed for speed, _ in measured), max(memory for _, memory in measured)


def table(params, device, given):
    """Prints a table with a row for each number of processes; arguments as in `policies.table`."""
    print(f"| processes, {SEEDS} seeds each | updates/s of all | times one process | GiB each |\n|--:|--:|--:|--:|")
    alone = None
    for processes in PROCESSES:
        speed, memory = together(processes, given.seconds)
        alone = alone or speed
        print(f"| {processes} | {speed:,.0f} | {speed / alone:.2f} | {memory:.2f} |", flush=True)

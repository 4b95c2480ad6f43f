"""Measures speeds and memory, and describes the machine."""

import gc
import platform
import sys
import time
from functools import partial

import torch


def per_second(run, seconds: float, device, first: int = 20) -> float:
    """Measures the repetitions per second of `run(count)`, over about `seconds` seconds.

    A trial of `first` repetitions determines how many fit into that time.
    """

    def speed(count):
        start = time.perf_counter()
        run(count)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return count / (time.perf_counter() - start)

    return speed(max(first, int(seconds * speed(first))))


def peak_memory(function, device) -> tuple:
    """Calls the function; returns its result, and the peak of GPU memory that it allocated, in GiB (None on a CPU)."""
    if device.type != "cuda":
        return function(), None
    gc.collect()  # captured updates refer to themselves
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = function()
    return result, (torch.cuda.max_memory_allocated() - before) / 2**30


def take_turns(loops: dict, given, device, first: int = 20) -> tuple[dict, dict]:
    """Measures several loops, which take turns, so that other load on the machine affects all of them.

    Arguments:
        loops: {name: function that builds the loop and returns its `run(count)`}.
        given: the command-line arguments `rounds` and `seconds`, see `__main__.py`.
        first: repetitions before the measurement, for compilation, capture and caches.

    Returns:
        {name: [repetitions per second of each round]}, and {name: peak memory in GiB}, see `peak_memory`.
    """

    def begin(build):
        run = build()
        run(first)
        return run

    runs, memory = {}, {}
    for name, build in loops.items():
        runs[name], memory[name] = peak_memory(partial(begin, build), device)
    speeds = {name: [] for name in runs}
    for _ in range(given.rounds):
        for name, run in runs.items():
            speeds[name].append(per_second(run, given.seconds, device, first))
    return speeds, memory


def machine(device) -> str:
    """A description of the processor or GPU, its threads, and torch's version."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
    elif sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    threads = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    return f"{name}{threads}, torch {torch.__version__}"

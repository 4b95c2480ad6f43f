"""Measures speeds and describes the machine."""

import platform
import sys
import time

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

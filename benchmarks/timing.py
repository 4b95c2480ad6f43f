"""How a speed is measured, and on what."""

import platform
import sys
import time

import torch


def per_second(run, seconds: float, device, first: int = 20) -> float:
    """How often a second `run(count)` does what it does, over about that time; `first` counts find out how many fit."""

    def timed(count):
        start = time.perf_counter()
        run(count)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return count / (time.perf_counter() - start)

    return timed(max(first, int(seconds * timed(first))))


def machine(device) -> str:
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
    elif sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), name)
    threads = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    return f"{name}{threads}, torch {torch.__version__}"

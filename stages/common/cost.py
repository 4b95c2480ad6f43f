"""What a stage took, kept beside the pipeline: equal results must have equal bytes, so no time may be in them."""

import hashlib
import json
import os
import platform
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from stages.common.files import write_json


def digest(path: Path | str) -> str:
    """The md5 of a file, by which DVC knows it."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def place(digest: str) -> Path:
    """The record of the output with that md5; in the project's root, experiments included."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".timings" / f"{digest}.json"


def machine() -> str:
    """What computes here, in words."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        model = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return " and ".join([f"{os.cpu_count()} cores of {model}", *gpu])


@contextmanager
def timed(output: Path | str):
    """Measures the seconds from entering to leaving, as those of the output that is there then.

    A stage that went on from a checkpoint took longer than it says: only its last part is counted.
    """
    start = time.monotonic()
    yield
    seconds = time.monotonic() - start
    write_json(place(digest(output)), {"output": str(output), "seconds": seconds, "machine": machine()})


def timing(digest: str) -> dict | None:
    """{"output", "seconds", "machine"} of the output with that md5, when last made here; None where nobody saw."""
    try:
        return json.loads(place(digest).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def seconds(digest: str) -> float | None:
    """What the output with that md5 took here when it was last made; None where nobody saw."""
    found = timing(digest)
    return found and found["seconds"]


def parameters(*modules: torch.nn.Module) -> int:
    """How many numbers they have learned."""
    return sum(weight.numel() for module in modules for weight in module.parameters())


def made(trained: list[str], parameters: int, evaluations: float, counts: dict) -> np.ndarray:
    """What a method's transitions took, for `Transitions.made`: () str array, JSON of the arguments.

    Arguments:
        trained: the files of the models that they were made with; of each, the md5 is kept, with which `seconds` finds
            what its training took.
        parameters: of one generator's networks.
        evaluations: how many times a network was evaluated for one transition, on average; a batch counts its rows.
        counts: of what was made and left out.
    """
    told = {
        "trained": [digest(path) for path in trained],
        "source": None,
        "parameters": parameters,
        "evaluations": round(evaluations, 3),
        "counts": counts,
    }
    return np.array(json.dumps(told))


def remade(path: str, made: np.ndarray) -> np.ndarray:
    """The same for transitions that were made from the synthetic ones in `path`, without any network of their own."""
    return np.array(json.dumps({**json.loads(str(made)), "source": digest(path)}))

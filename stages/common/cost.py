"""What a stage took and what it ran on, kept beside the pipeline: equal results must have equal bytes, so neither times
nor machines may be in them.
"""

import hashlib
import json
import os
import platform
import subprocess
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from stages.common.files import write_json

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "minari")  # on whose versions numbers may depend


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


def revision() -> str | None:
    """The git commit of the code that runs, and whether that differs from it; None outside git."""

    def git(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *command], capture_output=True, text=True, check=False)

    try:
        commit, changes = git("rev-parse", "--short=10", "HEAD"), git("status", "--porcelain", "--", "stages/*.py")
    except OSError:  # there is no git
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + (" with changes" if changes.stdout else "")


def packages() -> dict[str, str]:
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


@contextmanager
def timed(output: Path | str):
    """Measures the seconds from entering to leaving, as those of the output that is there then, and notes with what it
    was made.

    A stage that went on from a checkpoint took longer than it says: only its last part is counted.
    """
    start, code = time.monotonic(), revision()
    yield
    seconds = time.monotonic() - start
    told = {"output": str(output), "seconds": seconds, "machine": machine(), "revision": code, "packages": packages()}
    write_json(place(digest(output)), told)


def timing(digest: str) -> dict | None:
    """{"output", "seconds", "machine", "revision", "packages"} of the output with that md5, when last made here; None
    where nobody saw.
    """
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

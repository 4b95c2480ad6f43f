"""Records of how long a stage took and on what machine.

They are kept apart from the pipeline's results, in `.timings/`, since equal results must have equal bytes.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from stages.common.files import write_json

PACKAGES = ("torch", "numpy", "mujoco", "gymnasium", "minari")  # results may depend on their versions


def digest(path: Path | str) -> str:
    """The md5 of a file, as in dvc.lock."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def timing_path(digest: str) -> Path:
    """Path of the record of the output with that md5: in the project's root, also for experiments run elsewhere."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".timings" / f"{digest}.json"


def machine() -> str:
    """A description of the processor, and of the GPU if this process uses one."""
    try:
        text = Path("/proc/cpuinfo").read_text()
        model = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    torch = sys.modules.get("torch")  # a stage that has not loaded it uses no GPU
    gpu = [torch.cuda.get_device_name()] if torch and torch.cuda.is_available() else []
    return " and ".join([f"{os.cpu_count()} cores of {model}", *gpu])


def revision() -> str | None:
    """The git commit of the running code, marked if the code has uncommitted changes; None outside git."""

    def git(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(["git", *command], capture_output=True, text=True, check=False)

    try:
        commit, changes = git("rev-parse", "--short=10", "HEAD"), git("status", "--porcelain", "--", "stages/*.py")
    except OSError:  # git is not installed
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + (" with changes" if changes.stdout else "")


def packages() -> dict[str, str]:
    """Versions of Python and of PACKAGES."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


@contextmanager
def timed(output: Path | str):
    """Records how long the block took to write `output`, with revision, machine and package versions.

    If the stage resumed from a checkpoint, only the time since then counts.
    """
    start, code = time.monotonic(), revision()
    yield
    record = {
        "output": str(output),
        "seconds": time.monotonic() - start,
        "machine": machine(),
        "revision": code,
        "packages": packages(),
    }
    write_json(timing_path(digest(output)), record)


def timing(digest: str) -> dict | None:
    """The record {"output", "seconds", "machine", "revision", "packages"} of the output with that md5, from the last
    time it was made on this machine; None if there is none.
    """
    try:
        return json.loads(timing_path(digest).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def seconds(digest: str) -> float | None:
    """Seconds of `timing`; None if there is no record."""
    record = timing(digest)
    return record and record["seconds"]

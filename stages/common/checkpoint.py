"""Checkpoints of a running stage: an interrupted run resumes from its last checkpoint."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import torch

from stages.common.files import atomic

STAGES = Path(__file__).resolve().parents[1]


def code() -> list[Path]:
    """The project's source files that this process has imported."""
    named = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    return sorted({path for path in (Path(name).resolve() for name in named) if STAGES in path.parents})


class Checkpoint:
    """A folder `.checkpoints/<hash>/` with the state of one stage.

    The hash covers everything that decides what the stage computes: its name, its parameters, the bytes of its inputs
    and of the code that it imported, torch's version and the device. So a stage never finds a checkpoint of other
    parameters, inputs or code.

    The folder lies in the project's root (DVC's `$DVC_ROOT`), also for experiments in a temporary folder, and may be
    deleted at any time. Create a Checkpoint after all imports.

    Arguments:
        name: of the stage and its cell.
        params: the parameters that the stage reads; any value whose `repr` shows it in full.
        inputs: the files that the stage reads.
    """

    def __init__(self, name: str, params, inputs: list[Path | str], device: torch.device):
        content = hashlib.sha256(repr((name, params, torch.__version__, device.type)).encode())
        for path in [*map(Path, inputs), *code()]:
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
        self.folder = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints" / content.hexdigest()[:32]
        self.device = device

    def save(self, name: str, content):
        """Writes tensors in dicts and lists, atomically."""
        with atomic(self.folder / f"{name}.pt") as temporary:
            torch.save(content, temporary)

    def load(self, name: str):
        """Loads what was saved under that name onto the stage's device; None if nothing was.

        Raises:
            SystemExit: if the file is damaged, naming it.
        """
        path = self.folder / f"{name}.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises various types
            raise SystemExit(
                f"{path}: the checkpoint is damaged; delete its folder: {' '.join(str(error).split())}"
            ) from None

    def discard(self):
        """Deletes the folder, when the stage has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

"""Checkpoints of a stage that is under way, so that a killed one goes on where it was."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import torch

from stages.common.files import atomic

STAGES = Path(__file__).resolve().parents[1]


def code() -> list[Path]:
    """The project's files that this process has imported."""
    named = [module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    return sorted({path for path in (Path(name).resolve() for name in named) if STAGES in path.parents})


class Checkpoint:
    """A folder `.checkpoints/<hash>/`, where the hash is of all that decides what the stage computes: its name, its
    parameters, the bytes of its inputs and of the code it imported, torch's version and the device. So a checkpoint of
    other parameters, inputs or code is never found, and nothing needs to be compared when one is.

    The folder lies in the project's root (DVC's `$DVC_ROOT`), experiments in a temporary folder included. It may be
    deleted at any time. Make it after all imports.

    Arguments:
        name: of the stage and its cell.
        params: that the stage reads, anything whose `repr` tells its value.
        inputs: the files that it reads.
    """

    def __init__(self, name: str, params, inputs: list[Path | str], device: torch.device):
        told = hashlib.sha256(repr((name, params, torch.__version__, device.type)).encode())
        for path in [*map(Path, inputs), *code()]:
            with path.open("rb") as file:
                told.update(hashlib.file_digest(file, "sha256").digest())
        self.folder = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints" / told.hexdigest()[:32]
        self.device = device

    def save(self, name: str, content):
        """Tensors in dicts and lists, whole or not at all."""
        with atomic(self.folder / f"{name}.pt") as temporary:
            torch.save(content, temporary)

    def load(self, name: str):
        """What was saved under that name, on the stage's device; None where nothing was.

        Raises:
            SystemExit: where the file is damaged, naming it.
        """
        path = self.folder / f"{name}.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location=self.device, weights_only=True)
        except Exception as error:  # torch raises many kinds
            raise SystemExit(
                f"{path}: a damaged checkpoint, delete its folder: {' '.join(str(error).split())}"
            ) from None

    def discard(self):
        """The stage has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

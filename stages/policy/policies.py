"""Saves and loads a cell's policies: `models/<dataset>/<method>-<algorithm>.safetensors`."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stages.common.files import atomic


def save(policies: dict[str, torch.Tensor], algorithm: str, settings: SimpleNamespace, path: Path | str):
    """Writes the tensors that `train` returns, with the name and the settings of the algorithm that acts by them."""
    described = json.dumps({"algorithm": algorithm, "settings": vars(settings)}, sort_keys=True)
    with atomic(path) as temporary:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in policies.items()}
        save_file(tensors, temporary, {"policy": described})  # one entry, since safetensors keeps no order of several


def save_absent(shown: str, reason: str, path: Path | str):
    """Writes, in place of policies, why there are none.

    Arguments:
        shown: what tables show in place of a score, "n/a" or "diverged".
    """
    with atomic(path) as temporary:
        save_file({}, temporary, {"absent": json.dumps({"shown": shown, "reason": reason})})


def absent(path: Path | str) -> dict[str, str] | None:
    """Why there are no policies, {"shown", "reason"} as `save_absent` wrote them; None if there are."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata().get("absent", "null"))


def load(path: Path | str) -> tuple[dict[str, torch.Tensor], str, SimpleNamespace]:
    """Reads what `save` wrote: tensors, algorithm, settings."""
    with safe_open(path, "pt") as file:
        described = json.loads(file.metadata()["policy"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
    return tensors, described["algorithm"], SimpleNamespace(**described["settings"])

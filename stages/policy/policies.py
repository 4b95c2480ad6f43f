"""Saves and loads a cell's policies: `models/<dataset>/<method>-<algorithm>.safetensors`."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from stages.common.files import atomic


def save(policies: dict[str, torch.Tensor], path: Path | str):
    """Writes the tensors that `train` returns."""
    with atomic(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in policies.items()}, temporary)


def load(path: Path | str) -> dict[str, torch.Tensor]:
    """Reads the tensors that `save` wrote."""
    return load_file(path)

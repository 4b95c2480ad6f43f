"""Random streams with names: what a stream yields depends on its name alone, never on what else ran."""

import hashlib

import numpy as np
import torch


def seed_of(*names: object) -> int:
    """A 63-bit seed for the stream of that name."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(*names: object) -> np.random.Generator:
    return np.random.default_rng(seed_of(*names))


def torch_stream(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed_of(*names))

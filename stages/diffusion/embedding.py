"""Fourier features of a scalar, for noise labels and returns-to-go."""

import math

import torch

FREQUENCIES = 8


def features(x: torch.Tensor) -> torch.Tensor:
    """(…) scalars of order 1 → (…, features.width): x, its sines and cosines, of half-periods 4, 2, 1, …"""
    angles = x[..., None] * (math.pi / 4 * 2.0 ** torch.arange(FREQUENCIES, device=x.device))
    return torch.cat([x[..., None], angles.sin(), angles.cos()], dim=-1)


features.width = 1 + 2 * FREQUENCIES

"""Smooth features of a scalar, from coarse to fine, for noise labels and returns-to-go."""

import math

import torch

FREQUENCIES = 8


def features(x: torch.Tensor) -> torch.Tensor:
    """(B,) scalars of order 1 → (B, features.width): x itself, and sine and cosine at octaves from a half-wave of 4."""
    angles = x[:, None] * (math.pi / 4 * 2.0 ** torch.arange(FREQUENCIES, device=x.device))
    return torch.cat([x[:, None], angles.sin(), angles.cos()], dim=1)


features.width = 1 + 2 * FREQUENCIES

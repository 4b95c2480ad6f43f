"""From noise to samples: functions of any denoiser, `denoise(x, σ) → clean x`, and of the noise levels to visit."""

from itertools import pairwise

import torch


def deterministic(denoise, x: torch.Tensor, sigmas: torch.Tensor, noises=None) -> torch.Tensor:
    """Euler steps of the probability-flow equation; for a DDPM, exactly DDIM (Song et al. 2021, eq. 12 with σ = 0).

    Arguments:
        x: (B, …) noise of standard deviation sigmas[0].
        sigmas: (steps + 1,), the last one 0.
    """
    for now, after in pairwise(sigmas):
        clean = denoise(x, now)
        x = clean + after / now * (x - clean)
    return x


def ancestral(denoise, x: torch.Tensor, sigmas: torch.Tensor, noises: torch.Tensor) -> torch.Tensor:
    """DDPM's posterior (Ho et al. 2020, arXiv 2006.11239, eq. 7) between the levels visited, in the coordinates of σ.

    Arguments:
        x: as above.
        noises: (steps, B, …) standard normal, or scaled down for a low temperature; the last is not used.
    """
    for noise, (now, after) in zip(noises, pairwise(sigmas), strict=True):
        clean = denoise(x, now)
        kept = (after / now) ** 2
        x = clean + kept * (x - clean) + after * (1 - kept).sqrt() * noise
    return x


SAMPLERS = {"deterministic": deterministic, "ancestral": ancestral}

"""From noise to samples: functions of any denoiser, `denoise(x, σ) → clean x`, and of the noise levels to visit.

All take the same arguments:

    denoise  (x (B, …), σ ()) → clean x
    x        (B, …) noise of standard deviation sigmas[0]
    sigmas   (steps + 1,) falling, the last one 0
    noise    () → (B, …) standard normal, or scaled down for a low temperature; a deterministic sampler never asks
    churn    of `heun`: amount, low, high and noise, Karras et al.'s S_churn, S_min, S_max and S_noise
"""

import math
from itertools import pairwise

import torch


def ddim(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise=None, churn=None) -> torch.Tensor:
    """DDIM (Song et al. 2021, arXiv 2010.02502, eq. 12 with σ = 0): Euler steps of the probability-flow equation."""
    for now, after in pairwise(sigmas):
        clean = denoise(x, now)
        x = clean + after / now * (x - clean)
    return x


def ancestral(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise, churn=None) -> torch.Tensor:
    """DDPM's posterior (Ho et al. 2020, arXiv 2006.11239, eq. 7) between the levels visited, in the coordinates of
    σ."""
    for now, after in pairwise(sigmas):
        clean = denoise(x, now)
        kept = (after / now) ** 2
        x = clean + kept * (x - clean)
        if after > 0:
            x = x + after * (1 - kept).sqrt() * noise()
    return x


def heun(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise, churn) -> torch.Tensor:
    """EDM's stochastic second-order sampler (Karras et al. 2022, algorithm 2); with an amount of 0, its algorithm 1.

    Two evaluations a step, but one in the last. Its error grows with the change of σ, so it wants EDM's levels: few
    levels of a DDPM begin with a leap that it cannot take.
    """
    most = min(churn.amount / (len(sigmas) - 1), math.sqrt(2) - 1)
    for now, after in pairwise(sigmas):
        if most > 0 and churn.low <= now <= churn.high:
            raised = now * (1 + most)
            x = x + (raised**2 - now**2).sqrt() * churn.noise * noise()
            now = raised
        slope = (x - denoise(x, now)) / now
        there = x + (after - now) * slope
        if after > 0:
            slope = (slope + (there - denoise(there, after)) / after) / 2
        x = x + (after - now) * slope
    return x


def dpm_solver(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise=None, churn=None) -> torch.Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): second order at one evaluation a step.

    In the coordinates of σ, where a step is linear in x and in the clean estimate, extrapolated in ln σ from the last
    two.
    """
    before = None  # (ln σ, clean) of the last step
    for now, after in pairwise(sigmas):
        clean = denoise(x, now)
        ahead = clean
        if before is not None and after > 0:
            ratio = (before[0] - now.log()) / (now / after).log()
            ahead = clean + (clean - before[1]) / (2 * ratio)
        x = ahead + after / now * (x - ahead)
        before = now.log(), clean
    return x


def evaluations(sampler) -> int:
    """How many times the network is evaluated for one sample of a world model, or of a plain model without guidance."""
    own = 2 * sampler.steps - 1 if sampler.method == "heun" else sampler.steps
    return own * (1 if getattr(sampler, "guidance", 1) == 1 else 2)


SAMPLERS = {"ddim": ddim, "ancestral": ancestral, "heun": heun, "dpm-solver": dpm_solver}

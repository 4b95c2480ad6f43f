"""Samplers: functions of any denoiser, `denoise(x, σ) → clean x`, and of a sequence of noise levels.

All take the same arguments:

    denoise  (x (B, …), σ ()) → clean x
    x        (B, …) noise of standard deviation sigmas[0]
    sigmas   (steps + 1,) falling, the last one 0
    noise    () → (B, …) standard normal, or scaled down for a low temperature; unused by deterministic samplers
    churn    used by `heun` only: amount, low, high and noise, Karras et al.'s S_churn, S_min, S_max and S_noise
"""

import math
from itertools import pairwise

import torch


def ddim(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise=None, churn=None) -> torch.Tensor:
    """DDIM (Song et al. 2021, arXiv 2010.02502, eq. 12 with σ = 0): Euler steps of the probability-flow equation."""
    for sigma, next_sigma in pairwise(sigmas):
        clean = denoise(x, sigma)
        x = clean + next_sigma / sigma * (x - clean)
    return x


def ancestral(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise, churn=None) -> torch.Tensor:
    """Samples DDPM's posterior between the levels (Ho et al. 2020, arXiv 2006.11239, eq. 7), in coordinates of σ."""
    for sigma, next_sigma in pairwise(sigmas):
        clean = denoise(x, sigma)
        kept = (next_sigma / sigma) ** 2
        x = clean + kept * (x - clean)
        if next_sigma > 0:
            x = x + next_sigma * (1 - kept).sqrt() * noise()
    return x


def heun(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise, churn) -> torch.Tensor:
    """EDM's stochastic second-order sampler (Karras et al. 2022, algorithm 2); with an amount of 0, its algorithm 1.

    Each step evaluates the denoiser twice, the last step once. The error of a step grows with its change of σ, so this
    sampler needs EDM's levels: with few DDPM levels the first step is too large.
    """
    increase = min(churn.amount / (len(sigmas) - 1), math.sqrt(2) - 1)  # relative increase of σ, γ in the paper
    for sigma, next_sigma in pairwise(sigmas):
        if increase > 0 and churn.low <= sigma <= churn.high:
            raised = sigma * (1 + increase)
            x = x + (raised**2 - sigma**2).sqrt() * churn.noise * noise()
            sigma = raised
        slope = (x - denoise(x, sigma)) / sigma
        euler = x + (next_sigma - sigma) * slope
        if next_sigma > 0:
            slope = (slope + (euler - denoise(euler, next_sigma)) / next_sigma) / 2
        x = x + (next_sigma - sigma) * slope
    return x


def midpoint(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise=None, churn=None) -> torch.Tensor:
    """The midpoint method along flow matching's straight paths, in whose time t = 1 / (1 + σ) each step is halved.

    Each step evaluates the denoiser twice; the second estimate, at the middle, gives the velocity of the whole step.
    """
    for sigma, next_sigma in pairwise(sigmas):
        t, end = 1 / (1 + sigma), 1 / (1 + next_sigma)
        middle = 2 / (t + end) - 1
        clean = denoise(x, sigma)
        halfway = clean + middle / sigma * (x - clean)
        clean = denoise(halfway, middle)
        velocity = clean - (halfway - clean) / middle
        x = (t * x + (end - t) * velocity) / end
    return x


def dpm_solver(denoise, x: torch.Tensor, sigmas: torch.Tensor, noise=None, churn=None) -> torch.Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): second order at one evaluation a step.

    In coordinates of σ, a step is linear in x and in the clean estimate. The estimate is extrapolated in ln σ from
    those of the last two steps.
    """
    last = None  # (ln σ, clean) of the last step
    for sigma, next_sigma in pairwise(sigmas):
        clean = denoise(x, sigma)
        extrapolated = clean
        if last is not None and next_sigma > 0:
            ratio = (last[0] - sigma.log()) / (sigma / next_sigma).log()
            extrapolated = clean + (clean - last[1]) / (2 * ratio)
        x = extrapolated + next_sigma / sigma * (x - extrapolated)
        last = sigma.log(), clean
    return x


def temperature_of(sampler) -> float:
    """The factor of all noise: `sampler.temperature` for a stochastic sampler, 1 for a deterministic one."""
    stochastic = sampler.method == "ancestral" or (sampler.method == "heun" and sampler.churn.amount > 0)
    return sampler.temperature if stochastic else 1.0


def evaluations(sampler) -> int:
    """The number of network evaluations for one sample; guidance by a weight other than 0 and 1 doubles it."""
    twice = {"heun": 2 * sampler.steps - 1, "midpoint": 2 * sampler.steps}
    denoised = twice.get(sampler.method, sampler.steps)
    return denoised * (1 if getattr(sampler, "guidance", 1) in (0, 1) else 2)


SAMPLERS = {"ddim": ddim, "ancestral": ancestral, "heun": heun, "midpoint": midpoint, "dpm-solver": dpm_solver}

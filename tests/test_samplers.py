"""Every sampler on every parameterisation, where the exact denoiser is known: a Gaussian and a mixture of two.

The network is made from the exact denoiser by solving skip x + out F = clean for F, so scaling, skip and output are
tested with the sampler; moments must agree within four standard errors.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from stages.diffusion.guidance import guided
from stages.diffusion.process import Ddpm, Edm
from stages.diffusion.samplers import SAMPLERS, evaluations

COUNT = 5_000
EDM = SimpleNamespace(sigma_min=0.002, sigma_max=80.0, sigma_data=0.7, rho=7.0)
PROCESSES = {
    "edm": Edm(EDM),
    **{kind: Ddpm(SimpleNamespace(levels=1000, prediction=kind)) for kind in ("noise", "clean", "velocity")},
}
CHURNED, STILL = (SimpleNamespace(amount=amount, low=0.05, high=50.0, noise=1.0) for amount in (40.0, 0.0))
RUNS = {  # sampler → steps for which its own error is below the statistical one
    "ddim": (250, STILL),
    "ancestral": (500, STILL),
    "heun": (60, STILL),
    "heun with churn": (100, CHURNED),
    "dpm-solver": (60, STILL),
}


def gaussian(mean: float, std: float):
    return lambda x, sigma: (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)


def mixture(weights, means, std: float):
    """The posterior mean of x₀ given x₀ + σ ε, x₀ from a mixture of Gaussians of one standard deviation."""

    def denoise(x, sigma):
        variance = std**2 + sigma**2
        logits = torch.stack([math.log(w) - (x - m) ** 2 / (2 * variance) for w, m in zip(weights, means, strict=True)])
        shares = logits.softmax(0)
        return sum(share * gaussian(m, std)(x, sigma) for share, m in zip(shares, means, strict=True))

    return denoise


def network_of(exact, process):
    """F such that the process's clean estimate is the exact one; called as a network is."""

    def network(scaled, label, condition):
        sigma = (4 * label).exp().reshape(-1, *[1] * (scaled.dim() - 1))
        scale, skip, out = process.coefficients(sigma)
        x = scaled / scale
        return (exact(x, sigma) - skip * x) / out

    return network


def samples(exact, process: str, run: str, weight: float = 1.0, unconditional=None) -> torch.Tensor:
    """(COUNT,) drawn with the networks of the exact denoisers, float64."""
    steps, churn = RUNS[run]
    steps = 1000 if run.startswith("heun") and process != "edm" else steps  # its first step must not be a DDPM's leap
    kind, stream = PROCESSES[process], torch.Generator().manual_seed(3)
    networks = {True: network_of(exact, kind), False: unconditional and network_of(unconditional, kind)}

    def noise():
        return torch.randn(COUNT, 1, 1, generator=stream, dtype=torch.float64)

    def denoise(x, sigma, with_condition):
        return kind.denoise(networks[with_condition], x, sigma.expand(len(x)), None)

    sigmas = kind.sigmas(steps).double()
    sampler = SAMPLERS[run.partition(" ")[0]]
    return sampler(guided(denoise, weight), sigmas[0] * noise(), sigmas, noise, churn).flatten()


cases = pytest.mark.parametrize(("process", "run"), [(process, run) for process in PROCESSES for run in RUNS])


@cases
def test_a_gaussian_s_moments(process, run):
    mean, std = 1.5, 0.7
    x = samples(gaussian(mean, std), process, run)
    assert x.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(COUNT))
    assert x.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * COUNT))
    assert ((x - mean) / std).pow(4).mean().item() == pytest.approx(3, abs=4 * math.sqrt(96 / COUNT))


@cases
def test_a_mixture_s_weights_and_moments(process, run):
    weights, means, std = (0.3, 0.7), (-2.0, 1.0), 0.4
    x = samples(mixture(weights, means, std), process, run)
    error = 4 * math.sqrt(0.3 * 0.7 / COUNT)
    assert (x < -0.5).double().mean().item() == pytest.approx(0.3, abs=error + 1e-3)  # 1e-4 of each lies beyond
    for part, mean in ((x[x < -0.5], -2.0), (x[x >= -0.5], 1.0)):
        assert part.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(len(part)) + 2e-3)
        assert part.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * len(part)) + 5e-3)


@pytest.mark.parametrize("weight", [0.0, 2.0])
@cases
def test_guidance_moves_a_gaussian_s_mean_in_proportion_and_keeps_its_spread(process, run, weight):
    """Both of one variance, the weighted scores are those of N(m₀ + w (m₁ - m₀), s²) at every level."""
    plain, told, std = 0.3, 0.8, 0.7
    x = samples(gaussian(told, std), process, run, weight, gaussian(plain, std))
    assert x.mean().item() == pytest.approx(plain + weight * (told - plain), abs=4 * std / math.sqrt(COUNT))
    assert x.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * COUNT))


def test_fewer_noise_evaluations_than_steps_are_never_asked_of_a_deterministic_sampler():
    sigmas = Edm(EDM).sigmas(5).double()
    for name in ("ddim", "heun", "dpm-solver"):
        SAMPLERS[name](gaussian(0.0, 1.0), sigmas[0] * torch.ones(2, dtype=torch.float64), sigmas, None, STILL)


@pytest.mark.parametrize(("name", "steps", "order"), [("ddim", 40, 1), ("heun", 40, 2), ("dpm-solver", 40, 2)])
def test_halving_the_steps_of_a_method_multiplies_its_error_by_its_order(name, steps, order):
    """One trajectory of the probability flow, whose end is known: a deviation of one std stays one."""
    kind, std = Edm(SimpleNamespace(sigma_min=0.002, sigma_max=20.0, sigma_data=1.0, rho=7.0)), 1.0
    errors = []
    for count in (steps, 2 * steps):
        sigmas = kind.sigmas(count).double()
        x = (sigmas[:1] ** 2 + std**2).sqrt()
        errors.append(abs(SAMPLERS[name](gaussian(0.0, std), x, sigmas, None, STILL).item() - std))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("weight", [None, 0.0, 1.0, 1.5])
def test_evaluations_are_as_many_as_the_sampler_makes(method, steps, weight):
    calls = []

    def denoise(x, sigma, with_condition=True):
        calls.append(sigma)
        return x / 2

    sampler = SimpleNamespace(method=method, steps=steps)
    run = denoise
    if weight is not None:
        sampler.guidance, run = weight, guided(denoise, weight)
    x, sigmas = torch.ones(2, 3), Edm(EDM).sigmas(steps)
    SAMPLERS[method](run, x, sigmas, lambda: torch.zeros(2, 3), STILL)
    assert len(calls) == evaluations(sampler)

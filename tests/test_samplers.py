"""Tests every sampler with every parameterisation on data whose exact denoiser is known: a Gaussian and a mixture.

The network F solves skip x + out F = clean for the exact clean estimate, so scale, skip and output are tested together
with the sampler. Moments must agree within four standard errors.
"""

import math
from types import SimpleNamespace

import pytest
import torch

from stages.diffusion.guidance import guided
from stages.diffusion.process import Ddpm, Edm, Flow
from stages.diffusion.samplers import SAMPLERS, evaluations, temperature_of

COUNT = 5_000
EDM = SimpleNamespace(sigma_min=0.002, sigma_max=80.0, sigma_data=0.7, rho=7.0)
PROCESSES = {
    "edm": Edm(EDM),
    "flow": Flow(SimpleNamespace(times="uniform")),
    **{kind: Ddpm(SimpleNamespace(levels=1000, prediction=kind)) for kind in ("noise", "clean", "velocity")},
}
CHURN, NO_CHURN = (SimpleNamespace(amount=amount, low=0.05, high=50.0, noise=1.0) for amount in (40.0, 0.0))
RUNS = {  # sampler → steps at which its discretisation error is below the statistical error, and its churn
    "ddim": (250, NO_CHURN),
    "ancestral": (500, NO_CHURN),
    "heun": (60, NO_CHURN),
    "heun with churn": (100, CHURN),
    "midpoint": (60, NO_CHURN),
    "dpm-solver": (60, NO_CHURN),
}


def gaussian(mean: float, std: float):
    return lambda x, sigma: (std**2 * x + sigma**2 * mean) / (std**2 + sigma**2)


def mixture(weights, means, std: float):
    """The posterior mean of x₀ given x₀ + σ ε, for x₀ from a mixture of Gaussians with equal standard deviations."""

    def denoise(x, sigma):
        variance = std**2 + sigma**2
        logits = torch.stack([math.log(w) - (x - m) ** 2 / (2 * variance) for w, m in zip(weights, means, strict=True)])
        shares = logits.softmax(0)
        return sum(share * gaussian(m, std)(x, sigma) for share, m in zip(shares, means, strict=True))

    return denoise


def network_of(exact, process):
    """The network F with which the clean estimate of the process is the exact one."""

    def network(scaled, label, condition):
        sigma = (4 * label).exp().reshape(-1, *[1] * (scaled.dim() - 1))
        scale, skip, out = process.coefficients(sigma)
        x = scaled / scale
        return (exact(x, sigma) - skip * x) / out

    return network


def samples(exact, process: str, run: str, weight: float = 1.0, unconditional=None) -> torch.Tensor:
    """(COUNT,) samples of the exact denoisers' networks, float64."""
    steps, churn = RUNS[run]
    steps = 1000 if run.startswith("heun") and process != "edm" else steps  # with fewer, its first step is too large
    kind, stream = PROCESSES[process], torch.Generator().manual_seed(3)
    networks = {True: network_of(exact, kind), False: unconditional and network_of(unconditional, kind)}

    def noise():
        return torch.randn(COUNT, 1, 1, generator=stream, dtype=torch.float64)

    def denoise(x, sigma, with_condition):
        return kind.denoise(networks[with_condition], x, sigma[None], None)

    sigmas = kind.sigmas(steps).double()
    sampler = SAMPLERS[run.partition(" ")[0]]
    return sampler(guided(denoise, weight), sigmas[0] * noise(), sigmas, noise, churn).flatten()


cases = pytest.mark.parametrize(("process", "run"), [(process, run) for process in PROCESSES for run in RUNS])


@cases
def test_samples_have_the_moments_of_a_gaussian(process, run):
    mean, std = 1.5, 0.7
    x = samples(gaussian(mean, std), process, run)
    assert x.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(COUNT))
    assert x.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * COUNT))
    assert ((x - mean) / std).pow(4).mean().item() == pytest.approx(3, abs=4 * math.sqrt(96 / COUNT))


@cases
def test_samples_have_the_weights_and_moments_of_a_mixture(process, run):
    weights, means, std = (0.3, 0.7), (-2.0, 1.0), 0.4
    x = samples(mixture(weights, means, std), process, run)
    error = 4 * math.sqrt(0.3 * 0.7 / COUNT) + 1e-3  # 1e-4 of each part lies on the other side of -0.5
    assert (x < -0.5).double().mean().item() == pytest.approx(0.3, abs=error)
    for part, mean in ((x[x < -0.5], -2.0), (x[x >= -0.5], 1.0)):
        assert part.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(len(part)) + 2e-3)
        assert part.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * len(part)) + 5e-3)


@pytest.mark.parametrize("weight", [0.0, 2.0])
@cases
def test_guidance_shifts_the_mean_of_a_gaussian_by_its_weight_and_keeps_its_variance(process, run, weight):
    """With equal variances, the guided score is that of N(m₀ + w (m₁ - m₀), s²) at every noise level."""
    unconditional, conditional, std = 0.3, 0.8, 0.7
    x = samples(gaussian(conditional, std), process, run, weight, gaussian(unconditional, std))
    expected = unconditional + weight * (conditional - unconditional)
    assert x.mean().item() == pytest.approx(expected, abs=4 * std / math.sqrt(COUNT))
    assert x.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * COUNT))


def test_deterministic_samplers_draw_no_noise():
    sigmas = Edm(EDM).sigmas(5).double()
    for name in ("ddim", "heun", "midpoint", "dpm-solver"):
        SAMPLERS[name](gaussian(0.0, 1.0), sigmas[0] * torch.ones(2, dtype=torch.float64), sigmas, None, NO_CHURN)


def test_churn_adds_noise_of_its_factor_at_the_levels_between_its_bounds_alone():
    """With data that are everything, x is its own clean estimate, so that only the added noise changes it."""
    churn, noise = SimpleNamespace(amount=2.0, low=0.05, high=5.0, noise=1.5), torch.tensor([1.0, -2.0])
    sigmas = Edm(EDM).sigmas(8)
    inside = [sigma for sigma in sigmas.tolist() if 0.05 <= sigma <= 5.0]
    assert 0 < len(inside) < 7
    x = SAMPLERS["heun"](lambda x, sigma: x, torch.zeros(2), sigmas, lambda: noise, churn)
    added = sum(1.5 * sigma * math.sqrt((1 + 2.0 / 8) ** 2 - 1) for sigma in inside)
    torch.testing.assert_close(x, added * noise)


@pytest.mark.parametrize(
    ("name", "steps", "order"), [("ddim", 40, 1), ("heun", 40, 2), ("midpoint", 40, 3), ("dpm-solver", 40, 2)]
)
def test_doubling_the_steps_reduces_the_error_by_the_order_of_the_sampler(name, steps, order):
    """On a trajectory of the probability flow with a known end: a sample one std from the mean stays there.

    The midpoint method is of second order in general; on a Gaussian's path that part of its error cancels.
    """
    kind, std = Edm(SimpleNamespace(sigma_min=0.002, sigma_max=20.0, sigma_data=1.0, rho=7.0)), 1.0
    errors = []
    for count in (steps, 2 * steps):
        sigmas = kind.sigmas(count).double()
        x = (sigmas[:1] ** 2 + std**2).sqrt()
        errors.append(abs(SAMPLERS[name](gaussian(0.0, std), x, sigmas, None, NO_CHURN).item() - std))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("method", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("weight", [None, 0.0, 1.0, 1.5])
def test_evaluations_equals_the_number_of_calls_that_the_sampler_makes(method, steps, weight):
    calls = []

    def denoise(x, sigma, with_condition=True):
        calls.append(sigma)
        return x / 2

    sampler = SimpleNamespace(method=method, steps=steps)
    run = denoise
    if weight is not None:
        sampler.guidance, run = weight, guided(denoise, weight)
    x, sigmas = torch.ones(2, 3), Edm(EDM).sigmas(steps)
    SAMPLERS[method](run, x, sigmas, lambda: torch.zeros(2, 3), NO_CHURN)
    assert len(calls) == evaluations(sampler)


@pytest.mark.parametrize(
    ("method", "churn", "expected"),
    [
        ("ancestral", NO_CHURN, 0.5),
        ("heun", CHURN, 0.5),
        ("heun", NO_CHURN, 1.0),
        ("ddim", CHURN, 1.0),
        ("dpm-solver", CHURN, 1.0),
    ],
)
def test_temperature_scales_the_noise_of_stochastic_samplers_only(method, churn, expected):
    assert temperature_of(SimpleNamespace(method=method, churn=churn, temperature=0.5)) == expected

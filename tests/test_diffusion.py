"""The world model's mathematics on problems with a known answer."""

import math
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from stages.diffusion.guidance import guided
from stages.diffusion.normalizers import Cdf, Gaussian, MinMax
from stages.diffusion.process import Ddpm, Edm, process
from stages.diffusion.samplers import ancestral, ddim
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model.model import WorldModel
from stages.world_model.settings import Diffusion
from stages.world_model.train import train

EDM = SimpleNamespace(sigma_min=0.002, sigma_max=80.0, sigma_data=0.7, rho=7.0, log_mean=-1.2, log_std=1.2)
MEAN, STD = 1.5, 0.7
TASK = Task({"id": "Hopper-v4"}, 1000, 400.0, None)


def ddpm(levels: int, prediction: str = "noise") -> Ddpm:
    return Ddpm(SimpleNamespace(levels=levels, prediction=prediction))


def gaussian(x, sigma):
    """The exact denoiser of data ~ N(MEAN, STD²): the posterior mean of x given x + σ ε."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def test_the_cosine_schedule_is_its_closed_form():
    levels = 40
    table = ddpm(levels).table.double()

    def f(t):
        return math.cos((t / levels + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(levels - 1):  # the last step's β is clipped at 0.999
        alpha_bar = f(t + 1) / f(0)
        assert table[t].item() == pytest.approx(math.sqrt((1 - alpha_bar) / alpha_bar), rel=1e-4)


@pytest.mark.parametrize("levels", [5, 40])
def test_many_small_noisings_are_one_large_one(levels):
    """x_k = √(1 - β) x_{k-1} + √β ε, step by step, has the mean and variance that σ stands for."""
    table = ddpm(levels).table
    x = torch.full((200_000,), 2.0, dtype=torch.float64)
    stream, alpha_bar = torch.Generator().manual_seed(0), 1.0
    for k in range(levels - 1):
        new = 1 / (1 + table[k].double() ** 2).item()
        beta, alpha_bar = 1 - new / alpha_bar, new
        x = math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(x.shape, generator=stream, dtype=torch.float64)
        scale = math.sqrt(alpha_bar)
        assert x.mean().item() == pytest.approx(2 * scale, abs=0.01)
        assert x.var().item() == pytest.approx(scale**2 * table[k].item() ** 2, abs=0.01)


def test_noise_levels_fall_to_zero_at_equal_strides():
    five = ddpm(5)
    assert five.sigmas(3).tolist() == [*five.table[[4, 2, 0]].tolist(), 0.0]
    edm = Edm(EDM).sigmas(6)
    assert edm[0].item() == pytest.approx(80)
    assert edm[-2].item() == pytest.approx(0.002)
    assert (edm.diff() < 0).all()
    with pytest.raises(ValueError, match="6 sampler steps exceed the 5 DDPM levels"):
        five.sigmas(6)


def std_after(sampler, sigmas) -> float:
    """The standard deviation of a Gaussian under the exact denoiser, step by step: each step is linear in x."""
    variance = sigmas[0] ** 2 + STD**2
    for now, after in pairwise(sigmas):
        kept = after / now if sampler is ddim else (after / now) ** 2
        added = 0 if sampler is ddim else after**2 * (1 - kept)
        variance = (kept + (1 - kept) * STD**2 / (STD**2 + now**2)) ** 2 * variance + added
    return variance.sqrt().item()


@pytest.mark.parametrize("sampler", [ddim, ancestral])
def test_first_order_samplers_return_the_gaussian_that_their_linear_steps_make(sampler):
    count = 40_000
    for kind, steps in ((Edm(EDM), 10), (Edm(EDM), 100), (ddpm(400), 10), (ddpm(400), 100)):
        sigmas = kind.sigmas(steps).double()
        stream = torch.Generator().manual_seed(steps)
        noise = partial(torch.randn, count, generator=stream, dtype=torch.float64)
        x = sampler(gaussian, MEAN + torch.sqrt(sigmas[0] ** 2 + STD**2) * noise(), sigmas, noise)
        assert x.mean().item() == pytest.approx(MEAN, abs=4 * STD / math.sqrt(count))
        assert x.std().item() == pytest.approx(std_after(sampler, sigmas), rel=4 / math.sqrt(2 * count))
        errors = [abs(std_after(sampler, kind.sigmas(steps).double()) - STD) for steps in (50, 100, 200, 400)]
        assert errors == sorted(errors, reverse=True)
        assert errors[-1] < 0.02 * STD


def test_ddim_is_ddim_in_its_own_notation():
    sigmas = ddpm(10).sigmas(10).double()
    x = torch.linspace(-3, 3, 7, dtype=torch.float64) * sigmas[0]
    alpha_bar = 1 / (1 + sigmas**2)
    z = x * alpha_bar[0].sqrt()
    for k in range(10):  # Song et al. 2021, eq. 12
        clean = gaussian(z / alpha_bar[k].sqrt(), sigmas[k])
        noise = (z - alpha_bar[k].sqrt() * clean) / (1 - alpha_bar[k]).sqrt()
        z = alpha_bar[k + 1].sqrt() * clean + (1 - alpha_bar[k + 1]).sqrt() * noise
    torch.testing.assert_close(ddim(gaussian, x, sigmas), z, rtol=1e-10, atol=1e-10)


def test_the_ancestral_step_is_ddpm_s_posterior_in_its_own_notation():
    now, after, x, clean, noise = (torch.tensor(value, dtype=torch.float64) for value in (3.0, 1.2, 2.5, 0.4, -0.7))
    a, b = 1 / (1 + now**2), 1 / (1 + after**2)  # ᾱ_t, ᾱ_{t-1}
    beta = 1 - a / b
    mean = b.sqrt() * beta / (1 - a) * clean + (a / b).sqrt() * (1 - b) / (1 - a) * (
        x * a.sqrt()
    )  # Ho et al. 2020, eq. 7
    expected = (mean + (beta * (1 - b) / (1 - a)).sqrt() * noise) / b.sqrt()
    found = ancestral(lambda x, sigma: clean, x, torch.stack([now, after]), lambda: noise)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_guidance_moves_along_the_line_from_unconditional_to_conditional():
    def denoise(x, sigma, with_condition):
        return x + (2.0 if with_condition else 0.5)

    x = torch.zeros(3)
    for weight, expected in [(0, 0.5), (1, 2.0), (1.2, 2.3), (3, 5.0)]:
        torch.testing.assert_close(guided(denoise, weight)(x, 1.0), torch.full((3,), expected))


@pytest.mark.parametrize("prediction", ["noise", "clean", "velocity"])
def test_a_ddpm_s_loss_is_the_squared_error_of_what_its_network_tells(prediction):
    kind = ddpm(5, prediction)
    sigma, noise, guess, clean = torch.tensor([1.7]), *torch.randn(3, 1, 4, 3)
    signal, share = 1 / math.sqrt(1 + 1.7**2), 1.7 / math.sqrt(1 + 1.7**2)  # √ᾱ and √(1 - ᾱ)
    truth = {"noise": noise, "clean": clean, "velocity": signal * noise - share * clean}[prediction]
    estimate = kind.denoise(lambda x, level, condition: guess, clean + sigma * noise, sigma, None)
    torch.testing.assert_close(kind.weight(sigma) * (estimate - clean) ** 2, (guess - truth) ** 2, rtol=1e-4, atol=1e-5)
    exact = kind.denoise(lambda x, level, condition: truth, clean + sigma * noise, sigma, None)
    torch.testing.assert_close(exact, clean, rtol=1e-5, atol=1e-5)


def test_normalizers_invert_and_flatten():
    x = torch.cat([torch.randn(5000, 1).exp(), torch.randint(0, 2, (5000, 1)).float()], dim=1)
    for normalizer in (Gaussian(2), MinMax(2), Cdf(2)):
        normalizer.fit(x)
        z = normalizer(x.view(50, 100, 2))
        assert z.shape == (50, 100, 2)
        torch.testing.assert_close(normalizer.inverse(z), x.view(50, 100, 2), rtol=1e-3, atol=1e-3)
    flat = normalizer(x)[:, 0].sort().values  # through its own distribution function a log-normal becomes uniform
    torch.testing.assert_close(flat, torch.linspace(-1, 1, 5000), rtol=0, atol=0.005)
    outside = torch.tensor([[100.0, 0.0]])
    torch.testing.assert_close(normalizer.inverse(normalizer(outside)), outside, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [Gaussian, MinMax, Cdf])
@pytest.mark.parametrize("value", [0.0, 0.3, -7.1])
def test_a_dimension_that_never_changes_always_comes_back_as_it_was(kind, value):
    """A goal, or a sparse reward that nobody reached; whatever is imagined there, it stays inside the data's bounds."""
    normalizer = kind(2)
    normalizer.fit(torch.stack([torch.randn(1000), torch.full((1000,), value)], dim=1))
    assert (normalizer.inverse(torch.randn(500, 2))[:, 1] == value).all()
    assert normalizer(torch.tensor([[0.0, value]])).isfinite().all()


def test_values_that_many_rows_share_have_a_place_in_the_distribution():
    """As MuJoCo's velocities do, which are cut at ±10; and a dimension that never changes."""
    x = torch.stack([15 * torch.randn(4000).clamp(-0.667, 0.667), torch.full((4000,), 0.3)], dim=1)
    cdf = Cdf(2)
    cdf.fit(x)
    z = cdf(x)
    assert z.isfinite().all()
    assert z.abs().max() <= 1
    torch.testing.assert_close(cdf.inverse(z), x, rtol=1e-3, atol=1e-3)


def config(params, **changes) -> Diffusion:
    return params.diffusion.model_copy(update=changes)


@pytest.mark.parametrize("network", ["mlp", "unet"])
@pytest.mark.parametrize("horizon", [1, 2, 5, 7, 8, 32])
def test_any_horizon_fits_and_each_condition_matters(params, network, horizon):
    small = params.diffusion.unet.model_copy(update={"width": 16, "multipliers": [1, 2, 2], "embedding": 8})
    torch.manual_seed(0)
    model = WorldModel(4, 2, horizon, False, config(params, network=network, unet=small))
    x, level = torch.randn(3, horizon, 5), torch.zeros(3)
    given = {"states": torch.randn(3, 4), "actions": torch.randn(3, 2), "returns": torch.randn(3)}
    out = model.network(x, level, model.condition(**given))
    assert out.shape == x.shape
    for name, value in given.items():
        assert not torch.allclose(out, model.network(x, level, model.condition(**{**given, name: value + 1})))
    assert not torch.allclose(out, model.network(x, level + 1, model.condition(**given)))

    hidden = [
        model.condition(**{**given, "returns": returns}, returns_known=torch.zeros(3)) for returns in torch.randn(2, 3)
    ]
    torch.testing.assert_close(*(model.network(x, level, condition) for condition in hidden))


def test_steps_that_do_not_exist_are_not_in_the_loss(params):
    torch.manual_seed(0)
    model = WorldModel(3, 2, 4, False, config(params))
    condition = model.condition(torch.randn(2, 3), torch.randn(2, 2), torch.randn(2))
    steps, noise = torch.randn(2, 4, 4), torch.randn(2, 4, 4)
    exists = torch.tensor([[True, True, False, False], [True] * 4])
    draws = torch.zeros(2), torch.zeros(2)
    sigma = model.process.draw(*draws)
    clean = model.process.denoise(model.network, steps + sigma[0] * noise, sigma, condition)
    errors = [((clean[b, h] - steps[b, h]) ** 2).mean() for b in range(2) for h in range(4) if exists[b, h]]
    expected = model.process.weight(sigma)[0] * sum(errors) / 6
    torch.testing.assert_close(model.loss(steps, exists, condition, *draws, noise), expected)


@pytest.mark.parametrize("kind", ["edm", "ddpm"])
def test_a_trained_model_knows_a_linear_system(params, episodes, device, kind):
    """s' = s + 0.1 B a and r = s₀ exactly: the first imagined step must find both, from state and action alone."""
    settings = {
        "steps": 1500,
        "batch": 256,
        "learning_rate": 3e-3,
        "mlp": params.diffusion.mlp.model_copy(update={"width": 96}),
    }
    levels = params.diffusion.ddpm.model_copy(update={"levels": 20})
    diffusion = config(params, process=kind, ddpm=levels, **settings)
    model, losses = train(
        episodes, "hopper-medium", TASK, 0, params.model_copy(update={"horizon": 2, "diffusion": diffusion}), device
    )
    assert losses["training_loss"] > 0
    states, actions = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.actions)
    sampler = params.sampler.model_copy(update={"steps": 16, "guidance": 1.0})
    made = model.sample(states, actions, torch.zeros(len(states)), sampler, torch.Generator().manual_seed(0))
    real = torch.from_numpy(episodes.next_observations)
    assert (made.states[:, 0] - real).abs().median() < 0.1 * real.std()
    assert (made.rewards[:, 0] - torch.from_numpy(episodes.rewards)).abs().median() < 0.1 * real.std()


def test_saved_models_imagine_the_same(params, tmp_path, device):
    torch.manual_seed(1)
    models = [WorldModel(3, 2, 4, False, config(params)) for _ in range(2)]
    world_model.save(models, tmp_path / "m.safetensors")
    given = torch.randn(5, 3), torch.randn(5, 2), torch.randn(5)
    for before, after in zip(models, world_model.load(tmp_path / "m.safetensors", device), strict=True):
        a, b = (m.eval().sample(*given, params.sampler, torch.Generator().manual_seed(3)) for m in (before, after))
        assert torch.equal(a.states, b.states)
        assert torch.equal(a.rewards, b.rewards)


def test_process_follows_the_parameters(params):
    """Levels and coefficients of each setting, worked out here from the papers' formulas."""
    sigma = torch.tensor([0.3, 2.0])
    for data in (0.5, 1.0):
        edm = params.diffusion.edm.model_copy(update={"sigma_data": data, "sigma_max": 7.0, "log_mean": -2.0})
        chosen = process(config(params, process="edm", edm=edm))
        total = sigma**2 + data**2
        expected = 1 / total.sqrt(), data**2 / total, sigma * data / total.sqrt()  # Karras et al. 2022, table 1
        torch.testing.assert_close(chosen.coefficients(sigma), expected)
        assert chosen.sigmas(3)[0].item() == pytest.approx(7.0)
        normal = torch.tensor([0.0, 1.0])
        torch.testing.assert_close(chosen.draw(normal, normal), torch.exp(-2.0 + edm.log_std * normal))
        assert not chosen.clips
    noisy = 1 / (1 + sigma**2).sqrt()  # the scale of the data in a variance-preserving process
    expected = {
        "noise": (torch.ones(2), -sigma),
        "clean": (torch.zeros(2), torch.ones(2)),
        "velocity": (noisy**2, -sigma * noisy),
    }
    for levels in (5, 12):
        for prediction, (skip, out) in expected.items():
            settings = params.diffusion.ddpm.model_copy(update={"levels": levels, "prediction": prediction})
            chosen = process(config(params, process="ddpm", ddpm=settings))
            torch.testing.assert_close(chosen.coefficients(sigma), (noisy, skip, out))
            assert len(chosen.sigmas(levels)) == levels + 1
            assert chosen.clips

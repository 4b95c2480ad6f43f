"""Tests noise processes, samplers, normalisers and the world model on problems with a known answer."""

import math
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from stages.diffusion.guidance import guided
from stages.diffusion.normalizers import Cdf, Gaussian, MinMax
from stages.diffusion.process import Ddpm, Edm, Flow, process
from stages.diffusion.samplers import ancestral, ddim, midpoint
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model.model import WorldModel
from stages.world_model.settings import Diffusion
from stages.world_model.train import train
from stages.world_model.windows import Windows

EDM = SimpleNamespace(sigma_min=0.002, sigma_max=80.0, sigma_data=0.7, rho=7.0, log_mean=-1.2, log_std=1.2)
MEAN, STD = 1.5, 0.7
TASK = Task({"id": "Hopper-v4"}, 1000, 400.0, None)


def ddpm(levels: int, prediction: str = "noise") -> Ddpm:
    return Ddpm(SimpleNamespace(levels=levels, prediction=prediction))


def gaussian(x, sigma):
    """The exact denoiser of data ~ N(MEAN, STD²): the posterior mean of x given x + σ ε."""
    return (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)


def test_the_cosine_schedule_equals_its_closed_form():
    levels = 40
    table = ddpm(levels).table.double()

    def f(t):
        return math.cos((t / levels + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in range(levels - 1):  # the last step's β is clipped at 0.999
        alpha_bar = f(t + 1) / f(0)
        assert table[t].item() == pytest.approx(math.sqrt((1 - alpha_bar) / alpha_bar), rel=1e-4)


@pytest.mark.parametrize("levels", [5, 40])
def test_the_step_by_step_forward_process_has_the_marginals_of_sigma(levels):
    """x_k = √(1 - β) x_{k-1} + √β ε, applied repeatedly, has the mean and variance that σ_k prescribes."""
    table = ddpm(levels).table
    x = torch.full((200_000,), 2.0, dtype=torch.float64)
    stream, alpha_bar = torch.Generator().manual_seed(0), 1.0
    for k in range(levels - 1):
        next_alpha_bar = 1 / (1 + table[k].double() ** 2).item()
        beta, alpha_bar = 1 - next_alpha_bar / alpha_bar, next_alpha_bar
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
    """The standard deviation of sampled Gaussian data, step by step: with the exact denoiser each step is linear."""
    variance = sigmas[0] ** 2 + STD**2
    for sigma, next_sigma in pairwise(sigmas):
        kept = next_sigma / sigma if sampler is ddim else (next_sigma / sigma) ** 2
        added = 0 if sampler is ddim else next_sigma**2 * (1 - kept)
        variance = (kept + (1 - kept) * STD**2 / (STD**2 + sigma**2)) ** 2 * variance + added
    return variance.sqrt().item()


@pytest.mark.parametrize("sampler", [ddim, ancestral])
def test_first_order_samplers_return_the_gaussian_that_their_linear_steps_predict(sampler):
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


def test_ddim_equals_the_update_in_the_paper_s_notation():
    sigmas = ddpm(10).sigmas(10).double()
    x = torch.linspace(-3, 3, 7, dtype=torch.float64) * sigmas[0]
    alpha_bar = 1 / (1 + sigmas**2)
    z = x * alpha_bar[0].sqrt()
    for k in range(10):  # Song et al. 2021, eq. 12
        clean = gaussian(z / alpha_bar[k].sqrt(), sigmas[k])
        noise = (z - alpha_bar[k].sqrt() * clean) / (1 - alpha_bar[k]).sqrt()
        z = alpha_bar[k + 1].sqrt() * clean + (1 - alpha_bar[k + 1]).sqrt() * noise
    torch.testing.assert_close(ddim(gaussian, x, sigmas), z, rtol=1e-10, atol=1e-10)


def test_the_ancestral_step_equals_ddpm_s_posterior_in_the_paper_s_notation():
    sigma, next_sigma, x, clean, noise = (
        torch.tensor(value, dtype=torch.float64) for value in (3.0, 1.2, 2.5, 0.4, -0.7)
    )
    a, b = 1 / (1 + sigma**2), 1 / (1 + next_sigma**2)  # ᾱ_t, ᾱ_{t-1}
    beta = 1 - a / b
    # Ho et al. 2020, eq. 7
    mean = b.sqrt() * beta / (1 - a) * clean + (a / b).sqrt() * (1 - b) / (1 - a) * (x * a.sqrt())
    expected = (mean + (beta * (1 - b) / (1 - a)).sqrt() * noise) / b.sqrt()
    sampled = ancestral(lambda x, sigma: clean, x, torch.stack([sigma, next_sigma]), lambda: noise)
    torch.testing.assert_close(sampled, expected, rtol=1e-12, atol=0)


def test_guidance_extrapolates_linearly_from_unconditional_to_conditional():
    def denoise(x, sigma, with_condition):
        return x + (2.0 if with_condition else 0.5)

    x = torch.zeros(3)
    for weight, expected in [(0, 0.5), (1, 2.0), (1.2, 2.3), (3, 5.0)]:
        torch.testing.assert_close(guided(denoise, weight)(x, 1.0), torch.full((3,), expected))


@pytest.mark.parametrize("prediction", ["noise", "clean", "velocity"])
def test_a_ddpm_s_loss_is_the_squared_error_of_its_network_s_output(prediction):
    chosen = ddpm(5, prediction)
    sigma, noise, output, clean = torch.tensor([1.7]), *torch.randn(3, 1, 4, 3)
    signal, share = 1 / math.sqrt(1 + 1.7**2), 1.7 / math.sqrt(1 + 1.7**2)  # √ᾱ and √(1 - ᾱ)
    target = {"noise": noise, "clean": clean, "velocity": signal * noise - share * clean}[prediction]
    estimate = chosen.denoise(lambda x, level, condition: output, clean + sigma * noise, sigma, None)
    weighted = chosen.weight(sigma) * (estimate - clean) ** 2
    torch.testing.assert_close(weighted, (output - target) ** 2, rtol=1e-4, atol=1e-5)
    exact = chosen.denoise(lambda x, level, condition: target, clean + sigma * noise, sigma, None)
    torch.testing.assert_close(exact, clean, rtol=1e-5, atol=1e-5)


def test_normalizers_are_invertible_and_cdf_makes_the_data_uniform():
    x = torch.cat([torch.randn(5000, 1).exp(), torch.randint(0, 2, (5000, 1)).float()], dim=1)
    for normalizer in (Gaussian(2), MinMax(2), Cdf(2)):
        normalizer.fit(x)
        z = normalizer(x.view(50, 100, 2))
        assert z.shape == (50, 100, 2)
        torch.testing.assert_close(normalizer.inverse(z), x.view(50, 100, 2), rtol=1e-3, atol=1e-3)
    uniform = normalizer(x)[:, 0].sort().values  # a log-normal through its distribution function
    torch.testing.assert_close(uniform, torch.linspace(-1, 1, 5000), rtol=0, atol=0.005)
    outside = torch.tensor([[100.0, 0.0]])
    torch.testing.assert_close(normalizer.inverse(normalizer(outside)), outside, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("normalizer_class", [Gaussian, MinMax, Cdf])
@pytest.mark.parametrize("value", [0.0, 0.3, -7.1])
def test_the_inverse_of_a_constant_dimension_is_its_constant(normalizer_class, value):
    """Such as a goal, or a sparse reward that was never reached: synthetic values stay within the data's bounds."""
    normalizer = normalizer_class(2)
    normalizer.fit(torch.stack([torch.randn(1000), torch.full((1000,), value)], dim=1))
    assert (normalizer.inverse(torch.randn(500, 2))[:, 1] == value).all()
    assert normalizer(torch.tensor([[0.0, value]])).isfinite().all()


def test_the_cdf_handles_values_that_many_rows_share():
    """Such as MuJoCo's velocities, which are clipped at ±10, and a constant dimension."""
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
def test_every_horizon_works_and_the_output_depends_on_each_condition(params, network, horizon):
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


def test_steps_that_do_not_exist_do_not_contribute_to_the_loss(params):
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["edm", "ddpm", "flow"])
def test_a_trained_model_predicts_a_linear_system(params, episodes, device, name):
    """The system is s' = s + 0.1 B a with reward s₀; the first sampled step must agree for every state and action."""
    settings = {
        "steps": 1500,
        "batch": 256,
        "learning_rate": 3e-3,
        "mlp": params.diffusion.mlp.model_copy(update={"width": 96}),
    }
    levels = params.diffusion.ddpm.model_copy(update={"levels": 20})
    diffusion = config(params, process=name, ddpm=levels, **settings)
    model, losses = train(
        episodes, "hopper-medium", TASK, 0, params.model_copy(update={"horizon": 2, "diffusion": diffusion}), device
    )
    assert losses["training_loss"] > 0
    states, actions = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.actions)
    sampler = params.sampler.model_copy(update={"steps": 16, "guidance": 1.0})
    windows = model.sample(states, actions, torch.zeros(len(states)), sampler, torch.Generator().manual_seed(0))
    next_states = torch.from_numpy(episodes.next_observations)
    assert (windows.states[:, 0] - next_states).abs().median() < 0.1 * next_states.std()
    assert (windows.rewards[:, 0] - torch.from_numpy(episodes.rewards)).abs().median() < 0.1 * next_states.std()


def test_sampling_from_given_windows_adds_noise_of_the_level_asked_for(params, episodes, device):
    """Of almost none, the windows come back; the levels above it are left out."""
    data = torch.from_numpy(episodes.observations), torch.from_numpy(episodes.actions)
    windows = Windows(episodes, 4, 0.99, 1.0, False, device)
    torch.manual_seed(0)
    model = WorldModel(3, 2, 4, False, config(params)).eval()
    model.fit(windows.states, windows.steps)
    starts, seen = torch.arange(20), []
    steps, _ = windows(starts)
    denoise = model.process.denoise

    def recorded(network, x, sigma, condition):
        seen.append((sigma[0].item(), x))
        return denoise(network, x, sigma, condition)

    model.process.denoise = recorded
    sampler = params.sampler.model_copy(update={"method": "ddim", "steps": 8, "guidance": 1.0})
    levels = model.process.sigmas(8).tolist()
    for sigma in (0.02, 2.4):
        seen.clear()
        stream = torch.Generator().manual_seed(0)
        given = (part[starts] for part in (*data, windows.returns))
        sampled = model.sample(*given, sampler, stream, (steps, sigma))
        expected = [sigma, *(level for level in levels if 0 < level < sigma)]
        assert [level for level, _ in seen] == pytest.approx(expected)
        error = seen[0][1] - model.normalizer(model.relative(steps, data[0][starts]))
        assert error.std().item() == pytest.approx(sigma, rel=0.2)
        if sigma == 0.02:
            torch.testing.assert_close(sampled.states, steps[..., 1:], atol=0.5, rtol=0)


def test_saved_models_sample_the_same_windows(params, tmp_path, device):
    torch.manual_seed(1)
    models = [WorldModel(3, 2, 4, False, config(params)) for _ in range(2)]
    world_model.save(models, tmp_path / "m.safetensors")
    given = torch.randn(5, 3), torch.randn(5, 2), torch.randn(5)
    for before, after in zip(models, world_model.load(tmp_path / "m.safetensors", device), strict=True):
        a, b = (m.eval().sample(*given, params.sampler, torch.Generator().manual_seed(3)) for m in (before, after))
        assert torch.equal(a.states, b.states)
        assert torch.equal(a.rewards, b.rewards)


@pytest.mark.parametrize(
    "changes",
    [{"sigma_min": 0.05}, {"sigma_max": 7.0}, {"rho": 3.0}, {"sigma_data": 0.5}, {"log_mean": -2.0}, {"log_std": 0.3}],
    ids=str,
)
def test_edm_s_noise_levels_and_coefficients_follow_its_parameters(params, changes):
    """Computed here from Karras et al. 2022, table 1 and eq. 5."""
    settings = params.diffusion.edm.model_copy(update=changes)
    chosen = process(config(params, process="edm", edm=settings))
    sigma, data = torch.tensor([0.3, 2.0]), settings.sigma_data
    total = sigma**2 + data**2
    torch.testing.assert_close(
        chosen.coefficients(sigma), (1 / total.sqrt(), data**2 / total, sigma * data / total.sqrt())
    )
    torch.testing.assert_close(chosen.weight(sigma), total / (sigma * data) ** 2)
    high, low = settings.sigma_max ** (1 / settings.rho), settings.sigma_min ** (1 / settings.rho)
    levels = [(high + i / 4 * (low - high)) ** settings.rho for i in range(5)]
    assert chosen.sigmas(5).tolist() == pytest.approx([*levels, 0.0])
    normal, uniform = torch.tensor([-0.5, 1.0]), torch.tensor([0.1, 0.9])
    expected = [math.exp(settings.log_mean + settings.log_std * value) for value in (-0.5, 1.0)]
    assert chosen.draw(normal, uniform).tolist() == pytest.approx(expected)
    assert not chosen.clips


def test_flow_matching_s_coefficients_follow_its_straight_paths(params):
    """Computed here from xₜ = (1 - t) ε + t x and the velocity x - ε."""
    stream = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(5, 3, generator=stream) for _ in range(2))
    t = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    flow, path = Flow(SimpleNamespace(times="uniform")), (1 - t)[:, None] * noise + t[:, None] * x

    def network(points, label, condition):
        torch.testing.assert_close(points, path)
        torch.testing.assert_close(label, ((1 - t) / t).log() / 4)
        return x - noise

    sigma = (1 - t) / t
    torch.testing.assert_close(flow.denoise(network, x + sigma[:, None] * noise, sigma, None), x)
    wrong = flow.denoise(lambda *_: x - noise + 2.0, x + sigma[:, None] * noise, sigma, None)
    torch.testing.assert_close(flow.weight(sigma)[:, None] * (wrong - x).square(), torch.full_like(x, 4.0))


def test_flow_matching_s_times_are_uniform_or_logit_normal(params):
    normal, uniform = torch.tensor([-0.5, 1.0]), torch.tensor([0.25, 0.9])
    settings = params.diffusion.flow.model_copy(update={"times": "logit-normal", "mean": 0.4, "std": 1.4})
    edm = params.diffusion.edm.model_copy(update={"log_mean": -0.4, "log_std": 1.4})
    flow = process(config(params, process="flow", flow=settings))
    torch.testing.assert_close(flow.draw(-normal, uniform), Edm(edm).draw(normal, uniform))
    t = 1 / (1 + Flow(SimpleNamespace(times="uniform")).draw(normal, uniform))
    assert t.tolist() == pytest.approx([0.001 + 0.998 * 0.25, 0.001 + 0.998 * 0.9])
    assert (1 / (1 + flow.sigmas(4))).tolist() == pytest.approx([0.001, 0.25075, 0.5005, 0.75025, 1.0])


def test_ddim_is_euler_s_method_and_midpoint_the_midpoint_method_along_the_paths():
    flow = Flow(SimpleNamespace(times="uniform"))
    sigmas = flow.sigmas(4).double()
    x = torch.linspace(-2, 2, 7, dtype=torch.float64)

    def velocity(z, t):  # z = t (x + σ ε)
        clean = gaussian(z / t, (1 - t) / t)
        return (clean - z) / (1 - t)

    start = 1 / (1 + sigmas[0])
    for sampler in (ddim, midpoint):
        z = x * start
        for sigma, following in pairwise(sigmas):
            t, end = 1 / (1 + sigma), 1 / (1 + following)
            middle = (t + end) / 2
            slope = velocity(z, t)
            slope = slope if sampler is ddim else velocity(z + (middle - t) * slope, middle)
            z = z + (end - t) * slope
        torch.testing.assert_close(sampler(gaussian, x, sigmas), z, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("levels", [5, 12])
@pytest.mark.parametrize("prediction", ["noise", "clean", "velocity"])
def test_ddpm_s_noise_levels_and_coefficients_follow_its_parameters(params, levels, prediction):
    """Computed here from Nichol and Dhariwal 2021, eq. 17, and from what each prediction means."""
    settings = params.diffusion.ddpm.model_copy(update={"levels": levels, "prediction": prediction})
    chosen = process(config(params, process="ddpm", ddpm=settings))

    squared_cosines = [math.cos((t / levels + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(levels)]
    alpha_bars = [value / squared_cosines[0] for value in squared_cosines[1:]]
    alpha_bars.append(alpha_bars[-1] * 0.001)  # the last β is clipped to 0.999
    sigmas = [math.sqrt((1 - alpha_bar) / alpha_bar) for alpha_bar in alpha_bars]
    assert chosen.sigmas(levels).tolist() == pytest.approx([*reversed(sigmas), 0.0], rel=1e-5)
    uniform = (torch.arange(levels) + 0.5) / levels  # the middle of each level's share of [0, 1]
    assert chosen.draw(torch.zeros(levels), uniform).tolist() == pytest.approx(sigmas, rel=1e-5)

    # In variance-preserving coordinates z = √ᾱ x, with signal √ᾱ and noise √(1 - ᾱ), the clean estimate is
    # (z - √(1 - ᾱ) F) / √ᾱ for predicted noise, F for predicted data and √ᾱ z - √(1 - ᾱ) F for predicted velocity.
    sigma = torch.tensor([0.3, 2.0])
    signal, noise = 1 / (1 + sigma**2).sqrt(), sigma / (1 + sigma**2).sqrt()
    skip, out = {
        "noise": (torch.ones(2), -noise / signal),
        "clean": (torch.zeros(2), torch.ones(2)),
        "velocity": (signal**2, -noise),
    }[prediction]
    torch.testing.assert_close(chosen.coefficients(sigma), (signal, skip, out))
    torch.testing.assert_close(chosen.weight(sigma), 1 / out**2)
    assert chosen.clips

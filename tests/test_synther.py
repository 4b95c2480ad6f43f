"""SynthER on a linear system whose moments are known in closed form; its loss, its filter and its reproducibility."""

import json
import sys

import numpy as np
import pytest
import torch
import yaml

from stages.baselines.synther import sample as sample_module
from stages.baselines.synther import train as train_module
from stages.baselines.synther.model import SynthEr, vectors
from stages.baselines.synther.sample import sample
from stages.baselines.synther.train import train
from stages.common.settings import shared
from stages.common.timing import digest
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import UpdateNoise
from stages.synthetic_data.cost import cost_record
from stages.synthetic_data.join import joined
from stages.tasks.tasks import gym_mujoco

A, B = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([[0.5], [0.3]])
MEAN, SPREAD = np.array([0.5, -0.3]), np.array([[1.0, 0.3], [0.3, 0.5]])  # of the states
NOISE = np.array([[0.04, 0.02], [0.02, 0.09]])
REWARD = np.array([1.0, 0.0, -2.0])  # of state and action
COUNT = 20_000


@pytest.fixture(scope="module")
def system() -> Transitions:
    """s' = A s + B a + noise, a uniform in [-1, 1], r = s₀ - 2 a; the task ends if s'₀ > 1, about every fourth time."""
    rng = np.random.default_rng(0)
    states, actions = rng.multivariate_normal(MEAN, SPREAD, COUNT), rng.uniform(-1, 1, (COUNT, 1))
    next_states = states @ A.T + actions @ B.T + rng.multivariate_normal([0, 0], NOISE, COUNT)
    ended = next_states[:, 0] > 1
    arrays = states, actions, np.c_[states, actions] @ REWARD, next_states, np.where(ended, 0, 0.99)
    return Transitions(*(array.astype(np.float32) for array in arrays), np.arange(COUNT, dtype=np.int32), ~ended)


def small(params, **changes):
    """Settings of a small denoiser that learns the linear system."""
    changes = {"width": 64, "blocks": 2, "embedding": 64, "batch": 256, "learning_rate": 5e-3, "ema": 0.99, **changes}
    return shared(params.synther, params.budget).denoiser.model_copy(update={"steps": 1500, **changes})


def bounded(params, **augment):
    """Parameters for 500 transitions, sampled 200 at a time, with these changes of `augment`."""
    synther = params.synther.model_copy(update={"transitions": 500, "sample_batch": 200})
    return params.model_copy(update={"synther": synther, "augment": params.augment.model_copy(update=augment)})


@pytest.fixture(scope="module")
def trained(params, system) -> SynthEr:
    return train(system, "linear", 0, small(params), torch.device("cpu"))


@pytest.fixture(scope="module")
def samples(params, trained):
    """As many samples as real rows, with 48 steps because few steps widen the sampled distribution."""
    return trained.sample(COUNT, params.synther.sampler.model_copy(update={"steps": 48}), torch_stream("samples"))


def test_samples_have_the_mean_and_covariance_of_the_system(samples):
    """(s, a, r, s') is a linear map of the independent s, a and noise, which gives its moments."""
    states, actions, rewards, next_states, _ = samples
    base = np.zeros((5, 5))  # of s, a and the noise
    base[:2, :2], base[2, 2], base[3:, 3:] = SPREAD, 1 / 3, NOISE
    linear_map = np.block([[np.eye(3), np.zeros((3, 2))], [REWARD, np.zeros(2)], [A, B, np.eye(2)]])
    mean, covariance = linear_map @ np.r_[MEAN, np.zeros(3)], linear_map @ base @ linear_map.T
    std = np.sqrt(np.diag(covariance))
    rows = np.c_[states, actions, rewards, next_states]
    np.testing.assert_allclose((rows.mean(0) - mean) / std, 0, atol=0.06)
    np.testing.assert_allclose((np.cov(rows.T) - covariance) / np.outer(std, std), 0, atol=0.1)


def test_sampled_next_states_and_rewards_follow_the_system(samples):
    states, actions, rewards, next_states, _ = samples
    inputs = np.c_[states, actions, np.ones(COUNT)]
    coefficients = np.linalg.lstsq(inputs, next_states, rcond=None)[0]
    np.testing.assert_allclose(coefficients, np.c_[A, B, [0, 0]].T, atol=0.05)
    np.testing.assert_allclose(np.cov((next_states - inputs @ coefficients).T), NOISE, rtol=0.15)
    np.testing.assert_allclose(np.linalg.lstsq(inputs, rewards, rcond=None)[0], [*REWARD, 0], atol=0.05)
    assert (rewards - inputs @ [*REWARD, 0]).std() < 0.15  # a tenth of the rewards' own


def test_sampled_terminals_have_the_frequency_of_the_data_and_follow_its_rule(system, samples):
    next_states, ended = samples[3:]
    assert ended.dtype == bool
    assert ended.mean() == pytest.approx((system.discounts == 0).mean(), abs=0.03)
    assert (ended == (next_states[:, 0] > 1)).mean() > 0.95


def test_sampled_actions_are_uniform_within_their_bounds(samples):
    actions = samples[1][:, 0]
    assert np.abs(actions).max() <= 1
    np.testing.assert_allclose(np.quantile(actions, [0.1, 0.25, 0.5, 0.75, 0.9]), [-0.8, -0.5, 0, 0.5, 0.8], atol=0.08)


def test_a_vector_holds_all_parts_of_a_transition(system):
    rows = vectors(system)
    np.testing.assert_array_equal(rows[:, :2], system.observations)
    np.testing.assert_array_equal(rows[:, 2], system.actions[:, 0])
    np.testing.assert_array_equal(rows[:, 3], system.rewards)
    np.testing.assert_array_equal(rows[:, 4:6], system.next_observations)
    np.testing.assert_array_equal(rows[:, 6], system.discounts == 0)


def test_all_components_except_the_terminal_flag_are_standardised(trained, system):
    rows = trained.normalized(torch.from_numpy(vectors(system))).numpy()
    np.testing.assert_allclose(rows[:, :6].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(rows[:, :6].std(0), 1, atol=1e-3)
    assert set(np.unique(rows[:, 6])) == {0, 1}


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_the_loss_is_the_weighted_error_of_the_clean_estimate(params, system, error, monkeypatch):
    """A perfect estimate has no loss; an estimate that is off by `error` has the loss of eq. 8."""
    config = small(params)
    model, rows = SynthEr(2, 1, config), torch.from_numpy(vectors(system))[:500]
    draws = UpdateNoise(torch.arange(100, 500), 64, rows.shape[1:])
    draws(torch_stream("draws"))
    clean = rows[100:][draws.starts]
    inputs = []

    def denoise(network, noisy, sigma, condition):
        inputs.append((noisy, sigma))
        return clean + error

    monkeypatch.setattr(model.process, "denoise", denoise)
    loss = model.loss(rows, draws)
    [(noisy, sigma)] = inputs
    torch.testing.assert_close(sigma, torch.exp(config.edm.log_mean + config.edm.log_std * draws.normal))
    torch.testing.assert_close(noisy, clean + sigma[:, None] * draws.noise)
    expected = (error**2 * (sigma**2 + 1) / sigma**2).mean()  # the weight of eq. 8 for data of standard deviation 1
    torch.testing.assert_close(loss, expected)


def test_generation_returns_the_requested_number_with_discounts_0_or_gamma(params, trained, system):
    sizes = bounded(params, margin=10.0, max_drop=0.0)
    columns, counts = sample(system, None, trained, sizes, "synther", torch_stream("a"))
    assert {len(column) for column in columns.values()} == {500}
    assert counts == {"made": 600, "kept": 600, "dropped": 0}
    assert set(np.unique(columns["discounts"])) == {0, np.float32(params.discount)}
    again, _ = sample(system, None, trained, sizes, "synther", torch_stream("a"))
    other, _ = sample(system, None, trained, sizes, "synther", torch_stream("b"))
    assert all(again[name].tobytes() == column.tobytes() for name, column in columns.items())
    assert not np.array_equal(columns["rewards"], other["rewards"])


class Faulty:
    """A model that samples an implausible value in one column of every `every`th row, and NaN in the row after it if
    `nan`. The rows are numbered by their rewards.
    """

    def __init__(self, column: str, every: int = 10, nan: bool = False):
        self.column, self.every, self.nan, self.made = column, every, nan, 0

    def sample(self, count, sampler, stream):
        columns = {
            "states": np.zeros((count, 2), np.float32),
            "actions": np.zeros((count, 1), np.float32),
            "rewards": np.arange(self.made, self.made + count, dtype=np.float32) / 1e4,
            "next_states": np.zeros((count, 2), np.float32),
        }
        columns[self.column][:: self.every] = 1e3
        if self.nan:
            columns[self.column][1 :: self.every] = np.nan
        self.made += count
        return *columns.values(), np.arange(count) % 2 == 0


@pytest.mark.parametrize(("method", "factor"), [("ancestral", 0.25), ("ddim", 1.0)])
def test_the_temperature_scales_what_a_stochastic_sampler_begins_with(params, method, factor):
    model, seen = SynthEr(2, 1, small(params)), []
    model.process.denoise = lambda network, x, sigma, condition: seen.append((x, sigma[0])) or 0 * x
    sampler = params.synther.sampler.model_copy(update={"method": method, "temperature": 0.25})
    model.sample(4000, sampler, torch_stream("a"))
    x, sigma = seen[0]
    assert x.std().item() == pytest.approx(factor * sigma.item(), rel=0.02)


@pytest.mark.parametrize("column", ["states", "rewards", "next_states"])
def test_rows_outside_the_range_of_the_data_are_dropped_and_counted(params, system, column):
    sizes = bounded(params, margin=0.1, max_drop=0.11)
    columns, counts = sample(system, None, Faulty(column), sizes, "synther", torch_stream("a"))
    assert counts == {"made": 600, "kept": 540, "dropped": 60}
    valid = np.flatnonzero(np.arange(600) % 10 > 0)[:500]
    np.testing.assert_allclose(columns["rewards"], valid / 1e4)
    np.testing.assert_array_equal(columns["discounts"] == 0, valid % 2 == 0)
    sizes = bounded(params, margin=0.1, max_drop=0.21)
    _, counts = sample(system, None, Faulty(column, nan=True), sizes, "synther", torch_stream("a"))
    assert counts == {"made": 800, "kept": 640, "dropped": 160}


@pytest.mark.parametrize(("max_drop", "every", "dropped"), [(0.09, 10, 20), (1.0, 1, 200)])
def test_dropping_too_many_or_all_ends_the_stage_naming_the_generator(params, system, max_drop, every, dropped):
    sizes = bounded(params, margin=0.1, max_drop=max_drop)
    message = rf"^synther linear generator 3: dropped {dropped} of 200 imagined .* augment.max_drop = {max_drop:g};"
    with pytest.raises(SystemExit, match=message):
        sample(system, None, Faulty("states", every), sizes, "synther linear generator 3", torch_stream("a"))


def test_each_generator_has_random_numbers_of_its_own(params, system, device):
    one, same, other = (train(system, "linear", k, small(params, steps=5), device) for k in (0, 0, 1))
    assert torch.equal(one.network.leave.weight, same.network.leave.weight)
    assert not torch.equal(one.network.leave.weight, other.network.leave.weight)


def test_a_loss_that_is_not_finite_ends_the_training(params, system, device):
    config = small(params, steps=60, batch=32, learning_rate=1e20)
    with pytest.raises(SystemExit, match=r"^synther linear 2: the loss is not finite at step \d+: "):
        train(system, "linear", 2, config, device)


def test_the_stages_write_a_training_set_with_its_cost(tiny_params, episodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "linear"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**tiny_params, "generators": 2}))
    episodes.save("data/linear/real.npz")
    gym_mujoco("halfcheetah").save("linear")
    train_module.main()
    sample_module.main()
    synther = Transitions.load("data/linear/synther.npz")
    assert len(synther) == 2 * 500
    assert synther.generator.tolist() == [0] * 500 + [1] * 500
    assert synther.real_fraction == tiny_params["synther"]["real_fraction"]
    assert not np.array_equal(synther.rewards[:500], synther.rewards[500:])
    cost = json.loads(str(synther.cost))
    config, dimensions = tiny_params["synther"]["denoiser"], 2 * 3 + 2 + 2
    width, embedding = config["width"], config["embedding"]
    layers = [(dimensions, embedding), (17, embedding), (embedding, embedding)]
    layers += [(embedding, width), (width, width), (width, dimensions)]
    assert cost["parameters"] == sum((i + 1) * o for i, o in layers)
    assert cost["trained"] == [digest("models/linear/synther.safetensors")]
    assert cost["source"] is None
    assert cost["counts"]["made"] == cost["counts"]["kept"] + cost["counts"]["dropped"]
    assert cost["counts"]["kept"] >= len(synther)
    assert cost["evaluations"] == pytest.approx(
        tiny_params["synther"]["sampler"]["steps"] * cost["counts"]["made"] / cost["counts"]["kept"], abs=1e-3
    )


def test_samples_of_several_generators_form_one_record(params, trained, system, tmp_path):
    sizes = bounded(params, margin=0.5, max_drop=0.5)
    parts = [sample(system, None, trained, sizes, "synther", torch_stream(k))[0] for k in range(2)]
    (tmp_path / "model").write_bytes(b"weights")
    record = joined(parts, 0.25, cost_record([str(tmp_path / "model")], 7, 16, {"kept": 1000}))
    record.save(tmp_path / "synther.npz")
    again = Transitions.load(tmp_path / "synther.npz")
    np.testing.assert_array_equal(again.rewards, np.concatenate([part["rewards"] for part in parts]))
    assert again.generator.tolist() == [0] * 500 + [1] * 500
    assert set(json.loads(str(again.cost))) == {"trained", "source", "parameters", "evaluations", "counts"}

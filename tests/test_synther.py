"""SynthER on a linear system with Gaussian noise, all of whose moments are known; its loss, its bounds, its bytes."""

import json
import sys

import numpy as np
import pytest
import torch
import yaml

from stages.augment.joined import joined
from stages.baselines.synther import sample as sample_module
from stages.baselines.synther import train as train_module
from stages.baselines.synther.model import SynthEr, vectors
from stages.baselines.synther.sample import sample
from stages.baselines.synther.train import train
from stages.common.checkpoint import Checkpoint
from stages.common.cost import digest, made
from stages.common.rng import torch_stream
from stages.common.transitions import Transitions
from stages.common.world_model_settings import shared
from stages.diffusion.training import Draws
from tests.conftest import killed_and_resumed

A, B = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([[0.5], [0.3]])
MEAN, SPREAD = np.array([0.5, -0.3]), np.array([[1.0, 0.3], [0.3, 0.5]])  # of the states
NOISE = np.array([[0.04, 0.02], [0.02, 0.09]])
REWARD = np.array([1.0, 0.0, -2.0])  # of state and action
COUNT = 20_000


@pytest.fixture(scope="module")
def system() -> Transitions:
    """s' = A s + B a + noise, a even in [-1, 1], r = s₀ - 2 a; the task ends where s'₀ > 1, for about a quarter."""
    rng = np.random.default_rng(0)
    states, actions = rng.multivariate_normal(MEAN, SPREAD, COUNT), rng.uniform(-1, 1, (COUNT, 1))
    following = states @ A.T + actions @ B.T + rng.multivariate_normal([0, 0], NOISE, COUNT)
    ended = following[:, 0] > 1
    arrays = states, actions, np.c_[states, actions] @ REWARD, following, np.where(ended, 0, 0.99)
    return Transitions(*(array.astype(np.float32) for array in arrays), np.arange(COUNT, dtype=np.int32), ~ended)


def small(params, **changes):
    changes = {"width": 64, "blocks": 2, "embedding": 64, "batch": 256, "learning_rate": 5e-3, "ema": 0.99, **changes}
    return shared(params.synther, params.budget).denoiser.model_copy(update={"steps": 1500, **changes})


def bounded(params, **augment):
    """Parameters with which 500 transitions are made, 200 at a time, and with these changes of `augment`."""
    synther = params.synther.model_copy(update={"transitions": 500, "sample_batch": 200})
    return params.model_copy(update={"synther": synther, "augment": params.augment.model_copy(update=augment)})


@pytest.fixture(scope="module")
def trained(params, system) -> SynthEr:
    return train(system, "linear", 0, small(params), torch.device("cpu"))


@pytest.fixture(scope="module")
def samples(params, trained):
    """As many as the data; of 48 steps, since with few the solver itself widens what it samples."""
    return trained.sample(COUNT, params.synther.sampler.model_copy(update={"steps": 48}), torch_stream("samples"))


def test_samples_have_the_mean_and_covariance_of_the_system(samples):
    """Those of (s, a, r, s') follow from the system's own matrices: a linear map of independent parts."""
    states, actions, rewards, following, _ = samples
    base = np.zeros((5, 5))  # of s, a and the noise
    base[:2, :2], base[2, 2], base[3:, 3:] = SPREAD, 1 / 3, NOISE
    every = np.block([[np.eye(3), np.zeros((3, 2))], [REWARD, np.zeros(2)], [A, B, np.eye(2)]])
    mean, covariance = every @ np.r_[MEAN, np.zeros(3)], every @ base @ every.T
    std = np.sqrt(np.diag(covariance))
    found = np.c_[states, actions, rewards, following]
    np.testing.assert_allclose((found.mean(0) - mean) / std, 0, atol=0.06)
    np.testing.assert_allclose((np.cov(found.T) - covariance) / np.outer(std, std), 0, atol=0.1)


def test_in_samples_a_state_and_an_action_lead_where_the_system_leads(samples):
    states, actions, rewards, following, _ = samples
    given = np.c_[states, actions, np.ones(COUNT)]
    found = np.linalg.lstsq(given, following, rcond=None)[0]
    np.testing.assert_allclose(found, np.c_[A, B, [0, 0]].T, atol=0.05)
    np.testing.assert_allclose(np.cov((following - given @ found).T), NOISE, rtol=0.15)
    np.testing.assert_allclose(np.linalg.lstsq(given, rewards, rcond=None)[0], [*REWARD, 0], atol=0.05)
    assert (rewards - given @ [*REWARD, 0]).std() < 0.15  # it is 1.5 itself


def test_samples_end_tasks_as_often_as_the_data_and_where_the_rule_does(system, samples):
    following, ended = samples[3:]
    assert ended.dtype == bool
    assert ended.mean() == pytest.approx((system.discounts == 0).mean(), abs=0.03)
    assert (ended == (following[:, 0] > 1)).mean() > 0.95


def test_actions_are_within_their_bounds_and_even(samples):
    actions = samples[1][:, 0]
    assert np.abs(actions).max() <= 1
    np.testing.assert_allclose(np.quantile(actions, [0.1, 0.25, 0.5, 0.75, 0.9]), [-0.8, -0.5, 0, 0.5, 0.8], atol=0.08)


def test_a_vector_holds_all_of_a_transition(system):
    rows = vectors(system)
    np.testing.assert_array_equal(rows[:, :2], system.observations)
    np.testing.assert_array_equal(rows[:, 2], system.actions[:, 0])
    np.testing.assert_array_equal(rows[:, 3], system.rewards)
    np.testing.assert_array_equal(rows[:, 4:6], system.next_observations)
    np.testing.assert_array_equal(rows[:, 6], system.discounts == 0)


def test_all_but_the_end_of_the_task_is_standardised(trained, system):
    rows = trained.normalized(torch.from_numpy(vectors(system))).numpy()
    np.testing.assert_allclose(rows[:, :6].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(rows[:, :6].std(0), 1, atol=1e-3)
    assert set(np.unique(rows[:, 6])) == {0, 1}


@pytest.mark.parametrize("error", [0.0, 0.5])
def test_the_loss_is_the_clean_estimate_s_error_in_units_of_its_noise_level(params, system, error):
    """A network that knows the answer has none; one that is beside it by `error` has that of eq. 8, by hand."""
    config = small(params)
    model, rows = SynthEr(2, 1, config), torch.from_numpy(vectors(system))[:500]
    draws = Draws(torch.arange(100, 500), 64, rows.shape[1:])
    draws(torch_stream("draws"))
    clean = rows[100:][draws.starts]
    seen = []

    def denoise(network, noisy, sigma, condition):
        seen.append((noisy, sigma))
        return clean + error

    model.process.denoise = denoise
    loss = model.loss(rows, draws)
    [(noisy, sigma)] = seen
    torch.testing.assert_close(sigma, torch.exp(config.edm.log_mean + config.edm.log_std * draws.normal))
    torch.testing.assert_close(noisy, clean + sigma[:, None] * draws.noise)
    expected = (error**2 * (sigma**2 + 1) / sigma**2).mean()  # the weight for data of standard deviation 1
    torch.testing.assert_close(loss, expected)


def test_generation_keeps_as_many_as_asked_with_discounts_of_0_or_gamma(params, trained, system):
    sizes = bounded(params, margin=10.0, max_drop=0.0)
    columns, counts = sample(system, trained, sizes, "synther", torch_stream("a"))
    assert {len(column) for column in columns.values()} == {500}
    assert counts == {"made": 600, "kept": 600, "dropped": 0}
    assert set(np.unique(columns["discounts"])) == {0, np.float32(params.discount)}
    again, _ = sample(system, trained, sizes, "synther", torch_stream("a"))
    other, _ = sample(system, trained, sizes, "synther", torch_stream("b"))
    assert all(again[name].tobytes() == column.tobytes() for name, column in columns.items())
    assert not np.array_equal(columns["rewards"], other["rewards"])


class Faulty:
    """Makes transitions of which each `every`th, and where `nan` its neighbour, is not to be believed; rewards tell
    them apart.
    """

    def __init__(self, place: str, every: int = 10, nan: bool = False):
        self.place, self.every, self.nan, self.made = place, every, nan, 0

    def sample(self, count, sampler, stream):
        columns = {
            "states": np.zeros((count, 2), np.float32),
            "actions": np.zeros((count, 1), np.float32),
            "rewards": np.arange(self.made, self.made + count, dtype=np.float32) / 1e4,
            "following": np.zeros((count, 2), np.float32),
        }
        columns[self.place][:: self.every] = 1e3
        if self.nan:
            columns[self.place][1 :: self.every] = np.nan
        self.made += count
        return *columns.values(), np.arange(count) % 2 == 0


@pytest.mark.parametrize("place", ["states", "rewards", "following"])
def test_what_lies_outside_the_data_s_bounds_is_dropped_and_counted(params, system, place):
    sizes = bounded(params, margin=0.1, max_drop=0.11)
    columns, counts = sample(system, Faulty(place), sizes, "synther", torch_stream("a"))
    assert counts == {"made": 600, "kept": 540, "dropped": 60}
    sound = np.flatnonzero(np.arange(600) % 10 > 0)[:500]
    np.testing.assert_allclose(columns["rewards"], sound / 1e4)
    np.testing.assert_array_equal(columns["discounts"] == 0, sound % 2 == 0)
    sizes = bounded(params, margin=0.1, max_drop=0.21)
    _, counts = sample(system, Faulty(place, nan=True), sizes, "synther", torch_stream("a"))
    assert counts == {"made": 800, "kept": 640, "dropped": 160}


@pytest.mark.parametrize(("max_drop", "every", "dropped"), [(0.09, 10, 20), (1.0, 1, 200)])
def test_too_many_dropped_or_nothing_kept_ends_the_stage_naming_it(params, system, max_drop, every, dropped):
    sizes = bounded(params, margin=0.1, max_drop=max_drop)
    told = rf"^synther linear generator 3: dropped {dropped} of 200 imagined .* augment.max_drop = {max_drop}$"
    with pytest.raises(SystemExit, match=told):
        sample(system, Faulty("states", every), sizes, "synther linear generator 3", torch_stream("a"))


def test_a_killed_training_ends_with_the_bytes_of_an_uninterrupted_one(params, system, device, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    config = small(params, steps=60, batch=32)
    checkpoint = Checkpoint("synther", params, [], device)
    whole = train(system, "linear", 0, config, device)
    again, done = killed_and_resumed(lambda: train(system, "linear", 0, config, device, checkpoint), 40, monkeypatch)
    assert done == [range(36, 60)]
    for one, other in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    another = train(system, "linear", 1, config, device)
    assert not torch.equal(another.network.leave.weight, whole.network.leave.weight)


def test_a_loss_that_is_not_finite_ends_the_stage(params, system, device):
    config = small(params, steps=60, batch=32, learning_rate=1e20)
    with pytest.raises(SystemExit, match=r"^synther linear 2: the loss is not finite at step \d+: "):
        train(system, "linear", 2, config, device)


def test_the_stages_write_a_training_set_that_says_what_it_took(tiny_params, episodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "linear"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**tiny_params, "generators": 2}))
    episodes.save("data/linear/real.npz")
    train_module.main()
    sample_module.main()
    found = Transitions.load("data/linear/synther.npz")
    assert len(found) == 2 * 500
    assert found.generator.tolist() == [0] * 500 + [1] * 500
    assert found.real_fraction == tiny_params["synther"]["real_fraction"]
    assert not np.array_equal(found.rewards[:500], found.rewards[500:])
    told = json.loads(str(found.made))
    config, dimensions = tiny_params["synther"]["denoiser"], 2 * 3 + 2 + 2
    wide, inner = config["width"], config["embedding"]
    layers = [(dimensions, inner), (17, inner), (inner, inner), (inner, wide), (wide, wide), (wide, dimensions)]
    assert told["parameters"] == sum((i + 1) * o for i, o in layers)
    assert told["trained"] == [digest("models/linear/synther.safetensors")]
    assert told["source"] is None
    assert told["counts"]["made"] == told["counts"]["kept"] + told["counts"]["dropped"]
    assert told["counts"]["kept"] >= len(found)
    assert told["evaluations"] == pytest.approx(
        tiny_params["synther"]["sampler"]["steps"] * told["counts"]["made"] / told["counts"]["kept"], abs=1e-3
    )


def test_samples_of_several_generators_are_one_record_of_the_kind_that_algorithms_take(
    params, trained, system, tmp_path
):
    sizes = bounded(params, margin=0.5, max_drop=0.5)
    parts = [sample(system, trained, sizes, "synther", torch_stream(k))[0] for k in range(2)]
    (tmp_path / "model").write_bytes(b"weights")
    record = joined(parts, 0.25, made([str(tmp_path / "model")], 7, 16, {"kept": 1000}))
    record.save(tmp_path / "synther.npz")
    again = Transitions.load(tmp_path / "synther.npz")
    np.testing.assert_array_equal(again.rewards, np.concatenate([part["rewards"] for part in parts]))
    assert again.generator.tolist() == [0] * 500 + [1] * 500
    assert set(json.loads(str(again.made))) == {"trained", "source", "parameters", "evaluations", "counts"}

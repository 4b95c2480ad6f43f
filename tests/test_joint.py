"""The joint model on a linear system with linear behaviour: its actions and their consequences; then GTA and PGD, which
sample from this model.
"""

import json
import sys
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from stages.augment.imagine import completed_windows
from stages.baselines.gta import __main__ as gta
from stages.baselines.joint import sample, train
from stages.baselines.pgd import __main__ as pgd
from stages.common.timing import digest
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions, return_to_go
from stages.diffusion.samplers import evaluations
from stages.idm.model import InverseDynamics
from stages.policy import policies
from stages.policy.networks import Actor
from stages.synthetic_data.cost import parameter_count
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model import train as diffusion
from stages.world_model.model import WorldModel
from stages.world_model.step_normalizer import StepNormalizer
from stages.world_model.windows import Windows
from tests.conftest import overlaid

A, B = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([[-0.5], [-0.4]])
K, NOISE = np.array([[0.5, -0.4]]), 0.2
EPISODES, LENGTH = 400, 12
TASK = Task({"id": "PointMaze_UMaze-v3"}, 300, 10.0, None)


@pytest.fixture(scope="module")
def system() -> Transitions:
    """a = K s + noise, s' = A s + B a, r = s₀."""
    rng = np.random.default_rng(0)
    states, parts = 0.5 * rng.standard_normal((EPISODES, 2)), []
    for _ in range(LENGTH):
        actions = (states @ K.T + NOISE * rng.standard_normal((EPISODES, 1))).clip(-1, 1)
        parts.append((states, actions, states[:, 0], states @ A.T + actions @ B.T))
        states = parts[-1][3]
    columns = [np.stack(part, axis=1).astype(np.float32) for part in zip(*parts, strict=True)]
    columns = [column.reshape(EPISODES * LENGTH, *column.shape[2:]) for column in columns]
    episode, last = np.divmod(np.arange(EPISODES * LENGTH, dtype=np.int32), LENGTH)
    return Transitions(*columns, np.full(len(episode), 0.99, dtype=np.float32), episode, last == LENGTH - 1)


def small(params, **changes):
    """Parameters with a small network that learns the linear system."""
    mlp = params.diffusion.mlp.model_copy(update={"width": 64, "blocks": 2})
    changes = {"mlp": mlp, "steps": 600, "batch": 256, "learning_rate": 5e-3, "ema": 0.99, **changes}
    return params.model_copy(update={"diffusion": params.diffusion.model_copy(update=changes)})


@pytest.fixture(scope="module")
def trained(params, system) -> WorldModel:
    return diffusion.train(system, "linear", TASK, 0, small(params), torch.device("cpu"), joint=True)[0]


def starts_of(data):
    """Tensors that windows start with: states, actions and returns-to-go."""
    given = data.observations, data.actions, return_to_go(data.rewards, data.episode, 0.99) / 10
    return [torch.from_numpy(array.astype(np.float32)) for array in given]


@pytest.fixture(scope="module")
def windows(params, trained, system):
    """Windows from every state and action of the data, conditioned on their actual returns-to-go."""
    sampler = params.sampler.model_copy(update={"steps": 12, "guidance": 1.0})
    return completed_windows(trained, None, None, *starts_of(system), sampler, torch_stream("windows"))


def test_later_actions_follow_the_behaviour_policy_in_the_imagined_states(windows):
    states, actions, _, _ = windows
    for h in (1, 2):
        inputs = np.c_[states[:, h], np.ones(len(states))]
        coefficients = np.linalg.lstsq(inputs, actions[:, h], rcond=None)[0]
        np.testing.assert_allclose(coefficients[:2].T, K, atol=0.1)
        assert abs(coefficients[2, 0]) < 0.03
        assert (actions[:, h] - inputs @ coefficients).std() == pytest.approx(NOISE, rel=0.15)


def test_imagined_states_follow_from_the_imagined_actions(windows, system):
    states, actions, rewards, ended = windows
    std = system.next_observations.std(0)

    def error(actions):
        """Median error of each step, in standard deviations of the data."""
        return np.median(np.abs(states[:, 1:] - states[:, :-1] @ A.T - actions @ B.T), axis=0) / std

    assert error(actions).max() < 0.03
    others = actions[np.random.default_rng(0).permutation(len(actions))]
    assert error(others).min() > 0.2  # so the actions determine the next states
    assert np.median(np.abs(rewards - states[:, :-1, 0])) < 0.03 * system.rewards.std()
    assert not ended.any()


def test_the_first_action_is_real_and_the_model_imagines_the_others(params, trained, system):
    starts = [part[:50] for part in starts_of(system)]
    states, actions, *_ = completed_windows(trained, None, None, *starts, params.sampler, torch_stream("a"))
    sampled = trained.sample(*starts, params.sampler, torch_stream("a"))
    np.testing.assert_array_equal(actions[:, 0], system.actions[:50])
    np.testing.assert_array_equal(actions[:, 1:], sampled.actions[:, 1:])
    np.testing.assert_array_equal(states[:, 1:], sampled.states)
    assert not torch.equal(sampled.actions[:, 0], starts[1])  # the model's copy of the first action is discarded
    inverse = InverseDynamics(2, 1, [8], "mean")
    _, inferred, *_ = completed_windows(trained, inverse, None, *starts, params.sampler, torch_stream("a"))
    assert not np.array_equal(inferred[:, 1:], actions[:, 1:])


def test_the_model_s_copy_of_the_first_action_is_close_to_the_given_one(params, trained, system):
    sampler = params.sampler.model_copy(update={"steps": 12, "guidance": 1.0})
    copies = trained.sample(*starts_of(system), sampler, torch_stream("copy")).actions[:, 0].numpy()
    assert np.median(np.abs(copies - system.actions)) < 0.1 * system.actions.std()


def test_imagined_actions_are_clipped_to_their_bounds(params, trained, system, monkeypatch):
    monkeypatch.setattr(trained.process, "denoise", lambda network, x, sigma, condition: torch.full_like(x, 50))
    sampled = trained.sample(*(part[:9] for part in starts_of(system)), params.sampler, torch_stream("a"))
    assert sampled.actions.eq(1).all()
    assert sampled.states.abs().max() > 1


def test_a_step_holds_reward_terminal_action_and_state_in_the_normaliser_s_order(episodes, device):
    windows = Windows(episodes, 3, 0.99, 10.0, True, device, joint=True)
    ends = (episodes.discounts == 0).astype(np.float32)
    expected = np.c_[episodes.rewards, ends, episodes.actions, episodes.next_observations]
    np.testing.assert_array_equal(windows.steps, expected)
    rewards, terminals, actions, states = windows.steps.split(StepNormalizer(3, True, "cdf", "cdf", 2).split, dim=1)
    np.testing.assert_array_equal(rewards[:, 0], episodes.rewards)
    np.testing.assert_array_equal(terminals[:, 0], ends)
    np.testing.assert_array_equal(actions, episodes.actions)
    np.testing.assert_array_equal(states, episodes.next_observations)
    start = np.flatnonzero(np.diff(episodes.episode) == 0)[0]
    np.testing.assert_array_equal(windows(torch.tensor([start]))[0][0, :2, 2:4], episodes.actions[start : start + 2])


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("kind", ["gaussian", "minmax", "cdf"])
def test_the_normaliser_of_steps_with_actions_inverts_itself(episodes, kind, terminal):
    ends = (episodes.discounts == 0)[:, None].astype(np.float32)[:, : int(terminal)]
    steps = np.c_[episodes.rewards, ends, episodes.actions, episodes.next_observations].astype(np.float32)
    normalizer = StepNormalizer(3, terminal, kind, kind, actions=2)
    normalizer.fit(torch.from_numpy(steps))
    z = normalizer(torch.from_numpy(steps))
    np.testing.assert_allclose(normalizer.inverse(z), steps, atol=1e-4)
    low, high = normalizer.bounds()
    torch.testing.assert_close(z.amin(0), low)
    torch.testing.assert_close(z.amax(0), high)
    normalized = z[:, 1 + terminal : 3 + terminal].numpy()
    actions, smallest, largest = episodes.actions, episodes.actions.min(0), episodes.actions.max(0)
    if kind == "gaussian":
        np.testing.assert_allclose(normalized, (actions - actions.mean(0)) / actions.std(0), rtol=0.01, atol=1e-3)
    elif kind == "minmax":
        np.testing.assert_allclose(normalized, 2 * (actions - smallest) / (largest - smallest) - 1, atol=1e-5)
    else:
        np.testing.assert_allclose(np.sort(normalized, axis=0)[:, 0], np.linspace(-1, 1, len(normalized)), atol=0.01)


@pytest.mark.parametrize("target", ["state", "change"])
def test_the_target_change_does_not_affect_actions(params, episodes, device, target):
    windows = Windows(episodes, 3, 0.99, 10.0, True, device, joint=True)
    model = WorldModel(3, 2, 3, True, small(params, target=target).diffusion, joint=True)
    model.fit(windows.states, windows.steps)
    steps, states = windows(torch.arange(20))[0], windows.states[:20]
    relative = model.relative(steps, states)
    torch.testing.assert_close(relative[..., :4], steps[..., :4])
    torch.testing.assert_close(model.absolute(relative, states), steps)
    expected = steps[:, 1, 4:] - (steps[:, 0, 4:] if target == "change" else 0)
    torch.testing.assert_close(relative[:, 1, 4:], expected)


def test_a_joint_model_is_loaded_as_it_was_saved(params, trained, system, tmp_path, device):
    plain = WorldModel(2, 1, 3, False, small(params).diffusion)
    for models in ([trained, deepcopy(trained)], [plain]):
        world_model.save(models, tmp_path / "joint.safetensors")
        again = world_model.load(tmp_path / "joint.safetensors", device)
        assert len(again) == len(models)
        assert again[0].sizes == models[0].sizes
        one, other = (
            model.sample(*(part[:20] for part in starts_of(system)), params.sampler, torch_stream("a"))
            for model in (models[0], again[-1])
        )
        assert torch.equal(one.states, other.states)
        assert (one.actions is None) == (other.actions is None) == (models[0] is plain)
    assert trained.sizes["joint"]
    assert not plain.sizes["joint"]
    assert not any("actions" in name for name in plain.state_dict())


def test_apart_from_the_actions_its_network_is_dawm_s(params, trained):
    """All weights have equal shapes, except the layers that read and write windows of H (1 + A + S) numbers."""
    plain = WorldModel(2, 1, 3, False, small(params).diffusion)
    joint, dawm = (
        {name: list(part.shape) for name, part in model.network.named_parameters()} for model in (trained, plain)
    )
    assert joint.keys() == dawm.keys()
    differing = [(joint[name], shape) for name, shape in dawm.items() if joint[name] != shape]
    wider = [[a - b for a, b in zip(*pair, strict=True)] for pair in differing]
    assert sorted(map(sorted, wider)) == [[0, 3], [0, 3], [3]]  # the first matrix, the last matrix and its bias


def test_the_stages_write_a_training_set_with_its_cost(tiny_params, params, episodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "line"])
    changes = {"generators": 2, "diffusion": {"steps": 20}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(tiny_params, changes)))
    episodes.save("data/line/real.npz")
    TASK.save("line")
    train.main()
    sample.main()
    joint = Transitions.load("data/line/joint.npz")
    [first, _] = world_model.load("models/line/joint.safetensors", torch.device("cpu"))
    assert first.sizes == {"state": 3, "action": 2, "horizon": 3, "terminal": True, "joint": True}
    assert joint.generator.tolist() == [0] * 500 + [1] * 500
    assert joint.real_fraction == params.real_fraction
    rows = {bytes(row) for row in np.c_[episodes.observations, episodes.actions]}
    starts = joint.step == 0
    assert {bytes(row) for row in np.c_[joint.observations, joint.actions][starts]} <= rows
    assert not {bytes(row) for row in joint.actions[~starts]} & {bytes(row) for row in episodes.actions}
    cost = json.loads(str(joint.cost))
    assert cost["trained"] == [digest("models/line/joint.safetensors")]
    assert cost["source"] is None
    assert cost["parameters"] == parameter_count(first.network)
    counts = cost["counts"]
    assert counts["kept"] + counts["dropped"] + counts["after_terminal"] == 3 * counts["windows"]
    passes = evaluations(params.sampler) * counts["windows"] / counts["kept"]
    assert cost["evaluations"] == pytest.approx(passes, abs=1e-3)


# GTA: how much of a real window is left, and what the amplified return does


def amplified_windows(
    params, trained, system, noise: float, amplification: float = 1.0, guidance: float = 1.0, starts=None
):
    """Windows from rows of the data, and those rows."""
    starts = torch.arange(0, len(system), 3) if starts is None else starts
    sampler = params.sampler.model_copy(update={"steps": 12, "guidance": guidance})
    settings = SimpleNamespace(noise=noise, amplification=amplification)
    given = params.model_copy(update={"sampler": sampler, "gta": settings})
    return starts.numpy(), *gta.window_sampler(system, TASK, trained, given, torch_stream("gta"))(starts)


def test_little_noise_gives_the_real_windows_back_and_much_noise_windows_of_their_own(params, trained, system):
    whole = {}
    for noise in (0.05, 0.5, 20.0):
        starts, states, actions, rewards, ended = amplified_windows(params, trained, system, noise)
        begins = np.minimum(starts, starts - starts % LENGTH + LENGTH - 3)
        rows = begins[:, None] + np.arange(3)
        np.testing.assert_array_equal(states[:, 0], system.observations[begins])
        np.testing.assert_array_equal(actions[:, 0], system.actions[begins])
        later = actions[:, 1:].ravel(), system.actions[rows[:, 1:]].ravel()
        whole[noise] = np.corrcoef(*later)[0, 1]
        error = np.abs(states[:, 1:] - states[:, :-1] @ A.T - actions @ B.T)
        assert np.median(error) < 0.05 * system.observations.std()
        assert not ended.any()
        assert np.isfinite(rewards).all()
    assert whole[0.05] > 0.95
    assert whole[0.05] > whole[0.5] > whole[20.0]
    assert whole[20.0] < 0.75


def test_an_amplified_return_is_followed(params, trained, system):
    """Later rewards rise with the return asked for; the first is the data's, since state and action are."""
    ranked = [
        np.mean(amplified_windows(params, trained, system, 20.0, amplification, guidance=2.0)[3][:, 1:])
        for amplification in (1.0, 3.0)
    ]
    assert ranked[1] > ranked[0]


def test_returns_are_amplified_for_the_better_whatever_their_sign():
    returns = torch.tensor([2.0, 0.0, -2.0])
    assert gta.amplified(returns, 1.3).tolist() == pytest.approx([2.6, 0.0, -1.4])


def test_windows_stay_within_their_episode(params, trained, system):
    """The last row of an episode begins its window two rows earlier; an episode of two steps has one step too few."""
    last = torch.tensor([LENGTH - 1, 2 * LENGTH - 2])
    _, states, *_ = amplified_windows(params, trained, system, 2.4, starts=last)
    np.testing.assert_array_equal(states[:, 0], system.observations[[LENGTH - 3, 2 * LENGTH - 3]])
    short = system.rows(np.isin(np.arange(len(system)), [0, 1, *range(LENGTH, 2 * LENGTH)]))
    short.episode[:] = [0, 0, *[1] * LENGTH]
    _, _, _, rewards, _ = amplified_windows(params, trained, short, 2.4, starts=torch.tensor([0, 1, 2]))
    assert np.isnan(rewards).tolist() == [[False, False, True]] * 2 + [[False] * 3]


def test_the_cost_counts_the_levels_that_are_used(params, trained):
    for noise in (0.05, 2.4, 100.0):
        seen, sampler = [], params.sampler.model_copy(update={"method": "ddim", "steps": 12, "guidance": 1.0})
        given = torch.zeros(2, 2), torch.zeros(2, 1), torch.zeros(2)
        denoise = trained.process.denoise
        trained.process.denoise = lambda *each: seen.append(1) or denoise(*each)  # noqa: B023
        trained.sample(*given, sampler, torch_stream("a"), (torch.zeros(2, 3, trained.step), noise))
        del trained.process.denoise
        assert gta.levels(trained, sampler, noise) == len(seen)


# PGD: guidance by a policy


@pytest.mark.parametrize("strength", [0.0, 0.5, 4.0])
def test_standard_normal_actions_follow_the_product_of_both_densities(params, strength):
    """N(0, 1) times N(π, 1 / λ) is N(λ π / (1 + λ), 1 / (1 + λ)); all but the actions stay as they were."""
    model = WorldModel(2, 1, 3, False, params.diffusion, joint=True)
    model.process.denoise = lambda network, x, sigma, condition: x / (1 + sigma[:, None, None] ** 2)
    states, sampler = torch.zeros(20_000, 2), params.sampler.model_copy(update={"steps": 60, "method": "heun"})
    guide = pgd.policy_guide(model, lambda states: torch.full((*states.shape[:2], 1), 0.3), states, strength)
    given = states, torch.zeros(len(states), 1), torch.zeros(len(states))
    raw, inverse = [], model.normalizer.inverse
    model.normalizer.inverse = lambda z: raw.append(z) or inverse(z)
    model.sample(*given, pgd.unconditional(sampler), torch_stream("a"), guide=guide)
    steps = raw[-1]
    guided, others = steps[:, 1:, 1], torch.cat([steps[..., :1], steps[..., 2:]], dim=-1)
    assert guided.mean().item() == pytest.approx(0.3 * strength / (1 + strength), abs=0.015)
    assert guided.std().item() == pytest.approx((1 + strength) ** -0.5, rel=0.02)
    for untouched in (others, steps[:, 0, 1]):
        assert untouched.mean().item() == pytest.approx(0, abs=0.015)
        assert untouched.std().item() == pytest.approx(1, rel=0.02)


def test_guided_actions_come_nearer_to_the_policy_and_their_consequences_follow(params, trained, system):
    def policy(states):
        return -states @ torch.from_numpy(K.T).float()  # the opposite of the data's

    distances, starts = [], torch.arange(len(system))
    for strength in (0.0, 1.0, 10.0):
        sampler = params.sampler.model_copy(update={"steps": 12})
        given = params.model_copy(update={"sampler": sampler, "pgd": SimpleNamespace(guidance=strength)})
        states, actions, _, ended = pgd.window_sampler(system, TASK, trained, policy, given, torch_stream("a"))(starts)
        np.testing.assert_array_equal(states[:, 0], system.observations)
        np.testing.assert_array_equal(actions[:, 0], system.actions)
        wanted = policy(torch.from_numpy(states[:, 1:-1])).numpy()
        distances.append(np.square(actions[:, 1:] - wanted).mean())
        error = np.abs(states[:, 1:] - states[:, :-1] @ A.T - actions @ B.T)
        assert np.median(error) < 0.08 * system.observations.std()
        assert not ended.any()
    assert distances[0] > 1.3 * distances[1] > 1.3**2 * distances[2]


def test_each_window_is_guided_by_one_seed_s_policy_in_turn(tmp_path):
    actor = Actor(2, 1, [4], [torch_stream("policy", seed) for seed in range(3)])
    weights = {f"actor.{name}": weight.detach()[None] for name, weight in actor.named_parameters()}
    facts = {"steps": torch.tensor([7]), "mean": torch.tensor([1.0, 2.0]), "std": torch.tensor([2.0, 4.0])}
    path = tmp_path / "real-td3bc.safetensors"
    policies.save({**weights, **facts, "generators": torch.full((3,), -1)}, "td3bc", SimpleNamespace(), path)
    act, states = pgd.Policies(str(path), torch.device("cpu"), torch_stream("a")), torch.randn(7, 4, 2)
    normalised = (states - facts["mean"]) / facts["std"]
    for window in range(7):
        expected = actor(normalised[None, window].expand(3, -1, -1))[window % 3]
        torch.testing.assert_close(act(states)[window], expected.detach())


def test_unconditional_windows_cost_one_evaluation_a_step(params):
    assert evaluations(pgd.unconditional(params.sampler)) == params.sampler.steps
    assert evaluations(params.sampler) == 2 * params.sampler.steps

"""Algorithms with a model of the data: their updates, imagined transitions, penalties and ends of tasks."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import plain_models
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.policy.acting import Deterministic, policy_of
from stages.policy.batches import Batch, Batches
from stages.policy.trainer import build_updates, train
from tests.conftest import settings_for
from tests.test_algorithms import TextbookAdam, weights

SEEDS, BATCH, UPDATES = 3, 16, 10
CASES = ["mopo", "mopo learned ends", "mopo fixed entropy", "mobile", "mobile learned ends", "mobile nonnegative"]


def half(states):
    """A rule that ends about every third imagined task."""
    return states[..., 0] < 0.5


def settings_of(params, case: str, **changes) -> SimpleNamespace:
    algorithm, _, kind = case.partition(" ")
    settings = settings_for(params.policy, getattr(params, algorithm), "imagined")
    own = {"steps": UPDATES, "model_share": 0.4, "rollout_every": 3, "rollouts": 5, "rollout_length": 3, "batch": BATCH}
    own |= {"kept_refreshes": 1, "held_out": 0.2, "weight_decay": 0.01, "real_fraction": 0.25, "tau": 0.1}
    own |= {"model_learning_rate": 0.001, "learning_rate": 0.0003, "actor_learning_rate": 0.0003, "penalty": 0.7}
    vars(settings).update(own, entropy_weight=0.3 if kind == "fixed entropy" else "auto")
    if algorithm == "mobile":
        vars(settings).update(nonnegative_target=kind == "nonnegative", soft_target=kind != "learned ends")
    vars(settings).update(changes)
    return settings


def in_float64(learner, optimizer=None):
    """The learner's networks and tensors in float64, and gradient descent in place of Adam if asked for."""
    for name, part in list(vars(learner).items()):
        if isinstance(part, torch.nn.Module):
            part.double()
        elif torch.is_tensor(part) and part.is_floating_point():
            setattr(learner, name, part.double())
        elif isinstance(part, torch.optim.Adam) and optimizer is torch.optim.SGD:
            groups = [{key: group[key] for key in ("params", "lr")} for group in part.param_groups]
            setattr(learner, name, torch.optim.SGD(groups))


def build(params, episodes, case: str, optimizer, seeds: int = SEEDS):
    """The case's learner in float64 with its batches, and a plain learner for each seed with the same weights."""
    settings, algorithm = settings_of(params, case), case.partition(" ")[0]
    module, device = import_module(f"stages.algorithms.{algorithm}"), torch.device("cpu")
    batches = Batches(episodes, episodes, None, seeds, settings, module.columns(episodes, settings), device)
    batches.rows, batches.mean, batches.std = (part.double() for part in (batches.rows, batches.mean, batches.std))
    streams = [torch_stream("test", seed) for seed in range(seeds)]
    learner, healthy = module.Learner(*batches.sizes, streams, settings, device), None if "learned" in case else half
    learner.begin(batches, healthy)
    in_float64(learner, optimizer)
    learner.model.inputs.fit(learner.data.inputs)  # float32 rounded the statistics
    learner.model.targets.fit(learner.data.targets)
    learner.model.units[1:] = batches.std
    learner.model.units[0] = 1 / batches.scale
    both, *columns = batches.rows.split(batches.widths, dim=1)
    columns = [*both.split(batches.sizes, dim=1), *(part if part.shape[1] > 1 else part[:, 0] for part in columns)]
    singles = []
    for seed in range(seeds):
        single = plain_models.LEARNERS[algorithm](*batches.sizes, settings, adam=optimizer)
        for part in (single.actor, single.spread, *single.critics, *single.target_critics):
            part.double()
        single.log_alpha.data = learner.entropy_weight.log.detach()[seed].clone()
        single.begin(columns, healthy, batches.mean, batches.std, batches.scale)
        for ours, theirs in pairs(learner, single, seed, seeds):
            theirs.data.copy_(ours)
        singles.append(single)
    return learner, singles, batches


def pairs(learner, single, seed: int, seeds: int):
    """Yields pairs of corresponding weights, (the learner's, the plain learner's)."""
    yield from weights(learner.actor.body, seed, single.actor)
    yield learner.actor.spread.weight[seed], single.spread.weight.T
    yield learner.actor.spread.bias[seed, 0], single.spread.bias
    for name, networks in (("critic", single.critics), ("target_critic", single.target_critics)):
        for twin, network in enumerate(networks):
            yield from weights(getattr(learner, name).body, seed + twin * seeds, network)
    for member, model in enumerate(single.models):
        index = seed * len(single.models) + member
        yield from weights(learner.model.dynamics, index, model.body)
        yield learner.model.highest[index, 0], model.highest
        yield learner.model.lowest[index, 0], model.lowest


@pytest.mark.parametrize("optimizer", [TextbookAdam, torch.optim.SGD])
@pytest.mark.parametrize("case", CASES)
def test_ten_updates_with_two_refreshes_equal_those_of_the_plain_implementation(params, episodes, case, optimizer):
    learner, singles, batches = build(params, episodes, case, optimizer)
    before = [[ours.clone() for ours, _ in pairs(learner, single, k, SEEDS)] for k, single in enumerate(singles)]
    rows = []
    for update in range(UPDATES):
        stream = torch.Generator().manual_seed(update)
        noise = {name: draw((SEEDS, BATCH, draw.width), stream).double() for name, draw in learner.draws.items()}
        assert [single.due() for single in singles] == [learner.refreshes(update)] * SEEDS
        if learner.refreshes(update):
            learner.refresh([torch_stream("refresh", update, seed) for seed in range(SEEDS)])
            for seed, single in enumerate(singles):
                single.refresh(torch_stream("refresh", update, seed))
                assert learner.model.elites[seed].tolist() == single.elites
                assert learner.written[seed] == single.written
            rows.append(learner.written.clone())
        batch = batches(torch.rand(SEEDS, BATCH, dtype=torch.float64, generator=stream))
        losses = learner.update(batch, noise, learner.phase(update))
        for k, single in enumerate(singles):
            both = batch.states_and_actions[k]
            given = [both[:, :3], both[:, 3:], batch.rewards[k], batch.discounts[k], batch.next_states[k]]
            expected = single.train(given, {name: numbers[k] for name, numbers in noise.items()})
            assert losses.keys() == expected.keys()
            for name, value in expected.items():
                assert losses[name][k].item() == pytest.approx(value, rel=1e-7, abs=1e-9), (update, name)
    assert len(rows) == 2
    assert (rows[0] < learner.buffer.shape[1]).any()  # some tasks ended before the rollouts did
    assert (rows[1] == learner.buffer.shape[1]).any()  # the second refresh has overwritten some of the first
    for k, single in enumerate(singles):
        for (ours, theirs), old in zip(pairs(learner, single, k, SEEDS), before[k], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
            assert not torch.equal(ours, old)
        torch.testing.assert_close(learner.entropy_weight.log[k], single.log_alpha, rtol=1e-6, atol=1e-9)


NOISE, STEP, NAMES = (0.1, 0.3), np.array([[0.2], [-0.4]]), ("linear", "real", "mopo")


@pytest.fixture(scope="module")
def linear() -> Transitions:
    """s' = 0.9 s + B a + σ ε and r = 2 s₀ - a, in episodes of 20 steps; the task ends where s'₀ > 0.5."""
    rng, count = np.random.default_rng(0), 8000
    states, actions = rng.uniform(-1, 1, (count, 2)), rng.uniform(-1, 1, (count, 1))
    following = 0.9 * states + actions @ STEP.T + NOISE * rng.standard_normal((count, 2))
    rewards, discounts = 2 * states[:, 0] - actions[:, 0], np.where(following[:, 0] > 0.5, 0, 0.99)
    columns = states, actions, rewards, following, discounts
    episode, timeouts = np.arange(count, dtype=np.int32) // 20, np.zeros(count, dtype=bool)
    return Transitions(*(column.astype(np.float32) for column in columns), episode, timeouts)


def trained_models(params, linear, device, algorithm="mopo", healthy=None, seeds=2, **changes):
    """Updates of which only the models' phase, 800 of 1,000, has been made; one-step rollouts."""
    own = {"steps": 1000, "model_share": 0.8, "batch": 128, "model_hidden": [32], "rollouts": 4000, "weight_decay": 0.0}
    own |= {"model_learning_rate": 0.01, "rollout_length": 1, "penalty": 0.0, "reward_scale": 0.5, "hidden": [16]}
    settings = settings_of(params, algorithm, **{**own, **changes})
    updates = build_updates(linear, None, (*NAMES[:2], algorithm), settings, seeds, device, healthy)
    for _ in range(800):
        updates()
    return updates


def imagined(updates, learner: int) -> tuple[np.ndarray, ...]:
    """What the learner's buffer holds, in the data's units: states, actions, rewards, discounts, next states."""
    model, batches = updates.learner, updates.batches
    rows = model.buffer[learner, : int(model.written[learner])]
    both, rewards, discounts, following = rows.split([sum(batches.sizes), 1, 1, batches.sizes[0]], dim=1)
    states, actions = both.split(batches.sizes, dim=1)
    states, following = (part * batches.std + batches.mean for part in (states, following))
    parts = states, actions, (rewards[:, 0] - batches.settings.reward_shift) / batches.scale, discounts[:, 0], following
    return tuple(part.detach().double().numpy() for part in parts)


def test_rollouts_have_the_moments_of_a_linear_gaussian_system(params, linear, device):
    updates = trained_models(params, linear, device)
    updates()  # the first of the policy's, before which the policies act in the models
    for learner in range(2):
        states, actions, rewards, discounts, following = imagined(updates, learner)
        assert len(states) == 4000
        assert np.isin(np.float32(states[:, 0].round(4)), linear.observations[:, 0].round(4)).mean() > 0.99
        error = following - 0.9 * states - actions @ STEP.T
        np.testing.assert_allclose(error.mean(0), 0, atol=0.03)
        np.testing.assert_allclose(error.std(0), NOISE, rtol=0.1)
        assert abs(np.corrcoef(error.T)[0, 1]) < 0.1
        np.testing.assert_allclose(rewards, 2 * states[:, 0] - actions[:, 0], atol=0.15)
        sure = np.abs(following[:, 0] - 0.5) > 0.2  # the model sees s and a, not the noise, so ends are chances
        ends = 0.9 * states[:, 0] + 0.2 * actions[:, 0] > 0.5
        assert (np.abs((discounts == 0)[sure & ~ends].mean() - (following[sure & ~ends, 0] > 0.5).mean())) < 0.1
        assert set(np.unique(discounts)) == {0.0, float(np.float32(0.99))}
        assert abs((discounts == 0).mean() - (following[:, 0] > 0.5).mean()) < 0.05


def test_the_environment_s_rule_ends_imagined_tasks(params, linear, device):
    changes = {"rollout_length": 4, "rollouts": 100, "kept_refreshes": 3}
    updates = trained_models(params, linear, device, healthy=lambda states: states[..., 0] <= 0.5, **changes)
    assert not updates.learner.model.terminal
    updates()
    for learner in range(2):
        states, _, _, discounts, following = imagined(updates, learner)
        assert 100 < len(states) < 400
        sure = np.abs(following[:, 0] - 0.5) > 1e-5
        np.testing.assert_array_equal((discounts == 0)[sure], following[sure, 0] > 0.5)
        ended = following[discounts == 0]
        for state in states[100:]:  # after the start states each goes on from a row that has not ended
            assert np.abs(following[discounts > 0] - state).sum(1).min() < 1e-5
            assert np.abs(ended - state).sum(1).min() > 1e-5


def with_known_models(updates, means, log_variances):
    """Replaces all models by constants, (learners · members, D) each, in units of the normalised targets."""
    model = updates.learner.model
    with torch.no_grad():
        model.highest.fill_(60.0)
        model.lowest.fill_(-60.0)
        for layer in model.dynamics.layers:
            layer.weight.zero_()
        model.dynamics.layers[-1].bias.copy_(torch.cat([means, log_variances], dim=1)[:, None])


def test_mopo_subtracts_the_largest_norm_of_the_standard_deviations_in_the_data_s_units(params, linear, device):
    rewards = {}
    for penalty in (0.0, 3.0):
        settings = settings_of(params, "mopo", penalty=penalty, reward_scale=0.5, rollouts=50, model_share=0.1)
        updates = build_updates(linear, None, NAMES, settings, 2, device, half)
        learner, batches, members = updates.learner, updates.batches, settings.members
        log_variances = torch.randn(2 * members, 3, generator=torch.Generator().manual_seed(0))
        with_known_models(updates, torch.zeros(2 * members, 3), log_variances)
        learner.refresh([torch_stream("known", seed) for seed in range(2)])
        rewards[penalty] = [imagined(updates, learner)[2] for learner in range(2)]
    raw = torch.cat([torch.from_numpy(linear.rewards)[:, None], learner.data.targets[:, 1:] * batches.std], dim=1).std(
        0
    )
    norms = ((0.5 * log_variances).exp() * raw).norm(dim=1).view(2, members).amax(1)
    for one, other, norm in zip(rewards[0.0], rewards[3.0], norms.tolist(), strict=True):
        np.testing.assert_allclose(one - other, 3.0 * norm, rtol=1e-4)


def test_elites_have_the_least_error_over_all_rows_however_they_are_split(params, linear, device, monkeypatch):
    """On the first 16 rows the target is 0, on the last, which is a part of its own, 3: predicting 0 errs least."""
    settings = settings_of(params, "mopo", members=3, elites=1)
    model = (updates := build_updates(linear, None, NAMES, settings, 1, device, half)).learner.model
    with_known_models(updates, torch.tensor([[1.0] * 3, [0.0] * 3, [2.0] * 3]), torch.zeros(3, 3))
    monkeypatch.setattr("stages.policy.dynamics.ROWS", 16)
    targets = torch.zeros(17, 3)
    targets[16] = 3.0
    model.choose(torch.zeros(17, 3), model.targets.inverse(targets))
    assert model.elites.tolist() == [[1]]


def test_mobile_s_penalty_is_the_spread_of_the_elites_q_on_imagined_rows_alone(params, linear, device):
    settings = settings_of(params, "mobile", members=4, elites=3, samples=2, penalty=0.0)
    updates = build_updates(linear, None, (*NAMES[:2], "mobile"), settings, 2, device, half)
    learner = updates.learner
    means = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    with_known_models(updates, means, torch.full((8, 3), -30.0))
    learner.model.elites.copy_(torch.tensor([[3, 0, 1], [2, 1, 3]]))
    learner.target_critic = lambda both: torch.stack([5 + 2 * both[..., 0], 7 + 2 * both[..., 0]])  # Q' = 5 + 2 s₀
    noise = {
        name: draw((2, BATCH, draw.width), torch.Generator().manual_seed(2)) for name, draw in learner.draws.items()
    }
    batch = updates.batches(torch.rand(2, BATCH, dtype=torch.float64))
    plain = learner.target(batch, noise)
    settings.penalty = 1.5
    penalty = plain - learner.target(batch, noise)
    changes = means.view(2, 4, 3)[torch.tensor([[0], [1]]), learner.model.elites][..., 1] * learner.model.targets.std[1]
    real = round(settings.real_fraction * BATCH)
    assert 0 < real < BATCH
    assert (penalty[:, :real] == 0).all()
    expected = (1.5 * 2 * changes.std(1))[:, None].expand(-1, BATCH - real)
    torch.testing.assert_close(penalty[:, real:], expected, rtol=1e-3, atol=1e-4)
    settings.nonnegative_target, settings.penalty = True, 1e6
    assert (learner.target(batch, noise)[:, real:] == 0).all()


@pytest.mark.parametrize("algorithm", ["mopo", "mobile"])
def test_rows_that_were_never_written_are_never_drawn(params, episodes, device, algorithm):
    settings = settings_of(params, algorithm, steps=60, rollout_every=12, kept_refreshes=20)
    updates = build_updates(episodes, None, ("imagined", "real", algorithm), settings, 2, device, half)
    updates.learner.buffer.fill_(float("nan"))
    for _ in range(settings.steps):
        updates()
        assert all(loss.isfinite().all() for loss in updates.losses.values())
    assert updates.learner.buffer.isnan().any()
    assert (updates.learner.written < updates.learner.buffer.shape[1]).all()


def test_batches_begin_with_their_real_share_and_all_written_rows_are_drawn(params, episodes, device):
    settings = settings_of(params, "mopo", batch=399)  # of which a quarter, rounded, are 100
    learner = build_updates(episodes, None, ("imagined", "real", "mopo"), settings, 2, device, half).learner
    learner.buffer[:] = torch.arange(learner.buffer.shape[1])[None, :, None]
    learner.written.copy_(torch.tensor([3, 7]))
    both, others = torch.full((2, 399, 5), -1.0), torch.full((2, 399), -1.0)
    batch = Batch(both, others, others, both[..., :3])
    mixed = learner.mixed(batch, torch.rand(2, 399, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    for part in (
        mixed.rewards,
        mixed.discounts,
        mixed.states[..., 1],
        mixed.actions[..., 0],
        mixed.next_states[..., 2],
    ):
        assert (part[:, :100] == -1).all()
        assert [sorted(set(rows[100:].tolist())) for rows in part] == [[0, 1, 2], list(range(7))]


def test_each_refresh_has_streams_of_its_own_and_policies_differ_with_them(params, episodes, device):
    settings = settings_of(params, "mopo", steps=40)
    updates = build_updates(episodes, None, ("imagined", "real", "mopo"), settings, 2, device, half)
    refreshed, refresh = [], updates.learner.refresh

    def recorded(streams):
        refreshed.append((updates.done, [stream.initial_seed() for stream in streams]))
        refresh(streams)

    updates.learner.refresh = recorded
    for _ in range(settings.steps):
        updates()
    assert [done for done, _ in refreshed] == list(range(16, 40, 3))
    names = ("imagined", "real", "mopo")
    for done, seeds in refreshed:
        assert seeds == [torch_stream(*names, seed, "refresh", done).initial_seed() for seed in range(2)]


def test_evaluation_acts_by_the_mean_as_for_any_other_actor(params, episodes, device):
    settings = settings_of(params, "mobile", snapshot_every=UPDATES)
    policies = train(episodes, None, ("imagined", "real", "mobile"), settings, 2, device, None, half)
    policy = policy_of(policies, "mobile", settings, slice(-1, None))
    assert type(policy) is Deterministic
    assert [weight.shape[-1] for weight, _ in policy.layers] == [*settings.hidden, 2]


def test_held_out_episodes_train_no_model(params, linear, device):
    settings = settings_of(params, "mopo", held_out=0.25)
    learner = build_updates(linear, None, NAMES, settings, 2, device, half).learner
    parts = [set(linear.episode[part.numpy()]) for part in (learner.data.training, learner.data.held_out)]
    assert not parts[0] & parts[1]
    assert (len(parts[0]), len(parts[1])) == (300, 100)


@pytest.fixture(scope="module")
def gamble() -> Transitions:
    """One step from one state. Rewards have the mean 1 - (a - 0.5)² and the standard deviation 0.25 + 0.15 a."""
    rng, count = np.random.default_rng(0), 6000
    actions, states = rng.uniform(-1, 1, (count, 1)), np.zeros((count, 1))
    rewards = 1 - (actions[:, 0] - 0.5) ** 2 + (0.25 + 0.15 * actions[:, 0]) * rng.standard_normal(count)
    columns = states, actions, rewards, states, np.zeros(count)
    episode, timeouts = np.arange(count, dtype=np.int32), np.zeros(count, dtype=bool)
    return Transitions(*(column.astype(np.float32) for column in columns), episode, timeouts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "penalty", "best"), [("mopo", 0.0, 0.5), ("mopo", 6.0, 0.05), ("mobile", 6.0, 0.5)]
)
def test_a_policy_maximises_the_penalised_rewards(params, gamble, device, algorithm, penalty, best):
    """MOPO's maximum is at 0.5 - 0.15 λ / 2. MOBILE has nothing to penalise, as all tasks end at once."""
    own = {
        "steps": 1500,
        "snapshot_every": 1500,
        "model_share": 0.5,
        "batch": 128,
        "model_hidden": [32],
        "hidden": [32],
    }
    own |= {"rollouts": 300, "rollout_length": 1, "rollout_every": 50, "reward_scale": 1.0, "kept_refreshes": 2}
    own |= {"model_learning_rate": 0.01, "learning_rate": 0.003, "actor_learning_rate": 0.003, "weight_decay": 0.0}
    settings = settings_of(params, algorithm, **own, penalty=penalty, entropy_weight=0.01)
    policies = train(gamble, None, ("gamble", "real", algorithm), settings, SEEDS, device)
    acts = policy_of(policies, algorithm, settings, slice(-1, None))(torch.zeros(SEEDS, 1, 1), None, None)[0]
    np.testing.assert_allclose(acts[:, 0, 0], [best] * SEEDS, atol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["mopo", "mobile"])
def test_a_policy_learns_in_its_model_to_control_a_system(params, device, algorithm):
    """s' = 0.9 s + 0.3 a + 0.03 ε with the reward -(s' - 0.3)², from random actions; at 0.3 the best is 0.1."""
    rng, count = np.random.default_rng(0), 8000
    states, actions = np.zeros(count), rng.uniform(-1, 1, count)
    following = np.zeros(count)
    for k in range(count):
        states[k] = following[k - 1] if k % 20 else rng.uniform(-1, 1)
        following[k] = 0.9 * states[k] + 0.3 * actions[k] + 0.03 * rng.standard_normal()
    columns = states[:, None], actions[:, None], -((following - 0.3) ** 2), following[:, None], np.full(count, 0.99)
    episode, timeouts = np.arange(count, dtype=np.int32) // 20, np.arange(count) % 20 == 19
    data = Transitions(*(column.astype(np.float32) for column in columns), episode, timeouts)
    own = {"steps": 1200, "snapshot_every": 1200, "model_share": 0.3, "batch": 128, "model_hidden": [32], "tau": 0.05}
    own |= {"rollouts": 300, "rollout_length": 5, "rollout_every": 50, "reward_scale": 0.1, "kept_refreshes": 4}
    own |= {"model_learning_rate": 0.01, "learning_rate": 0.005, "actor_learning_rate": 0.002, "weight_decay": 0.0}
    settings = settings_of(
        params, algorithm, **own, hidden=[32, 32], penalty=0.1, entropy_weight=0.01, real_fraction=0.05
    )
    policies = train(
        data, None, ("system", "real", algorithm), settings, SEEDS, device, None, lambda s: s[..., 0] < 100
    )
    policy, state = policy_of(policies, algorithm, settings, slice(-1, None)), torch.full((SEEDS, 1, 1), -1.0)
    path = []
    for _ in range(40):
        action, _ = policy((state - policies["mean"]) / policies["std"], None, None)
        state = 0.9 * state + 0.3 * action
        path.append(state[:, 0, 0])
    np.testing.assert_allclose(torch.stack(path[-10:]), 0.3, atol=0.1)
    assert (torch.stack(path)[5] > 0.0).all()  # with a = 1 it would be at 0.35

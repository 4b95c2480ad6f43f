"""Policies that are not one deterministic network, on problems whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.algorithms import rsp
from stages.common.transitions import Transitions, return_to_go
from stages.policy.acting import policy_of
from stages.policy.planning import Outlook
from stages.policy.trainer import acting, build_updates, train
from tests.conftest import settings_for

SEEDS, MODES, SPREAD = 3, (-0.6, 0.6), 0.05
HELD = 0.25  # least share of the actions near each mode: about half of the data's


@pytest.fixture(scope="module")
def bandit() -> Transitions:
    """One step from one state, worth the more, the nearer the action is to 0.6. The data act near -0.6 and near 0.6.

    A deterministic policy that imitates them acts near 0, where few are. Those are anywhere, so that Q is known between
    the modes.
    """
    rng = np.random.default_rng(0)
    actions = rng.choice(MODES, (4000, 1)) + SPREAD * rng.standard_normal((4000, 1))
    actions[:200] = rng.uniform(-1, 1, (200, 1))
    rewards = 1 - np.abs(actions[:, 0] - MODES[1])
    states = np.zeros((4000, 1))
    columns = states, actions.clip(-1, 1), rewards, states, np.zeros(4000)
    return Transitions(
        *(column.astype(np.float32) for column in columns), np.arange(4000, dtype=np.int32), np.zeros(4000, dtype=bool)
    )


def settings_of(params, algorithm: str, **changes) -> SimpleNamespace:
    settings = settings_for(params.policy, getattr(params, algorithm), "bandit")
    common = {"steps": 1000, "snapshot_every": 1000, "batch": 128, "hidden": [32, 32], "learning_rate": 0.003}
    vars(settings).update(common, reward_scale=1.0, tau=0.05, **changes)
    return settings


def settings_by_learner(one: float, other: float) -> torch.Tensor:
    """A weight in the loss that is `one` for the first `SEEDS` learners and `other` for as many more.

    So two policies are trained at once.
    """
    return torch.tensor([one, other]).repeat_interleave(SEEDS)


def actions_of(policies: dict, algorithm: str, settings) -> np.ndarray:
    """(learners, 1000) actions in the only state."""
    policy, learners = policy_of(policies, algorithm, settings, slice(-1, None)), len(policies["generators"])
    noise = torch.randn(learners, 1000, policy.noise, generator=torch.Generator().manual_seed(0))
    states = torch.zeros(learners, 1000, 1)
    return policy((states - policies["mean"]) / policies["std"], noise, None)[0][..., 0].numpy()


def near(actions: np.ndarray, mode: float) -> np.ndarray:
    """(seeds,) share of the actions near a mode."""
    return (np.abs(actions - mode) < 4 * SPREAD).mean(-1)


@pytest.mark.slow
def test_fql_distils_its_flow_and_picks_the_better_mode_if_q_outweighs_distillation(params, bandit, device):
    settings = settings_of(params, "fql", alpha=settings_by_learner(0.1, 1000.0))
    updates = build_updates(bandit, None, ("bandit", "real", "fql"), settings, 2 * SEEDS, device)
    for _ in range(settings.steps):
        updates()
    states = torch.zeros(2 * SEEDS, 1000, 1)
    noise = torch.randn(2 * SEEDS, 1000, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        flow = updates.learner.flow.transport(states, noise, 10)[..., 0].numpy()
    facts = {"mean": updates.batches.mean, "std": updates.batches.std, "generators": torch.zeros(2 * SEEDS)}
    policies = {name: weight[None] for name, weight in acting(updates.learner).items()} | facts
    chosen = actions_of(policies, "fql", settings)
    for mode in MODES:
        assert (near(flow, mode) > HELD).all()
        assert (near(chosen[SEEDS:], mode) > HELD).all()
    assert (near(chosen[:SEEDS], MODES[1]) > 0.9).all()


@pytest.fixture(scope="module")
def sorl(params, bandit) -> tuple[dict, SimpleNamespace]:
    """Policies and their settings: the first `SEEDS` only clone, the others also maximise Q."""
    settings = settings_of(params, "sorl", q_weight=settings_by_learner(0.0, 50.0), best_of=4)
    vars(settings).update(steps=600, learning_rate=0.005)
    policies = train(bandit, None, ("bandit", "real", "sorl"), settings, 2 * SEEDS, torch.device("cpu"))
    return policies, settings


def sorl_s_actions(sorl, act_steps: int, best_of: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(SEEDS, 1000) actions each, of the policies that clone and of those that also maximise Q."""
    policies, settings = sorl
    vars(settings).update(act_steps=act_steps, best_of=best_of)
    return np.split(actions_of(policies, "sorl", settings), 2)


@pytest.mark.slow
def test_sorl_holds_both_modes_in_any_number_of_steps_if_it_only_clones(sorl):
    for act_steps in (2, 4, 8):
        clones, _ = sorl_s_actions(sorl, act_steps)
        assert all((near(clones, mode) > HELD).all() for mode in MODES)


@pytest.mark.slow
def test_sorl_leaves_the_worse_mode_for_a_larger_q(sorl):
    """In up to four steps; through eight, Q's gradient takes more updates than these."""
    for act_steps in (1, 2, 4):
        _, chosen = sorl_s_actions(sorl, act_steps)
        assert (near(chosen, MODES[0]) < 0.05).all()
        assert (chosen.mean(-1) > 0.35).all()


@pytest.mark.slow
def test_of_several_actions_sorl_takes_the_one_with_the_largest_q(sorl):
    """One of four tries is near the better mode with probability 1 - (1 - p)⁴, for the share p of single tries."""
    single = near(sorl_s_actions(sorl, 8)[0], MODES[1])
    best = near(sorl_s_actions(sorl, 8, best_of=4)[0], MODES[1])
    np.testing.assert_allclose(best, 1 - (1 - single) ** 4, atol=0.15)


@pytest.mark.parametrize(
    ("algorithm", "changes", "passes"),
    [
        ("fql", {}, 1),
        ("rsp", {"skip": 1}, 2),
        ("sorl", {"act_steps": 4}, 4),
        ("sorl", {"act_steps": 2, "best_of": 3}, 3 * 2 + 3),
    ],
)
def test_policies_take_the_network_passes_that_they_state(params, bandit, device, algorithm, changes, passes):
    settings = settings_of(params, algorithm, **changes)
    vars(settings).update(steps=4, snapshot_every=4)
    policies = train(bandit, None, ("bandit", "real", algorithm), settings, SEEDS, device)
    policy, counted = policy_of(policies, algorithm, settings, slice(-1, None)), []
    for network in filter(lambda part: isinstance(part, torch.nn.Module), vars(policy).values()):
        network.register_forward_hook(lambda _, inputs, output: counted.append(inputs[0].shape[1]))
    policy(torch.zeros(SEEDS, 5, 1), torch.zeros(SEEDS, 5, policy.noise), None)
    assert policy.passes == sum(counted) / 5 == passes


def test_a_deterministic_policy_takes_one_pass(params, bandit, device):
    settings = settings_of(params, "td3bc")
    vars(settings).update(steps=4, snapshot_every=4)
    policies = train(bandit, None, ("bandit", "real", "td3bc"), settings, SEEDS, device)
    assert policy_of(policies, "td3bc", settings, slice(-1, None)).passes == 1


@pytest.fixture(scope="module")
def line() -> Transitions:
    """Episodes of 20 steps along a line: half of them go up and earn 1 a step, half go down and earn nothing."""
    directions = np.resize([1.0, -1.0], 40)
    states = np.cumsum(np.c_[np.zeros(40), np.repeat(0.1 * directions[:, None], 20, axis=1)], axis=1)[..., None]
    actions = np.repeat(directions, 20)[:, None] * 0.8
    rewards = np.repeat(directions > 0, 20)
    flat = states[:, :-1].reshape(-1, 1), actions, rewards, states[:, 1:].reshape(-1, 1), np.full(800, 0.99)
    timeouts = np.tile(np.arange(20) == 19, 40)
    return Transitions(
        *(part.astype(np.float32) for part in flat), np.repeat(np.arange(40, dtype=np.int32), 20), timeouts
    )


def test_rsp_plans_where_the_return_asked_for_leads_and_acts_to_get_there(params, line, device):
    settings = settings_of(params, "rsp", skip=4, target_quantile=1.0)
    ahead = rsp.columns(line, settings)
    progress, change = ahead.raw(line)
    np.testing.assert_allclose(progress, line.rewards, atol=1e-6)  # of what is left, over the steps that are left
    left = 19 - np.tile(np.arange(20), 40)
    np.testing.assert_allclose(change[:, 0], line.actions[:, 0] / 8 * np.minimum(4, left), atol=1e-5)
    policies = train(line, None, ("line", "real", "rsp"), settings, SEEDS, device)
    start = (torch.zeros(SEEDS, 1, 1) - policies["mean"]) / policies["std"]
    for asked, direction in ((1.0, 1), (0.0, -1)):
        target = torch.tensor([(asked - ahead.center) / ahead.scale], dtype=torch.float32)
        policy = policy_of({**policies, "constant.target": target}, "rsp", settings, slice(-1, None))
        assert asked == 0 or torch.equal(target, policies["constant.target"])
        state = torch.cat([start, target.expand(SEEDS, 1, 1)], dim=-1)
        planned = policy.planner(state)[..., 0] * ahead.spread[0] + ahead.shift[0]
        np.testing.assert_allclose(planned, direction * 0.4, atol=0.08)
        np.testing.assert_allclose(policy(start, None, None)[0], direction * 0.8, atol=0.1)


def test_saq_s_codes_hold_both_modes_and_a_small_temperature_picks_the_better(params, bandit, device):
    settings = settings_of(params, "saq", codes=64)
    settings.learning_rate = 0.005
    policies = train(bandit, None, ("bandit", "real", "saq"), settings, SEEDS, device)
    settings.temperature = 1000.0  # Q weighs nothing, so it acts as the data do
    chosen = actions_of(policies, "saq", settings)
    for mode in MODES:
        assert ((near(chosen, mode) > 0.3) & (near(chosen, mode) < 0.65)).all()
    settings.temperature = 0.05
    assert (near(actions_of(policies, "saq", settings), MODES[1]) > 0.9).all()
    settings.sample = False
    chosen = actions_of(policies, "saq", settings)
    assert (near(chosen, MODES[1]) == 1).all()
    assert (chosen == chosen[:, :1]).all()


@pytest.mark.slow
def test_gtp_holds_both_modes_in_any_number_of_jumps_and_leans_to_the_better(params, bandit, device):
    settings = settings_of(params, "gtp", eta=settings_by_learner(0.0, 3.0)[:, None], sigma_max=5.0, jumps=2)
    policies = train(bandit, None, ("bandit", "real", "gtp"), settings, 2 * SEEDS, device)
    for settings.jumps in (5, 10):
        clones, chosen = np.split(actions_of(policies, "gtp", settings), 2)
        assert all((near(clones, mode) > HELD).all() for mode in MODES)
        assert (near(chosen, MODES[1]) > 2 * near(chosen, MODES[0])).all()


PLANNERS = ("dd", "diffuser", "mpdiffuser")


def planning(params, algorithm: str, **changes) -> SimpleNamespace:
    settings = settings_of(params, algorithm, horizon=4, width=64, blocks=2, ema=0.99, normalize_states=True)
    vars(settings).update(changes)
    return settings


def first_actions(policies: dict, algorithm: str, settings, target: float | None = None, count=20) -> np.ndarray:
    """(seeds, count) actions at the start of the line; the return that plans aim at may be replaced."""
    if target is not None:
        policies = {**policies, "constant.target": torch.tensor([target], dtype=torch.float32)}
    policy = policy_of(policies, algorithm, settings, slice(-1, None))
    noise = torch.randn(SEEDS, count, policy.noise, generator=torch.Generator().manual_seed(0))
    start = (torch.zeros(SEEDS, count, 1) - policies["mean"]) / policies["std"]
    return policy(start, noise, None)[0][..., 0].numpy()


@pytest.mark.parametrize("algorithm", ["dd", "mpdiffuser"])
def test_a_planner_acts_for_the_return_that_it_is_asked_for(params, line, device, algorithm):
    settings = planning(params, algorithm, target_quantile=0.95, guidance=1.0)
    vars(settings).update(steps=400, learning_rate=0.005, width=32, ema=0.98)
    policies = train(line, None, ("line", "real", algorithm), settings, SEEDS, device)
    outlook = Outlook(line, settings)
    asked = np.quantile(return_to_go(line.rewards, line.episode, settings.discount), 0.95)
    assert policies["constant.target"].item() == pytest.approx((asked - outlook.center) / outlook.scale, rel=1e-4)
    np.testing.assert_allclose(first_actions(policies, algorithm, settings), 0.8, atol=0.2)
    if algorithm == "mpdiffuser":
        settings.candidates = 1  # the ranker would choose the plan that goes up, whatever was asked for
    nothing = -outlook.center / outlook.scale
    np.testing.assert_allclose(first_actions(policies, algorithm, settings, nothing), -0.8, atol=0.2)


@pytest.mark.slow
def test_diffuser_goes_both_ways_unless_the_value_guides_or_chooses(params, line, device):
    settings = planning(params, "diffuser", guidance=0.0, candidates=1)
    policies = train(line, None, ("line", "real", "diffuser"), settings, SEEDS, device)
    aimless = first_actions(policies, "diffuser", settings, count=200)
    for direction in (-0.8, 0.8):
        assert (np.abs(aimless - direction) < 0.2).mean(1).min() > 0.05
    settings.guidance = 1.0
    guided = first_actions(policies, "diffuser", settings, count=200)
    assert ((guided > 0.6).mean(1) > (aimless > 0.6).mean(1)).all()
    settings.guidance, settings.candidates = 0.0, 16
    assert (first_actions(policies, "diffuser", settings, count=200) > 0.6).mean() > 0.95


def test_mpdiffuser_s_ranker_adds_discounted_rewards_until_the_first_end(params, line, device):
    """A ranker that is told: the reward is the first change, the task ends where the action exceeds 0.5."""
    settings = planning(params, "mpdiffuser", steps=1, discount=0.5, end_penalty=10.0)
    policies = train(line, None, ("line", "real", "mpdiffuser"), settings, SEEDS, device)
    policy = policy_of(policies, "mpdiffuser", settings, slice(-1, None))
    policy.ranker = lambda inputs: torch.stack([inputs[..., 1], inputs[..., 2] - 0.5], dim=-1)
    plans = torch.zeros(SEEDS, 2, 4, 2)
    plans[..., 1] = torch.tensor([1.0, 2.0, 4.0, 8.0])
    plans[:, 1, 1:3, 0] = 1.0
    ranks = policy.ranks(torch.zeros(SEEDS, 2, 1), plans)
    torch.testing.assert_close(ranks, torch.tensor([[1 + 1 + 1 + 1.0, 1 + (2 - 10) / 2]] * SEEDS))


@pytest.mark.parametrize("algorithm", PLANNERS)
def test_a_plan_is_followed_for_as_many_steps_as_asked_for(params, line, device, algorithm):
    settings = planning(params, algorithm, steps=5, execute=3)
    policies = train(line, None, ("line", "real", algorithm), settings, SEEDS, device)
    policy, plans = policy_of(policies, algorithm, settings, slice(-1, None)), []
    plan = policy.plan
    policy.plan = lambda *given: plans.append(plan(*given)) or plans[-1]
    memory, taken = None, []
    for step in range(6):
        noise = torch.randn(SEEDS, 2, policy.noise, generator=torch.Generator().manual_seed(step))
        actions, memory = policy(torch.full((SEEDS, 2, 1), 0.1 * step), noise, memory)
        taken.append(actions)
    assert len(plans) == 2
    expected = torch.cat([each[:, :, :3] for each in plans], dim=2).clamp(-1, 1)
    torch.testing.assert_close(torch.stack(taken, dim=2), expected)

"""Policies that are not one deterministic network, on problems whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.common.transitions import Transitions
from stages.policy.acting import policy_of
from stages.policy.trainer import acting, build_updates, train
from tests.conftest import settings_for

SEEDS, MODES, SPREAD = 3, (-0.6, 0.6), 0.05


@pytest.fixture(scope="module")
def bandit() -> Transitions:
    """One step from one state, worth the more, the nearer the action is to 0.6. Nearly half of the actions are near -0.6 and 0.6 each.

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


def actions_of(policies: dict, algorithm: str, settings) -> np.ndarray:
    """(seeds, 1000) actions in the only state."""
    policy = policy_of(policies, algorithm, settings, slice(-1, None))
    noise = torch.randn(SEEDS, 1000, policy.noise, generator=torch.Generator().manual_seed(0))
    states = torch.zeros(SEEDS, 1000, 1)
    return policy((states - policies["mean"]) / policies["std"], noise, None)[0][..., 0].numpy()


def near(actions: np.ndarray, mode: float) -> np.ndarray:
    """(seeds,) share of the actions near a mode."""
    return (np.abs(actions - mode) < 4 * SPREAD).mean(-1)


def test_fql_s_flow_holds_both_modes_and_its_policy_picks_the_better(params, bandit, device):
    settings = settings_of(params, "fql", alpha=0.1)
    updates = build_updates(bandit, None, ("bandit", "real", "fql"), settings, SEEDS, device)
    for _ in range(settings.steps):
        updates()
    states, noise = torch.zeros(SEEDS, 1000, 1), torch.randn(SEEDS, 1000, 1, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        flow = updates.learner.flow.transport(states, noise, 10)[..., 0].numpy()
    for mode in MODES:
        assert (np.abs(near(flow, mode) - 0.5) < 0.1).all()
    facts = {"mean": updates.batches.mean, "std": updates.batches.std}
    policies = {name: weight[None] for name, weight in acting(updates.learner).items()} | facts
    assert (near(actions_of(policies, "fql", settings), MODES[1]) > 0.9).all()


def test_fql_s_policy_is_the_flow_s_if_distillation_outweighs_q(params, bandit, device):
    settings = settings_of(params, "fql", alpha=1000.0)
    chosen = actions_of(train(bandit, None, ("bandit", "real", "fql"), settings, SEEDS, device), "fql", settings)
    for mode in MODES:
        assert (np.abs(near(chosen, mode) - 0.5) < 0.15).all()

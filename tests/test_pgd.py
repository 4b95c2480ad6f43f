"""Guidance by a policy: the exact product of densities on standard normal actions, and on a linear system."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.baselines.pgd.__main__ import Policies, policy_guide, unconditional, window_sampler
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.policy import policies
from stages.policy.networks import Actor
from stages.world_model import train as diffusion
from stages.world_model.model import WorldModel
from tests.test_joint import TASK, A, B, K, small, system

__all__ = ["system"]  # the fixture


@pytest.mark.parametrize("strength", [0.0, 0.5, 4.0])
def test_standard_normal_actions_follow_the_product_of_both_densities(params, strength):
    """N(0, 1) times N(π, 1 / λ) is N(λ π / (1 + λ), 1 / (1 + λ)); all but the actions stay as they were."""
    model = WorldModel(2, 1, 3, False, params.diffusion, joint=True)
    model.process.denoise = lambda network, x, sigma, condition: x / (1 + sigma[:, None, None] ** 2)
    states, sampler = torch.zeros(20_000, 2), params.sampler.model_copy(update={"steps": 60, "method": "heun"})
    guide = policy_guide(model, lambda states: torch.full((*states.shape[:2], 1), 0.3), states, strength)
    given = states, torch.zeros(len(states), 1), torch.zeros(len(states))
    raw, inverse = [], model.normalizer.inverse
    model.normalizer.inverse = lambda z: raw.append(z) or inverse(z)
    model.sample(*given, unconditional(sampler), torch_stream("a"), guide=guide)
    steps = raw[-1]
    guided, others = steps[:, 1:, 1], torch.cat([steps[..., :1], steps[..., 2:]], dim=-1)
    assert guided.mean().item() == pytest.approx(0.3 * strength / (1 + strength), abs=0.015)
    assert guided.std().item() == pytest.approx((1 + strength) ** -0.5, rel=0.02)
    for untouched in (others, steps[:, 0, 1]):
        assert untouched.mean().item() == pytest.approx(0, abs=0.015)
        assert untouched.std().item() == pytest.approx(1, rel=0.02)


@pytest.fixture(scope="module")
def trained(params, system: Transitions):
    return diffusion.train(system, "linear", TASK, 0, small(params), torch.device("cpu"), joint=True)[0]


def test_guided_actions_come_nearer_to_the_policy_and_their_consequences_follow(params, trained, system):
    def policy(states):
        return -states @ torch.from_numpy(K.T).float()  # the opposite of the data's

    distances, starts = [], torch.arange(len(system))
    for strength in (0.0, 1.0, 10.0):
        sampler = params.sampler.model_copy(update={"steps": 12})
        given = params.model_copy(update={"sampler": sampler, "pgd": SimpleNamespace(guidance=strength)})
        states, actions, _, ended = window_sampler(system, TASK, trained, policy, given, torch_stream("a"))(starts)
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
    act, states = Policies(str(path), torch.device("cpu"), torch_stream("a")), torch.randn(7, 4, 2)
    normalised = (states - facts["mean"]) / facts["std"]
    for window in range(7):
        expected = actor(normalised[None, window].expand(3, -1, -1))[window % 3]
        torch.testing.assert_close(act(states)[window], expected.detach())


def test_unconditional_windows_cost_one_evaluation_a_step(params):
    assert evaluations(unconditional(params.sampler)) == params.sampler.steps
    assert evaluations(params.sampler) == 2 * params.sampler.steps

"""Where synthetic tasks end: the same choice, the environment's rule or a learned one, for every method."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.augment.imagine import window_sampler
from stages.baselines.dwm.__main__ import expand
from stages.baselines.onestep.rollout import rollout
from stages.baselines.onestep.train import build
from stages.baselines.synther.sample import sample
from stages.common.settings import shared
from stages.common.torch_setup import torch_stream
from stages.synthetic_data.generate import generate
from stages.synthetic_data.terminals import ended, rule_of, terminals_learned
from stages.world_model.train import train

HALF = SimpleNamespace(healthy=lambda states: states[..., 0] > 0, return_scale=10.0)  # ends about every other step
UNKNOWN = SimpleNamespace(healthy=None, return_scale=10.0)
DEVICE = torch.device("cpu")


def test_a_model_is_asked_only_if_no_rule_applies(episodes):
    assert rule_of(HALF, "rule") is HALF.healthy
    assert rule_of(HALF, "model") is rule_of(UNKNOWN, "rule") is None
    assert not terminals_learned(episodes, HALF, "rule")
    assert terminals_learned(episodes, HALF, "model")
    assert terminals_learned(episodes, UNKNOWN, "rule")
    endless = episodes.rows(episodes.discounts > 0)
    assert not terminals_learned(endless, HALF, "model")
    states = np.array([[[1.0], [-1.0]]])
    assert ended(states, HALF.healthy, np.array([[True, True]])).tolist() == [[False, True]]
    assert ended(states, None, np.array([[True, False]])).tolist() == [[True, False]]
    assert ended(states, None, None).tolist() == [[False, False]]


def small(params, terminals: str):
    diffusion = params.diffusion.model_copy(update={"steps": 5, "batch": 32})
    return params.model_copy(update={"diffusion": diffusion, "terminals": terminals})


def steps_of(method: str, episodes, params):
    """Next states and ends of what the method makes, and whether its model has a terminal output."""
    learned, healthy = terminals_learned(episodes, HALF, params.terminals), rule_of(HALF, params.terminals)
    stream = torch_stream("terminals", method)
    if method == "onestep":
        model = build(episodes, learned, "line", 0, shared(params.onestep.dynamics, params.budget))
        given = (torch.from_numpy(array) for array in (episodes.observations, episodes.actions))
        path, _, _, ends, _ = rollout(model, healthy, *given, 3, 0.0, stream)
        return path[:, 1:], ends, model.terminal
    if method == "synther":
        filled = params.model_copy(update={"synther": shared(params.synther, params.budget)})

        class Model:
            def sample(self, count, sampler, stream):
                states = np.random.default_rng(0).uniform(-1, 1, (count, 3)).astype(np.float32)
                actions = np.zeros((count, 2), np.float32)
                return states, actions, states[:, 0], -states, np.arange(count) % 3 == 0

        columns, _ = sample(episodes, healthy, Model(), filled, "synther", stream)
        return columns["next_observations"], columns["discounts"] == 0, True
    model = train(episodes, "line", HALF, 0, params, DEVICE, joint=True)[0]
    channel = model.sizes["terminal"]
    if method == "dwm":
        parts = [columns for columns, _ in expand(episodes, "line", HALF, 0, model, params, DEVICE)]
        merged = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return merged["next_observations"], merged["discounts"] == 0, channel
    sampler = window_sampler(episodes, HALF, model, None, params, stream)
    columns, _ = generate(episodes, sampler, params, method, stream)
    return columns["next_observations"], columns["discounts"] == 0, channel


@pytest.mark.parametrize("terminals", ["rule", "model"])
@pytest.mark.parametrize("method", ["joint", "dwm", "onestep", "synther"])  # DAWM's windows are sampled as joint's are
def test_every_method_ends_tasks_by_the_same_choice(params, episodes, method, terminals):
    following, ends, channel = steps_of(method, episodes, small(params, terminals))
    by_rule = ~HALF.healthy(following)
    assert by_rule.any()
    assert not by_rule.all()
    assert (ends == by_rule).all() == (terminals == "rule")
    assert channel == (terminals == "model" or method == "synther")  # SynthER's model always has the output

"""Evaluation, against one policy and one episode at a time."""

import numpy as np
import torch

from stages.common.algorithm_settings import settings_for
from stages.common.rng import seed_of
from stages.common.simulator import make
from stages.common.tasks import gym_mujoco
from stages.evaluate.__main__ import layers_of
from stages.evaluate.rollout import episodes
from stages.policy.trainer import train


def test_batched_episodes_are_the_same_as_single_ones(params, device, collected_hopper):
    settings = settings_for(params.policy, params.bc, "hopper-medium")
    policies = train(collected_hopper, None, ("hopper-medium", "real", "bc"), settings, 2, 20, device)
    names, task = ("evaluate", "hopper-medium"), gym_mujoco("hopper")
    layers = layers_of(policies, slice(-1, None))
    returns, lengths = episodes(task, layers, policies["mean"], policies["std"], 2, names)
    assert len(np.unique(returns)) == 4
    for learner in range(2):
        for k in range(2):
            env, total, steps = make(task.environment), 0.0, 0
            state, _ = env.reset(seed=seed_of(*names, k) % 2**31)
            ended = False
            while not ended:
                x = (torch.from_numpy(state.astype(np.float32)) - policies["mean"]) / policies["std"]
                for layer in range(3):
                    weight, bias = (
                        policies[f"actor.body.layers.{layer}.{part}"][-1, learner] for part in ("weight", "bias")
                    )
                    x = x @ weight + bias[0]
                    x = x.relu() if layer < 2 else x.tanh()
                state, reward, terminated, truncated, _ = env.step(x.numpy())
                total, steps, ended = total + reward, steps + 1, terminated or truncated
            assert lengths[learner, k] == steps
            np.testing.assert_allclose(returns[learner, k], total, rtol=1e-3)

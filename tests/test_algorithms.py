"""Each algorithm's updates, against a plain calculation: one seed at a time, textbook Adam, nothing shared with the
stages.
"""

import math

import numpy as np
import pytest
import torch

from stages.algorithms import bc, iql, td3bc
from stages.common.rng import torch_stream
from stages.policy.batches import Batch

SEEDS, BATCH, S, A, UPDATES = 3, 16, 4, 2, 5


class Plain:
    """One seed's network: lists of weights and biases with gradients, and Adam as in its paper."""

    def __init__(self, layers, extra=()):
        self.layers = [(w.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()) for w, b in layers]
        self.extra = [e.detach().clone().requires_grad_() for e in extra]
        self.weights = [p for pair in self.layers for p in pair] + self.extra
        self.m = [torch.zeros_like(p) for p in self.weights]
        self.v = [torch.zeros_like(p) for p in self.weights]
        self.t = 0

    def __call__(self, x):
        for w, b in self.layers[:-1]:
            x = torch.maximum(x @ w + b, torch.zeros(()))
        return x @ self.layers[-1][0] + self.layers[-1][1]

    def adam(self, loss, rate):
        self.t += 1
        for p, g, m, v in zip(self.weights, torch.autograd.grad(loss, self.weights), self.m, self.v, strict=True):
            m.copy_(0.9 * m + 0.1 * g)
            v.copy_(0.999 * v + 0.001 * g**2)
            p.data -= rate * (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + 1e-8)

    def copy(self):
        return Plain(self.layers, self.extra)

    def follow(self, other, tau):
        for p, q in zip(self.weights, other.weights, strict=True):
            p.data = (1 - tau) * p.data + tau * q.data


def plain(body, index, extra=()):
    return Plain([(layer.weight[index], layer.bias[index, 0]) for layer in body.layers], extra)


def agree(body, index, network):
    for layer, (w, b) in zip(body.layers, network.layers, strict=True):
        torch.testing.assert_close(layer.weight[index], w, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(layer.bias[index, 0], b, rtol=1e-8, atol=1e-10)


def batch_and_noise(k):
    rng = np.random.default_rng(k)

    def normal(*shape):
        return torch.from_numpy(rng.standard_normal(shape))

    states_and_actions = normal(SEEDS, BATCH, S + A)
    states_and_actions[..., S:] = states_and_actions[..., S:].tanh()
    discounts = 0.99 * torch.from_numpy(rng.integers(0, 2, (SEEDS, BATCH))).double()
    return Batch(states_and_actions, normal(SEEDS, BATCH), discounts, normal(SEEDS, BATCH, S)), normal(SEEDS, BATCH, A)


def learner(module, params, settings, data=None):
    streams = [torch_stream("test", seed) for seed in range(SEEDS)]
    config = params.policy.model_copy(update={"steps": 50})
    made = module.Learner(S, A, streams, config, settings, data, torch.device("cpu"))
    for part in vars(made).values():
        if isinstance(part, torch.nn.Module):
            part.double()
    return made


def test_td3bc_updates(params):
    c, made = params.td3bc, learner(td3bc, params, params.td3bc)
    rate = params.policy.learning_rate
    actors = [plain(made.actor.body, k) for k in range(SEEDS)]
    critics = [[plain(made.critic.body, k + twin * SEEDS) for twin in (0, 1)] for k in range(SEEDS)]
    target_actors, target_critics = [a.copy() for a in actors], [[q.copy() for q in pair] for pair in critics]
    for step in range(UPDATES):
        batch, noise = batch_and_noise(step)
        losses = made.update(batch, noise, step)
        for k in range(SEEDS):
            x, s2 = batch.states_and_actions[k], batch.next_states[k]
            s, a = x[:, :S], x[:, S:]
            with torch.no_grad():
                a2 = target_actors[k](s2).tanh() + torch.clip(c.policy_noise * noise[k], -c.noise_clip, c.noise_clip)
                x2 = torch.cat([s2, torch.clip(a2, -1, 1)], 1)
                q2 = torch.minimum(target_critics[k][0](x2), target_critics[k][1](x2))[:, 0]
                y = batch.rewards[k] + batch.discounts[k] * q2
            both = [((q(x)[:, 0] - y) ** 2).mean() for q in critics[k]]
            assert losses["critic_loss"][k].item() == pytest.approx(sum(both).item(), rel=1e-9)
            for q, loss in zip(critics[k], both, strict=True):
                q.adam(loss, rate)
            if step % 2 == 1:
                pi = actors[k](s).tanh()
                q = critics[k][0](torch.cat([s, pi], 1))[:, 0]
                loss = -c.alpha / q.abs().mean().detach() * q.mean() + ((pi - a) ** 2).mean()
                assert losses["actor_loss"][k].item() == pytest.approx(loss.item(), rel=1e-9)
                actors[k].adam(loss, rate)
                target_actors[k].follow(actors[k], c.tau)
                for target, online in zip(target_critics[k], critics[k], strict=True):
                    target.follow(online, c.tau)
    for k in range(SEEDS):
        agree(made.actor.body, k, actors[k])
        agree(made.target_actor.body, k, target_actors[k])
        for twin in (0, 1):
            agree(made.critic.body, k + twin * SEEDS, critics[k][twin])
            agree(made.target_critic.body, k + twin * SEEDS, target_critics[k][twin])


@pytest.mark.parametrize("deterministic", [True, False])
def test_iql_updates(params, episodes, deterministic):
    changes = {"deterministic_actor": deterministic, "normalize_reward": True, "tau": 0.1}
    c = params.iql.for_dataset("halfcheetah-medium").model_copy(update=changes)
    made, rate = learner(iql, params, c, episodes), params.policy.learning_rate
    returns = [episodes.rewards[episodes.episode == e].sum() for e in range(episodes.episode[-1] + 1)]
    scale = 1000 / (max(returns) - min(returns))
    extra = [[] if deterministic else [made.actor.log_std[k, 0]] for k in range(SEEDS)]
    actors = [plain(made.actor.body, k, extra[k]) for k in range(SEEDS)]
    critics = [[plain(made.critic.body, k + twin * SEEDS) for twin in (0, 1)] for k in range(SEEDS)]
    values = [plain(made.value, k) for k in range(SEEDS)]
    targets = [[q.copy() for q in pair] for pair in critics]
    for step in range(UPDATES):
        batch, noise = batch_and_noise(step)
        losses = made.update(batch, noise, step)
        for k in range(SEEDS):
            x, s2 = batch.states_and_actions[k], batch.next_states[k]
            s, a = x[:, :S], x[:, S:]
            q = torch.minimum(*(target(x)[:, 0] for target in targets[k])).detach()
            next_v = values[k](s2)[:, 0].detach()
            u = q - values[k](s)[:, 0]
            value_loss = (torch.abs(c.expectile - (u < 0).double()) * u**2).mean()
            y = scale * batch.rewards[k] + batch.discounts[k] * next_v
            both = [((critic(x)[:, 0] - y) ** 2).mean() for critic in critics[k]]
            w = torch.clip(torch.exp(c.beta * u.detach()), max=c.max_weight)
            mean = actors[k](s).tanh()
            if deterministic:
                cost = ((mean - a) ** 2).sum(1)
            else:
                cost = -torch.distributions.Normal(mean, actors[k].extra[0].exp()).log_prob(a).sum(1)
            actor_loss = (w * cost).mean()
            for name, loss in [("value_loss", value_loss), ("critic_loss", sum(both) / 2), ("actor_loss", actor_loss)]:
                assert losses[name][k].item() == pytest.approx(
                    loss.item(), rel=1e-6
                )  # the rewards' sum is float32 in one
            values[k].adam(value_loss, rate)
            for critic, loss in zip(critics[k], both, strict=True):
                critic.adam(loss / 2, rate)
            actors[k].adam(actor_loss, rate * 0.5 * (1 + math.cos(math.pi * step / 50)))
            for target, critic in zip(targets[k], critics[k], strict=True):
                target.follow(critic, c.tau)
    for k in range(SEEDS):
        agree(made.actor.body, k, actors[k])
        agree(made.value, k, values[k])
        if not deterministic:
            torch.testing.assert_close(made.actor.log_std[k, 0], actors[k].extra[0], rtol=1e-8, atol=1e-10)
        for twin in (0, 1):
            agree(made.critic.body, k + twin * SEEDS, critics[k][twin])
            agree(made.target_critic.body, k + twin * SEEDS, targets[k][twin])


def test_bc_updates(params):
    made = learner(bc, params, params.bc)
    actors = [plain(made.actor.body, k) for k in range(SEEDS)]
    for step in range(UPDATES):
        batch, noise = batch_and_noise(step)
        losses = made.update(batch, noise, step)
        for k in range(SEEDS):
            x = batch.states_and_actions[k]
            loss = ((actors[k](x[:, :S]).tanh() - x[:, S:]) ** 2).mean()
            assert losses["actor_loss"][k].item() == pytest.approx(loss.item(), rel=1e-9)
            actors[k].adam(loss, params.policy.learning_rate)
    for k in range(SEEDS):
        agree(made.actor.body, k, actors[k])


def test_iql_settings_are_the_data_set_s_own_where_corl_has_some(params):
    assert params.iql.for_dataset("hopper-medium-replay").deterministic_actor
    assert params.iql.for_dataset("hopper-medium-expert").expectile == 0.5
    assert params.iql.for_dataset("walker2d-medium").model_dump() == params.iql.model_dump(exclude={"exceptions"})

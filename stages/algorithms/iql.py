"""IQL (Kostrikov et al. 2021, arXiv 2110.06169): values by expectile regression, the actor by weighted behaviour
cloning.
"""

import math
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from stages.policy.networks import Actor, Mlp, TwinCritic, frozen, track


def reward_scale(data) -> float:
    """1000 / (best - worst episode return), IQL's normalisation of locomotion rewards."""
    returns = np.bincount(data.episode, weights=data.rewards)
    return float(1000 / (returns.max() - returns.min()))


class GaussianActor(Actor):
    """An actor whose actions spread about tanh of its output, by a deviation that does not depend on the state."""

    def __init__(self, state: int, action: int, hidden, streams):
        super().__init__(state, action, hidden, streams)
        self.log_std = nn.Parameter(torch.zeros(len(streams), 1, action))


class Learner:
    """All learners' actors, values, critics and target critics. Settings are the `iql` section; CORL's are its
    defaults.

    Q, V and actor take one joint step: each one's loss sees the others as they were before it, as in CORL's order of
    updates. Differs from the paper in nothing; discounts come with the transitions instead of a constant γ.
    """

    def __init__(self, state: int, action: int, streams, config, settings, data, device):
        self.settings, self.config = settings, config
        self.rewards_by = reward_scale(data) if settings.normalize_reward else 1.0
        kind = Actor if settings.deterministic_actor else GaussianActor
        self.actor = kind(state, action, config.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, config.hidden, streams).to(device)
        self.value = Mlp([state, *config.hidden, 1], streams).to(device)
        self.target_critic = frozen(deepcopy(self.critic))
        groups = [[*self.critic.parameters(), *self.value.parameters()], self.actor.parameters()]
        self.optimizer = torch.optim.Adam([{"params": group} for group in groups], lr=config.learning_rate, fused=True)

    def value_loss(self, advantage) -> torch.Tensor:
        """|τ - 1(u < 0)| u² of u = Q'(s, a) - V(s), eq. 5: (learners,)."""
        side = torch.where(advantage < 0, 1 - self.settings.expectile, self.settings.expectile)
        return (side * advantage.square()).mean(-1)

    def critic_loss(self, batch, next_value) -> torch.Tensor:
        """(r + d V(s') - Q(s, a))², eq. 6, the mean of both critics': (learners,)."""
        target = batch.rewards * self.rewards_by + batch.discounts * next_value
        return (self.critic(batch.states_and_actions) - target).square().mean((0, 2))

    def actor_loss(self, batch, advantage) -> torch.Tensor:
        """-exp(β (Q' - V)) log π(a | s), eq. 7, the weight clipped; squared error for a deterministic actor:
        (learners,).
        """
        weight = (self.settings.beta * advantage).exp().clamp(max=self.settings.max_weight)
        error = batch.actions - self.actor(batch.states)
        if self.settings.deterministic_actor:
            cost = error.square().sum(-1)
        else:
            log_std = self.actor.log_std.clamp(-20, 2)
            cost = (0.5 * (error / log_std.exp()).square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)
        return (weight * cost).mean(-1)

    def update(self, batch, normals, step: int) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            next_value = self.value(batch.next_states)[..., 0]
            q = self.target_critic(batch.states_and_actions).amin(0)
        advantage = q - self.value(batch.states)[..., 0]
        losses = {
            "value_loss": self.value_loss(advantage),
            "critic_loss": self.critic_loss(batch, next_value),
            "actor_loss": self.actor_loss(batch, advantage.detach()),
        }
        self.optimizer.param_groups[1]["lr"] = (
            self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.config.steps))
        )
        self.optimizer.zero_grad()
        sum(losses.values()).sum().backward()
        self.optimizer.step()
        track(self.target_critic, self.critic, self.settings.tau)
        return {name: loss.detach() for name, loss in losses.items()}

"""IQL (Kostrikov et al. 2021, arXiv 2110.06169): values by expectile regression, the actor by weighted behaviour
cloning.
"""

import math
from copy import deepcopy

import torch
from torch import nn

from stages.policy.networks import Actor, Mlp, TwinCritic, frozen, track
from stages.policy.optimizer import adam, descend


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

    period, compiled, next_actions = 1, ("targets", "value_loss", "critic_loss", "actor_loss"), False

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings = settings
        kind = Actor if settings.deterministic_actor else GaussianActor
        self.actor = kind(state, action, settings.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams).to(device)
        self.value = Mlp([state, *settings.hidden, 1], streams).to(device)
        self.target_critic = frozen(deepcopy(self.critic))
        self.updates = torch.zeros((), dtype=torch.float64, device=device)
        values = {"params": [*self.critic.parameters(), *self.value.parameters()]}
        actor = {"params": self.actor.parameters(), "lr": torch.tensor(settings.learning_rate, device=device)}
        self.optimizer = adam([values, actor], settings.learning_rate)

    @torch.no_grad()
    def targets(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """V(s') and min Q'(s, a): (learners, batch) each."""
        return self.value(batch.next_states)[..., 0], self.target_critic(batch.states_and_actions).amin(0)

    def value_loss(self, batch, q) -> tuple[torch.Tensor, torch.Tensor]:
        """|τ - 1(u < 0)| u² of u = Q'(s, a) - V(s), eq. 5: (learners,); and u: (learners, batch)."""
        advantage = q - self.value(batch.states)[..., 0]
        side = (self.settings.expectile - (advantage < 0).to(advantage)).abs()
        return (side * advantage.square()).mean(-1), advantage.detach()

    def critic_loss(self, batch, next_value) -> torch.Tensor:
        """(r + d V(s') - Q(s, a))², eq. 6, the mean of both critics': (learners,)."""
        target = batch.rewards + batch.discounts * next_value
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

    def update(self, batch, normals, phase: int) -> dict[str, torch.Tensor]:
        next_value, q = self.targets(batch)
        value_loss, advantage = self.value_loss(batch, q)
        losses = {
            "value_loss": value_loss,
            "critic_loss": self.critic_loss(batch, next_value),
            "actor_loss": self.actor_loss(batch, advantage),
        }
        cosine = (1 + torch.cos(self.updates * (math.pi / self.settings.steps))) / 2
        self.optimizer.param_groups[1]["lr"].copy_(self.settings.learning_rate * cosine)
        self.updates += 1
        descend(self.optimizer, sum(losses.values()))
        track(self.target_critic, self.critic, self.settings.tau)
        return {**{name: loss.detach() for name, loss in losses.items()}, "q": q.abs().mean(-1)}

"""IQL (Kostrikov et al. 2021, arXiv 2110.06169): expectile regression of values, weighted behaviour cloning."""

import math
from copy import deepcopy
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from stages.common.settings import Fraction, NonNegative, Probability, Rate, Section
from stages.policy.draws import Draw
from stages.policy.networks import Actor, Mlp, TwinCritic, frozen, track
from stages.policy.optimizer import adam, cosine, descend


class Settings(Section):
    """The settings that the section `iql` of params.yaml adds to those of `policy`."""

    expectile: Annotated[float, Field(gt=0, lt=1)]
    beta: NonNegative
    max_weight: Rate
    tau: Fraction
    deterministic_actor: bool
    actor_dropout: Probability


class GaussianActor(Actor):
    """A Gaussian policy with mean tanh(output) and a standard deviation that does not depend on the state."""

    def __init__(self, state: int, action: int, hidden, streams):
        super().__init__(state, action, hidden, streams)
        self.log_std = nn.Parameter(torch.zeros(len(streams), 1, action))


class Learner:
    """Actors, values, twin critics and target critics of all learners. The section's defaults are CORL's.

    Q, V and the actor take one joint step. Each loss sees the other networks as they were before the step, which equals
    CORL's sequence of updates. As in CORL, dropout (`actor_dropout`, 0.1 on Adroit) follows each hidden ReLU of the
    actor, in training only, and kept units are scaled by 1 / (1 - rate). Follows the paper, except that each transition
    brings its own discount instead of a constant γ.
    """

    phases, compiled = 1, ("targets", "value_loss", "critic_loss", "actor_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings = settings
        actor_class = Actor if settings.deterministic_actor else GaussianActor
        self.actor = actor_class(state, action, settings.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams).to(device)
        self.value = Mlp([state, *settings.hidden, 1], streams).to(device)
        self.target_critic = frozen(deepcopy(self.critic))
        rate, self.draws = settings.actor_dropout, {"normals": Draw("normal", action)}
        self.masks = [f"kept {layer}" for layer in range(len(settings.hidden) if rate else 0)]
        self.draws |= {
            name: Draw("kept", width, rate) for name, width in zip(self.masks, settings.hidden, strict=False)
        }
        self.updates = torch.zeros((), dtype=torch.float64, device=device)
        values = {"params": [*self.critic.parameters(), *self.value.parameters()]}
        actor = {"params": self.actor.parameters(), "lr": torch.tensor(settings.learning_rate, device=device)}
        self.optimizer = adam([values, actor], settings.learning_rate)

    @torch.no_grad()
    def targets(self, batch) -> tuple[torch.Tensor, torch.Tensor]:
        """V(s') and min Q'(s, a), each (learners, batch)."""
        return self.value(batch.next_states)[..., 0], self.target_critic(batch.states_and_actions).amin(0)

    def value_loss(self, batch, q) -> tuple[torch.Tensor, torch.Tensor]:
        """|τ - 1(u < 0)| u² with u = Q'(s, a) - V(s), eq. 5, (learners,); and u, (learners, batch)."""
        advantage = q - self.value(batch.states)[..., 0]
        side = (self.settings.expectile - (advantage < 0).to(advantage)).abs()
        return (side * advantage.square()).mean(-1), advantage.detach()

    def critic_loss(self, batch, next_value) -> torch.Tensor:
        """(r + d V(s') - Q(s, a))², eq. 6, averaged over both critics: (learners,)."""
        target = batch.rewards + batch.discounts * next_value
        return (self.critic(batch.states_and_actions) - target).square().mean((0, 2))

    def actor_loss(self, batch, advantage, dropout_masks=()) -> torch.Tensor:
        """-exp(β (Q' - V)) log π(a | s), eq. 7, with clipped weights: (learners,).

        For a deterministic actor, (π(s) - a)² replaces -log π(a | s).
        """
        weight = (self.settings.beta * advantage).exp().clamp(max=self.settings.max_weight)
        factors = [mask.to(advantage) / (1 - self.settings.actor_dropout) for mask in dropout_masks]
        error = batch.actions - self.actor(batch.states, factors)
        if self.settings.deterministic_actor:
            cost = error.square().sum(-1)
        else:
            log_std = self.actor.log_std.clamp(-20, 2)
            cost = (0.5 * (error / log_std.exp()).square() + log_std + 0.5 * math.log(2 * math.pi)).sum(-1)
        return (weight * cost).mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        next_value, q = self.targets(batch)
        value_loss, advantage = self.value_loss(batch, q)
        losses = {
            "value_loss": value_loss,
            "critic_loss": self.critic_loss(batch, next_value),
            "actor_loss": self.actor_loss(batch, advantage, [noise[name] for name in self.masks]),
        }
        rate = self.settings.learning_rate * cosine(self.updates, self.settings.steps)
        self.optimizer.param_groups[1]["lr"].copy_(rate)
        self.updates += 1
        descend(self.optimizer, sum(losses.values()))
        track(self.target_critic, self.critic, self.settings.tau)
        return {**{name: loss.detach() for name, loss in losses.items()}, "q": q.abs().mean(-1)}

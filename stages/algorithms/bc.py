"""Behaviour cloning: a deterministic actor imitates the actions of the data. The weakest baseline."""

import torch

from stages.common.settings import Section
from stages.policy.networks import Actor
from stages.policy.optimizer import adam, descend


class Settings(Section):
    """The section `bc` of params.yaml has no settings of its own; it only overrides those of `policy`."""


class Learner:
    """Minimises the squared error between the policy's action and that of the data.

    Differs from CORL's BC only in summing the loss over learners.
    """

    phases, compiled = 1, ("actor_loss",)

    def __init__(self, state: int, action: int, streams, settings, device):
        self.actor = Actor(state, action, settings.hidden, streams).to(device)
        self.optimizer = adam(self.actor.parameters(), settings.learning_rate)

    def actor_loss(self, batch) -> torch.Tensor:
        """(π(s) - a)², averaged over batch and action dimensions: (learners,)."""
        return (self.actor(batch.states) - batch.actions).square().mean((1, 2))

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        loss = self.actor_loss(batch)
        descend(self.optimizer, loss)
        return {"actor_loss": loss.detach()}

"""Behaviour cloning: a deterministic actor that copies the data's actions; the floor."""

import torch

from stages.policy.networks import Actor
from stages.policy.optimizer import adam, descend


class Learner:
    """Squared error to the action of the data.

    Differs from CORL's BC in nothing but that the loss is summed over learners.
    """

    period, compiled, next_actions = 1, ("actor_loss",), False

    def __init__(self, state: int, action: int, streams, settings, device):
        self.actor = Actor(state, action, settings.hidden, streams).to(device)
        self.optimizer = adam(self.actor.parameters(), settings.learning_rate)

    def actor_loss(self, batch) -> torch.Tensor:
        """(π(s) - a)², the mean over action dimensions too: (learners,)."""
        return (self.actor(batch.states) - batch.actions).square().mean((1, 2))

    def update(self, batch, normals, phase: int) -> dict[str, torch.Tensor]:
        loss = self.actor_loss(batch)
        descend(self.optimizer, loss)
        return {"actor_loss": loss.detach()}

"""Behaviour cloning: a deterministic actor that copies the data's actions; the floor."""

import torch

from stages.policy.networks import Actor


class Learner:
    """Squared error to the action of the data.

    Differs from CORL's BC in the loss's scale alone: summed over learners, and over action dimensions taken as a mean.
    """

    def __init__(self, state: int, action: int, streams, config, settings, data, device):
        self.actor = Actor(state, action, config.hidden, streams).to(device)
        self.optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.learning_rate, fused=True)

    def update(self, batch, normals, step: int) -> dict[str, torch.Tensor]:
        loss = (self.actor(batch.states) - batch.actions).square().mean((1, 2))
        self.optimizer.zero_grad()
        loss.sum().backward()
        self.optimizer.step()
        return {"actor_loss": loss.detach()}

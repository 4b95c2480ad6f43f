"""10 %-BC: behaviour cloning of the episodes with the largest returns, a tenth of them by default."""

import numpy as np
import torch

from stages.common.transitions import Transitions
from stages.policy.networks import Actor
from stages.policy.optimizer import adam, descend


def select(real: Transitions, settings) -> Transitions:
    """The rows of the best `fraction` of the episodes by undiscounted return, at least one.

    Synthetic transitions have no episodes; where a method adds them, all of them stay.
    """
    returns = real.returns()
    best = np.argsort(-returns, kind="stable")[: max(1, int(settings.fraction * len(returns)))]
    return real.rows(np.isin(real.episode, best))


class Learner:
    """Squared error to the action of the data, as in `bc.py`.

    Differs from CORL's 10 %-BC in what normalises states: all real data, as for every algorithm, not the best alone.
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

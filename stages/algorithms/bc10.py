"""10 %-BC: behaviour cloning of the episodes with the largest returns, by default the best tenth."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from stages.common.settings import Fraction, Section
from stages.common.transitions import Transitions
from stages.policy.networks import Actor
from stages.policy.optimizer import adam, descend


class Settings(Section):
    """The settings that the section `bc10` of params.yaml adds to those of `policy`."""

    fraction: Annotated[Fraction, Field(gt=0)]


def select(real: Transitions, settings) -> Transitions:
    """The rows of the best `fraction` of the episodes by undiscounted return, at least one episode.

    Synthetic transitions have no episodes; if a method adds them, all of them are used.
    """
    returns = real.returns()
    best = np.argsort(-returns, kind="stable")[: max(1, int(settings.fraction * len(returns)))]
    return real.rows(np.isin(real.episode, best))


class Learner:
    """Minimises the squared error between the policy's action and that of the data, as `bc.py` does.

    Differs from CORL's 10 %-BC in the normalisation of states, which uses the mean and standard deviation of all real
    data, as for every algorithm, not those of the best episodes. The class repeats `bc.py`'s because the pipeline
    tracks one file for each algorithm.
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

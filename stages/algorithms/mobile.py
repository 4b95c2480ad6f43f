"""MOBILE (Sun et al. 2023, ICML): SAC in a learned model, penalised where the models' Bellman estimates disagree."""

from typing import Annotated

import torch
from pydantic import Field

from stages.common.settings import Positive
from stages.policy.draws import Draw
from stages.policy.imagination import HeldOut, Imagining
from stages.policy.settings import OWN_TRANSITIONS, ModelBased

REAL_ONLY = OWN_TRANSITIONS
columns = HeldOut


class Settings(ModelBased):
    """The settings that the section `mobile` of params.yaml adds to those of `policy`."""

    elites: Annotated[int, Field(ge=2)]
    samples: Positive
    nonnegative_target: bool


class Learner(Imagining):
    """Ensembles, then SAC on real and imagined transitions. The critics' target is, on imagined rows,

        y = r - β std_k [mean_j min Q'(s'_kj, a'_kj)] + d min Q'(s', a')              Model-Bellman inconsistency

    with J = `samples` next states s'_kj of each elite k, actions a' ~ π, target critics Q' and β = `penalty`; the
    standard deviation has the divisor E - 1. Real rows have no penalty. For the rest see `Imagining` and `Sac`.

    Follows the authors' code, with MOPO's differences (`mopo.py`) and these: their target is never below 0, which is
    wrong where returns are negative, so `nonnegative_target` turns it off; OfflineRL-Kit's version leaves the entropy
    out of the target (`soft_target: false`), the authors' own includes it.
    """

    def __init__(self, state: int, action: int, streams, settings, device):
        super().__init__(state, action, streams, settings, device)
        count = settings.elites * settings.samples
        self.draws |= {"futures": Draw("normal", count * state), "reactions": Draw("normal", count * action)}

    @torch.no_grad()
    def inconsistency(self, states_and_actions, futures, reactions) -> torch.Tensor:
        """std_k mean_j min Q'(s'_kj, a'_kj): (learners, batch).

        Arguments:
            futures: (learners, batch, E · J · S), reactions: (learners, batch, E · J · A), standard normals.
        """
        shape = self.settings.elites, self.settings.samples

        def normals(numbers):  # → (learners, E, J, batch, width)
            return numbers.unflatten(-1, (*shape, -1)).permute(0, 2, 3, 1, 4)

        following = self.model.next_states(states_and_actions, normals(futures)).flatten(1, 3)
        actions, _ = self.actor.sample(following, normals(reactions).flatten(1, 3))
        q = self.target_critic(torch.cat([following, actions], dim=-1)).amin(0)
        return q.unflatten(1, (*shape, -1)).mean(2).std(1)

    @torch.no_grad()
    def target(self, batch, noise) -> torch.Tensor:
        """y, (learners, batch)."""
        real = self.real_rows(batch)
        parts = (part[:, real:] for part in (batch.states_and_actions, noise["futures"], noise["reactions"]))
        target = super().target(batch, noise)
        penalised = target[:, real:] - self.settings.penalty * self.inconsistency(*parts)
        target = torch.cat([target[:, :real], penalised], dim=1)
        return target.clamp(min=0) if self.settings.nonnegative_target else target

"""Settings of a forward model and its training."""

from typing import Annotated

from pydantic import Field, model_validator

from stages.common.settings import NonNegative, Positive, Widths
from stages.diffusion.settings import Trained


class Ensemble(Trained):
    """Size of the ensemble, and how it is trained."""

    members: Positive
    hidden: Widths
    weight_decay: NonNegative


class EliteEnsemble(Ensemble):
    """An ensemble whose elites are selected on a share `held_out` of the episodes."""

    elites: Positive
    held_out: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def elites_within_members(self):
        if self.elites > self.members:
            raise ValueError(f"elites = {self.elites} exceeds members = {self.members}")
        return self

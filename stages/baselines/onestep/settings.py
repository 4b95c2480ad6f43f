"""Record of the section `onestep` of params.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from stages.common.settings import Fraction, NonNegative, Positive, Section
from stages.forward_model.settings import Ensemble


class Dynamics(Ensemble):
    """The ensemble; its elites are selected on a share `held_out` of the episodes."""

    elites: Positive
    held_out: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def elites_within_members(self):
        if self.elites > self.members:
            raise ValueError(f"elites = {self.elites} exceeds members = {self.members}")
        return self


class Settings(Section):
    dynamics: Dynamics
    penalty: NonNegative
    real_fraction: Fraction | None

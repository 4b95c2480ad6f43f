"""Record of the section `onestep` of params.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from stages.common.settings import Fraction, NonNegative, Positive, Section, Widths
from stages.diffusion.settings import Trained


class Dynamics(Trained):
    members: Positive
    elites: Positive
    hidden: Widths
    weight_decay: NonNegative
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

"""The section `onestep` of params.yaml."""

from typing import Annotated

from pydantic import Field, model_validator

from stages.common.algorithm_settings import Fraction, NotNegative, Positive, Section, Widths
from stages.common.world_model_settings import Trained


class Dynamics(Trained):
    members: Positive
    elites: Positive
    hidden: Widths
    weight_decay: NotNegative
    held_out: Annotated[float, Field(gt=0, lt=1)]

    @model_validator(mode="after")
    def elites_are_members(self):
        if self.elites > self.members:
            raise ValueError(f"elites = {self.elites} of {self.members} members")
        return self


class Settings(Section):
    dynamics: Dynamics
    penalty: NotNegative
    real_fraction: Fraction | None

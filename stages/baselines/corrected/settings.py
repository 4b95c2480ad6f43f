"""Record of the section `corrected` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.common.settings import Fraction, Section
from stages.forward_model.settings import Ensemble


class Dynamics(Ensemble):
    loss: Literal["squared", "likelihood"]
    norm: bool


class Settings(Section):
    dynamics: Dynamics
    replaced: Literal["both", "states", "rewards"]
    rollout: bool
    kept: Annotated[float, Field(gt=0, le=1)]
    real_fraction: Fraction | None

    @model_validator(mode="after")
    def possible(self):
        if self.rollout and self.replaced == "rewards":
            raise ValueError("rollout = true replaces states, but replaced = 'rewards'")
        if self.kept < 1 and self.dynamics.members < 2:
            raise ValueError(f"kept = {self.kept:g} needs members that can disagree, but dynamics.members = 1")
        return self

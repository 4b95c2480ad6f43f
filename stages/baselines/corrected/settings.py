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
    replaced: Literal["both", "states", "rewards", "nothing"]
    rollout: bool
    kept: Annotated[float, Field(gt=0, le=1)]
    filter: Literal["disagreement", "agreement"]
    real_fraction: Fraction | None

    @model_validator(mode="after")
    def possible(self):
        if self.rollout and self.replaced in ("rewards", "nothing"):
            raise ValueError(f"rollout = true replaces states, but replaced = {self.replaced!r}")
        if self.kept < 1 and self.filter == "disagreement" and self.dynamics.members < 2:
            raise ValueError(f"kept = {self.kept:g} needs members that can disagree, but dynamics.members = 1")
        return self

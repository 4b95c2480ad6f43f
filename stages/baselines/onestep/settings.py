"""The section `onestep` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.algorithm_settings import Fraction, NotNegative, Positive, Section, Widths
from stages.common.world_model_settings import Trained


class Dynamics(Trained):
    members: Positive
    elites: Positive
    hidden: Widths
    weight_decay: NotNegative
    held_out: Annotated[float, Field(gt=0, lt=1)]


class Settings(Section):
    dynamics: Dynamics
    penalty: NotNegative
    real_fraction: Fraction | Literal["shared"]

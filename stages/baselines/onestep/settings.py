"""The section `onestep` of params.yaml."""

from typing import Annotated

from pydantic import Field

from stages.common.algorithm_settings import NotNegative, Positive, Section, Widths
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

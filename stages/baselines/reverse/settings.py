"""Record of the section `reverse` of params.yaml."""

from typing import Literal

from stages.baselines.onestep.settings import Dynamics
from stages.common.settings import Fraction, Section


class Settings(Section):
    dynamics: Dynamics
    policy: Literal["cloned", "uniform"]
    real_fraction: Fraction | None

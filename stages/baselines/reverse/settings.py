"""Record of the section `reverse` of params.yaml."""

from typing import Literal

from stages.common.settings import Fraction, Section
from stages.forward_model.settings import EliteEnsemble


class Settings(Section):
    dynamics: EliteEnsemble
    policy: Literal["cloned", "uniform"]
    real_fraction: Fraction | None

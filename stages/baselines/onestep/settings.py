"""Record of the section `onestep` of params.yaml."""

from stages.common.settings import Fraction, NonNegative, Rate, Section
from stages.forward_model.settings import EliteEnsemble


class Settings(Section):
    dynamics: EliteEnsemble
    advantage_temperature: Rate | None
    penalty: NonNegative
    real_fraction: Fraction | None

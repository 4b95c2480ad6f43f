"""Record of the section `pgd` of params.yaml."""

from stages.common.settings import Fraction, NonNegative, Section


class Settings(Section):
    algorithm: str
    guidance: NonNegative
    real_fraction: Fraction | None

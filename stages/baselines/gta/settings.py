"""Record of the section `gta` of params.yaml."""

from stages.common.settings import Fraction, Rate, Section


class Settings(Section):
    noise: Rate
    amplification: Rate
    real_fraction: Fraction | None

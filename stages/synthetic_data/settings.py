"""Record of the section `augment` of params.yaml, which applies to every method that imagines windows."""

from typing import Literal

from stages.common.settings import Fraction, NonNegative, Positive, Rate, Section, Shared


class Augment(Section):
    transitions: Shared
    batch: Positive
    starts: Literal["uniform", "return-weighted"]
    start_temperature: Rate
    margin: NonNegative
    max_drop: Fraction

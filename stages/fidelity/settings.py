"""The section `fidelity` of params.yaml."""

from typing import Annotated

from pydantic import Field

from stages.common.settings import Fraction, Positive, Section


class Fidelity(Section):
    transitions: Positive
    neighbours: Annotated[int, Field(ge=2)]
    starts: Positive
    asked: Annotated[list[Fraction], Field(min_length=3)]

"""Record of the section `dwm` of params.yaml."""

from typing import Annotated

from pydantic import Field

from stages.common.settings import Fraction, Positive, Section


class Settings(Section):
    futures: Positive
    lambda_returns: Annotated[list[Fraction], Field(min_length=1)]
    real_fraction: Fraction

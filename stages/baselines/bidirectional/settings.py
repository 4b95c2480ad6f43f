"""Record of the section `bidirectional` of params.yaml."""

from typing import Annotated

from pydantic import Field

from stages.common.settings import Fraction, Section


class Settings(Section):
    best: Annotated[float, Field(gt=0, le=1)]
    real_fraction: Fraction | None

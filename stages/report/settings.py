"""The section `report` of params.yaml."""

from typing import Annotated

from pydantic import Field

from stages.common.settings import Positive, Section


class Report(Section):
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]

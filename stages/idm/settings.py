"""The section `idm` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.settings import Rate, Section, Shared, Widths


class Idm(Section):
    """How the inverse dynamics model is built and trained."""

    head: Literal["mean", "gaussian"]
    hidden: Widths
    steps: Shared
    batch: Shared
    learning_rate: Rate
    held_out: Annotated[float, Field(gt=0, lt=1)]

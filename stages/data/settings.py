"""The sections `local` and `d4rl` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.settings import Positive, Section


class Local(Section):
    transitions: Positive | Literal["d4rl"]


class D4rl(Section):
    directory: Annotated[str, Field(min_length=1)]

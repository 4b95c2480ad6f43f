"""The sections `local` and `d4rl` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.settings import Positive, Section
from stages.tasks.tasks import D4RL_TRANSITIONS, parse

Share = Annotated[float, Field(gt=0, lt=1)]


class Local(Section):
    transitions: Positive | Share | Literal["d4rl"]

    def count(self, dataset: str) -> int:
        """Number of transitions of a local data set."""
        if isinstance(self.transitions, int):
            return self.transitions
        task, tier = parse(dataset)
        size = D4RL_TRANSITIONS[tier]
        size = size[task] if isinstance(size, dict) else size
        return size if self.transitions == "d4rl" else max(1, round(self.transitions * size))


class D4rl(Section):
    directory: Annotated[str, Field(min_length=1)]

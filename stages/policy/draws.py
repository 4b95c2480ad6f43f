"""The random numbers of an update, drawn in advance from each learner's own stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True)
class Draw:
    """What an update needs: for each element of the batch, so many independent numbers.

    Attributes:
        kind: "normal" (standard normal), "uniform" (in [0, 1)), "kept" (true with probability 1 - rate), or "row"
            (uniform in [0, 1), float64, to choose one of many rows).
    """

    kind: Literal["normal", "uniform", "kept", "row"]
    width: int
    rate: float = 0.0

    @property
    def dtype(self) -> torch.dtype:
        return {"kept": torch.bool, "row": torch.float64}.get(self.kind, torch.float32)

    def __call__(self, shape: Sequence[int], stream: torch.Generator) -> torch.Tensor:
        sample, dtype = torch.randn if self.kind == "normal" else torch.rand, self.dtype
        drawn = torch.float32 if dtype == torch.bool else dtype
        numbers = sample(shape, generator=stream, device=stream.device, dtype=drawn)
        return numbers >= self.rate if self.kind == "kept" else numbers


def draws_of(learner, action: int) -> dict[str, Draw]:
    """What a learner's updates take: its own `draws`, or "normals", one standard normal for each action dimension."""
    return getattr(learner, "draws", {"normals": Draw("normal", action)})


class Chunk:
    """Numbers for `count` updates of all learners: those that choose the batches, then those that the learner declares.

    Attributes:
        numbers: name → tensor (count, learners, batch, width), that of the batches (count, learners, batch) float64.
    """

    BATCH = "batch"

    def __init__(self, draws: dict[str, Draw], count: int, learners: int, batch: int, device: torch.device):
        self.draws = draws
        self.numbers = {self.BATCH: torch.empty(count, learners, batch, dtype=torch.float64, device=device)}
        for name, draw in draws.items():
            self.numbers[name] = torch.empty(count, learners, batch, draw.width, dtype=draw.dtype, device=device)

    def fill(self, streams: Sequence[torch.Generator]):
        """Draws new numbers, in the order in which they are declared; learner i's come from stream i."""
        for learner, stream in enumerate(streams):
            for name, numbers in self.numbers.items():
                part = numbers[:, learner]
                if name == self.BATCH:
                    part.copy_(torch.rand(part.shape, generator=stream, device=part.device, dtype=part.dtype))
                else:
                    part.copy_(self.draws[name](part.shape, stream))

    def at(self, position: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The numbers of one update: (learners, batch) for the batches; name → (learners, batch, width)."""
        numbers = {name: part.index_select(0, position)[0] for name, part in self.numbers.items()}
        return numbers.pop(self.BATCH), numbers

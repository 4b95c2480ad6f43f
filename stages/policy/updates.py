"""Runs a learner's updates: random numbers are drawn in advance, losses compiled, and updates captured on CUDA."""

from collections.abc import Callable
from functools import partial

import torch

from stages.common.capture import Captured
from stages.policy.batches import Batches
from stages.policy.draws import Chunk, draws_of

CHUNK = 100  # updates whose random numbers are drawn together


class Updates:
    """Each call makes one update of all learners.

    Each learner has its own random stream, so its policy does not depend on how many others train beside it. Random
    numbers are drawn outside the update, because a captured graph would replay those of its capture forever. For the
    same reason an update finds its numbers by a counter on the device, and copies its losses into fixed tensors.

    A learner's `refresh` runs before an update, outside the graphs. Its random streams are new ones, named after the
    number of updates made, so that no state of theirs need be saved.

    Arguments:
        streams: the learners' random streams, on the device.
        fresh: number of updates made → the learners' random streams of the refresh that follows.
        compiled: whether the learner's losses go through `torch.compile`.
        capture: see `Captured`; each phase of the updates is captured separately.

    Attributes:
        done: number of updates made.
        losses: those of the latest update, {name: (learners,) tensor}.
        chunk: the random numbers of `CHUNK` updates.
    """

    def __init__(
        self,
        learner,
        batches: Batches,
        streams: list[torch.Generator],
        fresh: Callable[[int], list[torch.Generator]],
        compiled: bool,
        capture=None,
    ):
        self.learner, self.batches, self.streams, self.fresh = learner, batches, streams, fresh
        for name in learner.compiled if compiled else ():
            setattr(learner, name, torch.compile(getattr(learner, name)))
        device, (learners, batch) = batches.rows.device, batches.first.shape
        self.chunk = Chunk(draws_of(learner, batches.sizes[1]), CHUNK, learners, batch, device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.phases = [Captured(partial(self.update, phase), capture) for phase in range(learner.phases)]
        self.phase_of = getattr(learner, "phase", lambda done: done % learner.phases)
        self.refreshes = getattr(learner, "refreshes", lambda done: False)
        self.done, self.losses = 0, {}

    def draw(self):
        """Draws the random numbers of the next chunk."""
        self.chunk_start = [stream.get_state() for stream in self.streams]
        self.chunk.fill(self.streams)
        self.position.zero_()

    def update(self, phase: int):
        uniforms, noise = self.chunk.at(self.position)
        for name, loss in self.learner.update(self.batches(uniforms), noise, phase).items():
            self.losses.setdefault(name, torch.empty_like(loss)).copy_(loss)
        self.position += 1

    def __call__(self):
        if self.done % CHUNK == 0:
            self.draw()
        if self.refreshes(self.done):
            self.learner.refresh(self.fresh(self.done))
        self.phases[self.phase_of(self.done)]()
        self.done += 1

    def state(self) -> dict:
        """Everything that later updates depend on."""
        streams = self.chunk_start if self.done % CHUNK else [stream.get_state() for stream in self.streams]
        parts = {name: part.state_dict() for name, part in self.parts().items()}
        return {"done": self.done, "parts": parts, "tensors": self.tensors(), "streams": streams}

    def restore(self, state: dict):
        """Continues from `state`; the random numbers of a partly used chunk are drawn again."""
        for name, part in self.parts().items():
            part.load_state_dict(state["parts"][name])
        for name, tensor in self.tensors().items():
            tensor.copy_(state["tensors"][name])
        self.done = state["done"]
        for stream, stream_state in zip(self.streams, state["streams"], strict=True):
            stream.set_state(stream_state.cpu())
        if self.done % CHUNK:
            self.draw()
            self.position += self.done % CHUNK

    def parts(self) -> dict:
        """The learner's networks and optimisers."""
        return {name: part for name, part in vars(self.learner).items() if hasattr(part, "load_state_dict")}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The learner's tensors outside networks and optimisers."""
        return {name: part for name, part in vars(self.learner).items() if torch.is_tensor(part)}

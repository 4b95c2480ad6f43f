"""Runs a learner's updates: random numbers drawn in advance, losses compiled, on CUDA each update a captured graph."""

from functools import partial

import torch

from stages.common.capture import Captured
from stages.policy.batches import Batches

CHUNK = 100  # updates whose random numbers are drawn at once


class Updates:
    """Calling it makes one update of all learners.

    Each learner has a random stream of its own, so that its policy does not depend on its company. The numbers are
    drawn before the update that uses them: a captured graph would replay its own for ever. Likewise an update finds its
    place in them by a counter on the device, and leaves its losses in tensors that stay where they are.

    Arguments:
        streams: of the learners, on the device.
        compiled: whether the learner's losses go through `torch.compile`.
        capture: see `Captured`; each kind of update is captured apart.

    Attributes:
        done: how many updates were made.
        losses: of the latest update, {name: (learners,) tensor}.
    """

    def __init__(self, learner, batches: Batches, streams: list[torch.Generator], compiled: bool, capture=None):
        self.learner, self.batches, self.streams = learner, batches, streams
        for name in learner.compiled if compiled else ():
            setattr(learner, name, torch.compile(getattr(learner, name)))
        device, (learners, batch) = batches.rows.device, batches.first.shape
        self.uniforms = torch.empty(CHUNK, learners, batch, dtype=torch.float64, device=device)
        self.normals = torch.empty(CHUNK, learners, batch, batches.sizes[1], device=device)
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self.kinds = [Captured(partial(self.update, phase), capture) for phase in range(learner.period)]
        self.done, self.losses = 0, {}

    def draw(self):
        """The next chunk's random numbers."""
        self.drawn_from = [stream.get_state() for stream in self.streams]
        for learner, stream in enumerate(self.streams):
            for numbers, kind in ((self.uniforms, torch.rand), (self.normals, torch.randn)):
                own = numbers[:, learner]
                own.copy_(kind(own.shape, generator=stream, device=own.device, dtype=own.dtype))
        self.place.zero_()

    def update(self, phase: int):
        uniforms, normals = (numbers.index_select(0, self.place)[0] for numbers in (self.uniforms, self.normals))
        for name, loss in self.learner.update(self.batches(uniforms), normals, phase).items():
            self.losses.setdefault(name, torch.empty_like(loss)).copy_(loss)
        self.place += 1

    def __call__(self):
        if self.done % CHUNK == 0:
            self.draw()
        self.kinds[self.done % self.learner.period]()
        self.done += 1

    def state(self) -> dict:
        """All that the updates to come depend on."""
        streams = self.drawn_from if self.done % CHUNK else [stream.get_state() for stream in self.streams]
        parts = {name: part.state_dict() for name, part in self.parts().items()}
        return {"done": self.done, "parts": parts, "tensors": self.tensors(), "streams": streams}

    def restore(self, state: dict):
        """Goes on where `state` was taken; what was used of the chunk begun there is drawn again."""
        for name, part in self.parts().items():
            part.load_state_dict(state["parts"][name])
        for name, tensor in self.tensors().items():
            tensor.copy_(state["tensors"][name])
        self.done = state["done"]
        for stream, begin in zip(self.streams, state["streams"], strict=True):
            stream.set_state(begin.cpu())
        if self.done % CHUNK:
            self.draw()
            self.place += self.done % CHUNK

    def parts(self) -> dict:
        """The learner's networks and optimisers."""
        return {name: part for name, part in vars(self.learner).items() if hasattr(part, "load_state_dict")}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The learner's own tensors."""
        return {name: part for name, part in vars(self.learner).items() if torch.is_tensor(part)}

"""A denoiser under way: its random numbers, a world model's loss, and the update that improves any denoiser."""

import math
import sys

import torch

from stages.common.capture import Captured, graph
from stages.common.checkpoint import Checkpoint
from stages.common.progress import progress
from stages.diffusion.windows import Windows
from stages.diffusion.world_model import WorldModel

MARKS = 10  # evenly spaced in a training, where it is looked at and saved
FORGET = 0.005  # of the training loss at each update, in its moving average


def learning_rate(step: int, steps: int, schedule: str) -> float:
    """The factor on the learning rate at `step` of `steps`: 1, or half a cosine from 1 to 0."""
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / steps))


class Draws:
    """The random numbers of one update, in tensors that stay where they are, so that a captured update can read them.

    Arguments:
        rows: of the data, that may be drawn; count: B, of a batch; shape: of one clean sample.

    Attributes:
        starts: (B,) among `rows`; hide: (B,) uniform, small where the return-to-go is hidden.
        normal, uniform, noise: see `WorldModel.loss`.
    """

    def __init__(self, rows: torch.Tensor, count: int, shape: tuple[int, ...]):
        self.rows, device = rows, rows.device
        self.starts = torch.zeros(count, dtype=torch.long, device=device)
        self.hide, self.normal, self.uniform = (torch.zeros(count, device=device) for _ in range(3))
        self.noise = torch.zeros(count, *shape, device=device)

    def __call__(self, stream: torch.Generator):
        torch.randint(len(self.rows), self.starts.shape, generator=stream, out=self.starts)
        for uniform in (self.hide, self.uniform):
            uniform.uniform_(generator=stream)
        for normal in (self.normal, self.noise):
            normal.normal_(generator=stream)


def windows_loss(model: WorldModel, windows: Windows, draws: Draws, hidden: float) -> torch.Tensor:
    """The loss on the windows drawn; the return-to-go is hidden with that probability."""
    starts = draws.rows[draws.starts]
    steps, exists = windows(starts)
    states = windows.states[starts]
    condition = model.condition(
        states, windows.actions[starts], windows.returns[starts], (draws.hide >= hidden).float()
    )
    steps = model.normalizer(model.relative(steps, states))
    return model.loss(steps, exists, condition, draws.normal, draws.uniform, draws.noise)


class Training:
    """A denoiser under way; calling it makes one update.

    On CUDA the network computes in bfloat16, its weights and everything around it stay in float32, and the update is a
    captured graph.

    Arguments:
        network: what learns.
        loss: () tensor of what `draws` holds.
        config: a `Trained` section.
        stream: what the draws come from.
        adam: other options of torch's Adam.
    """

    def __init__(self, network, loss, draws: Draws, config, stream: torch.Generator, **adam):
        self.draws, self.config, self.stream = draws, config, stream
        device = draws.rows.device
        cuda = device.type == "cuda"
        self.rate = torch.tensor(config.learning_rate, device=device)
        self.weights = list(network.parameters())
        self.average = [weight.detach().clone() for weight in self.weights]
        self.optimizer = torch.optim.Adam(self.weights, lr=self.rate, fused=True, **adam)
        self.optimizer.param_groups[0]["capturable"] = cuda
        self.precise = config.precision == "float32" or (config.precision == "auto" and not cuda)
        compiled = cuda if config.compile == "auto" else config.compile
        self.own_loss = loss
        self.loss = torch.compile(self.cast_loss) if compiled else self.cast_loss
        self.update = Captured(self.descend, graph if cuda else None)
        self.recent, self.done = torch.zeros((), device=device), 0

    def cast_loss(self):
        with torch.autocast(self.rate.device.type, torch.bfloat16, enabled=not self.precise):
            return self.own_loss(self.draws)

    def descend(self):
        loss = self.loss()
        for weight, gradient in zip(self.weights, torch.autograd.grad(loss, self.weights), strict=True):
            weight.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.recent.lerp_(loss.detach(), FORGET)

    def __call__(self):
        self.draws(self.stream)
        self.rate.fill_(self.config.learning_rate * learning_rate(self.done, self.config.steps, self.config.schedule))
        self.update()
        self.done += 1
        if self.done % self.config.ema_every == 0:
            with torch.no_grad():
                torch._foreach_lerp_(self.average, self.weights, 1 - self.config.ema)

    @torch.no_grad()
    def validate(self, loss) -> float:
        """What `loss()` is with the averaged weights."""
        self.swap()
        found = loss().item()
        self.swap()
        return found

    def training_loss(self) -> float:
        """A moving average over the latest updates."""
        return self.recent.item() / (1 - (1 - FORGET) ** self.done)

    def swap(self):
        """Puts the average in the network's place, and the network's weights in the average's."""
        with torch.no_grad():
            for weight, mean in zip(self.weights, self.average, strict=True):
                kept = weight.clone()
                weight.copy_(mean)
                mean.copy_(kept)

    def state(self) -> dict:
        """All that the updates to come depend on."""
        return {
            "done": self.done,
            "weights": self.weights,
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "recent": self.recent,
            "stream": self.stream.get_state(),
        }

    def restore(self, state: dict):
        with torch.no_grad():
            for name in ("weights", "average"):
                for mine, saved in zip(getattr(self, name), state[name], strict=True):
                    mine.copy_(saved)
            self.recent.copy_(state["recent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.stream.set_state(state["stream"].cpu())
        self.done = state["done"]


def run(training: Training, what: str, checkpoint: Checkpoint | None, name: str, losses=dict) -> list[dict]:
    """All updates; then the averaged weights take the network's place, whatever the losses say.

    Arguments:
        what: of which generator, for messages.
        checkpoint: where training goes on, if it is there, and is saved, under `name`; the caller discards it.
        losses: called at each mark for {name: float} beside the training loss.

    Returns:
        the marks, [{"step", "training", and the others}].

    Raises:
        SystemExit: where a loss is not finite.
    """
    steps, curve = training.config.steps, []
    if checkpoint and (saved := checkpoint.load(name)):
        training.restore(saved["training"])
        curve = saved["curve"]
        print(f"{what}: goes on after update {training.done:,}, from its checkpoint", file=sys.stderr)
    marks = {round(steps * mark / MARKS) for mark in range(1, MARKS + 1)}
    for _ in progress(range(training.done, steps), what):
        training()
        if training.done in marks:
            found = {"training": training.training_loss(), **losses()}
            if not all(math.isfinite(loss) for loss in found.values()):
                raise SystemExit(f"{what}: the loss is not finite at step {training.done}: {found}")
            curve.append({"step": training.done, **found})
            if checkpoint:
                checkpoint.save(name, {"training": training.state(), "curve": curve})
    training.swap()
    return curve

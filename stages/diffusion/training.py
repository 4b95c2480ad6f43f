"""The training loop of all generators: random numbers, updates, moving average of the weights, checkpoints."""

import math
import sys

import torch

from stages.common.capture import Captured, graph
from stages.common.checkpoint import Checkpoint
from stages.common.descent import descend
from stages.common.progress import progress

MARKS = 10  # evenly spaced updates at which losses are recorded and a checkpoint is saved
FORGET = 0.005  # weight of the latest update in the training loss's moving average


def learning_rate(step: int, steps: int, schedule: str) -> float:
    """The factor of the learning rate at `step` of `steps`: constant at 1, or half a cosine from 1 to 0."""
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / steps))


class UpdateNoise:
    """The random numbers of one update, in fixed tensors, as a captured graph requires.

    Arguments:
        rows: (N,) indices of the training data; count: batch size B; shape: of one clean sample.

    Attributes:
        starts: (B,) positions in `rows`.
        hide: (B,) uniform; the return-to-go is hidden where it is below the null probability.
        normal, uniform, noise: see `WorldModel.loss`.
    """

    def __init__(self, rows: torch.Tensor, count: int, shape: tuple[int, ...]):
        self.rows, device = rows, rows.device
        self.starts = torch.zeros(count, dtype=torch.long, device=device)
        self.hide, self.normal, self.uniform = (torch.zeros(count, device=device) for _ in range(3))
        self.noise = torch.zeros(count, *shape, device=device)

    def __call__(self, stream: torch.Generator):
        """Draws all numbers anew."""
        torch.randint(len(self.rows), self.starts.shape, generator=stream, out=self.starts)
        for uniform in (self.hide, self.uniform):
            uniform.uniform_(generator=stream)
        for normal in (self.normal, self.noise):
            normal.normal_(generator=stream)


class Training:
    """A network in training; each call makes one update.

    On CUDA the update is a captured graph. `auto` precision is bfloat16 with float32 weights there, else float32.

    Arguments:
        network: the network to train.
        loss: function of `draws` → () tensor.
        draws: the random numbers of an update.
        config: a `Trained` section.
        stream: the random generator behind the draws.
        adam: further options of torch's Adam.
    """

    def __init__(self, network, loss, draws: UpdateNoise, config, stream: torch.Generator, **adam):
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
        self.plain_loss = loss
        self.loss = torch.compile(self.cast_loss) if compiled else self.cast_loss
        self.update = Captured(self.descend, graph if cuda else None)
        self.recent, self.done = torch.zeros((), device=device), 0

    def cast_loss(self):
        with torch.autocast(self.rate.device.type, torch.bfloat16, enabled=not self.precise):
            return self.plain_loss(self.draws)

    def descend(self):
        loss = self.loss()
        descend(self.optimizer, loss)
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
        """Evaluates `loss()` with the averaged weights."""
        self.swap()
        value = loss().item()
        self.swap()
        return value

    def training_loss(self) -> float:
        """The bias-corrected moving average of the loss over the latest updates."""
        return self.recent.item() / (1 - (1 - FORGET) ** self.done)

    def swap(self):
        """Swaps the network's weights with their moving average."""
        with torch.no_grad():
            for weight, mean in zip(self.weights, self.average, strict=True):
                backup = weight.clone()
                weight.copy_(mean)
                mean.copy_(backup)

    def state(self) -> dict:
        """Everything that later updates depend on."""
        return {
            "done": self.done,
            "weights": self.weights,
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "recent": self.recent,
            "stream": self.stream.get_state(),
        }

    def restore(self, state: dict):
        """Continues from what `state` returned."""
        with torch.no_grad():
            for name in ("weights", "average"):
                for current, saved in zip(getattr(self, name), state[name], strict=True):
                    current.copy_(saved)
            self.recent.copy_(state["recent"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer.param_groups[0]["lr"] = self.rate
        self.stream.set_state(state["stream"].cpu())
        self.done = state["done"]


def run(training: Training, title: str, checkpoint: Checkpoint | None, name: str, losses=dict) -> list[dict]:
    """Makes all remaining updates, then replaces the network's weights by their moving average.

    Arguments:
        title: name of the generator, for messages.
        checkpoint: training resumes from its entry `name` if there is one, and saves to it; the caller discards it.
        losses: returns further losses, {name: float}, and is called at each mark.

    Returns:
        the learning curve, [{"step", "training", and the further losses}].

    Raises:
        SystemExit: if a loss is not finite.
    """
    steps, curve = training.config.steps, []
    if checkpoint and (saved := checkpoint.load(name)):
        training.restore(saved["training"])
        curve = saved["curve"]
        print(f"{title}: resumes after update {training.done:,} from its checkpoint", file=sys.stderr)
    marks = {round(steps * mark / MARKS) for mark in range(1, MARKS + 1)}
    for _ in progress(range(training.done, steps), title):
        training()
        if training.done in marks:
            current = {"training": training.training_loss(), **losses()}
            if not all(math.isfinite(loss) for loss in current.values()):
                raise SystemExit(f"{title}: the loss is not finite at step {training.done}: {current}")
            curve.append({"step": training.done, **current})
            if checkpoint:
                checkpoint.save(name, {"training": training.state(), "curve": curve})
    training.swap()
    return curve

"""Trains the world model of one generator."""

from functools import partial

import torch

from stages.common.checkpoint import Checkpoint
from stages.common.rng import numpy_stream, seed_of
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import Training, UpdateNoise, run
from stages.synthetic_data.cost import parameter_count
from stages.synthetic_data.terminals import terminals_learned
from stages.world_model.model import WorldModel
from stages.world_model.windows import Windows

VALIDATION_WINDOWS = 8192


def windows_loss(model: WorldModel, windows: Windows, draws: UpdateNoise, hidden: float) -> torch.Tensor:
    """The loss on the drawn windows; each return-to-go is hidden with probability `hidden`."""
    starts = draws.rows[draws.starts]
    steps, exists = windows(starts)
    states = windows.states[starts]
    condition = model.condition(
        states, windows.actions[starts], windows.returns[starts], (draws.hide >= hidden).float()
    )
    steps = model.normalizer(model.relative(steps, states))
    return model.loss(steps, exists, condition, draws.normal, draws.uniform, draws.noise)


def train(
    data: Transitions,
    dataset: str,
    task,
    generator: int,
    params,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    joint: bool = False,
) -> tuple[WorldModel, dict]:
    """Trains one generator's world model and keeps the last moving average of its weights, regardless of validation.

    Arguments:
        task: gives the return scale, and the rule for terminals if it is known.
        params: has `horizon`, `terminals`, `discount` and `diffusion`.
        checkpoint: training resumes from it if it has been saved before; the caller discards it.
        joint: whether the model imagines actions too; the names of its random streams then begin with `joint`.

    Returns:
        the model, and {"training_loss", "validation_loss", "parameters", "curve"}. The validation loss is that of the
        averaged weights on windows of held-out episodes; without held-out episodes it is left out. The curve is
        `training.run`'s.

    Raises:
        SystemExit: if a loss is not finite.
    """
    config, name = params.diffusion, "joint" if joint else "diffusion"
    terminal = terminals_learned(data, task, params.terminals)
    windows = Windows(data, params.horizon, params.discount, task.return_scale, terminal, device, joint)
    torch.manual_seed(seed_of(name, dataset, generator, "weights"))
    sizes = data.observations.shape[1], data.actions.shape[1], params.horizon, terminal
    model = WorldModel(*sizes, config, joint).to(device)
    model.fit(windows.states, windows.steps)

    held_out = data.held_out(config.held_out, numpy_stream("diffusion", dataset, "held out"))
    training_rows, validation_rows = (torch.from_numpy(mask.nonzero()[0]).to(device) for mask in (~held_out, held_out))
    shape = params.horizon, model.step
    draws = UpdateNoise(training_rows, config.batch, shape)
    validation = UpdateNoise(validation_rows, VALIDATION_WINDOWS, shape)
    if held_out.any():
        validation(torch_stream(name, dataset, "validation", device=device))
    loss = partial(windows_loss, model, windows)
    stream = torch_stream(name, dataset, generator, device=device)
    training = Training(model.network, partial(loss, hidden=config.null_probability), draws, config, stream)

    def losses():
        if not held_out.any():
            return {}
        return {"validation": training.validate(partial(loss, validation, hidden=0.0))}

    curve = run(training, f"{name} {dataset} {generator}", checkpoint, f"generator-{generator}", losses)
    last = {f"{kind}_loss": value for kind, value in curve[-1].items() if kind != "step"}
    return model.eval(), {**last, "parameters": parameter_count(model.network), "curve": curve}

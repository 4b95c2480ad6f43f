"""Trains one world model."""

from functools import partial

import torch

from stages.common.checkpoint import Checkpoint
from stages.common.rng import numpy_stream, seed_of, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import Draws, Training, run, windows_loss
from stages.diffusion.windows import Windows
from stages.diffusion.world_model import WorldModel

VALIDATION_WINDOWS = 8192


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
    """The world model of that generator: the moving average of its weights at the end, whatever the validation says.

    Arguments:
        task: of the data set, for its return scale and its rule for terminals.
        params: has `horizon`, `discount` and `diffusion`.
        checkpoint: where training goes on, if it is there, and is saved; the caller discards it.
        joint: whether it imagines actions too; the random streams have that name then.

    Returns:
        the model, and {"training_loss", "parameters", "validation_loss" (of the last average, on windows of held-out
        episodes), "validation_curve" (the same along the training)}; losses as `WorldModel.loss`.

    Raises:
        SystemExit: where a loss is not finite.
    """
    config, name = params.diffusion, "joint" if joint else "diffusion"
    what = f"{name} {dataset} {generator}"
    terminal = task.healthy is None and bool((data.discounts == 0).any())
    windows = Windows(data, params.horizon, params.discount, task.return_scale, terminal, device, joint)
    torch.manual_seed(seed_of(name, dataset, generator, "weights"))
    sizes = data.observations.shape[1], data.actions.shape[1], params.horizon, terminal
    model = WorldModel(*sizes, config, joint).to(device)
    model.fit(windows.states, windows.steps)

    held_out = data.held_out(config.held_out, numpy_stream("diffusion", dataset, "held out"))
    seen, unseen = (torch.from_numpy(rows.nonzero()[0]).to(device) for rows in (~held_out, held_out))
    shape = params.horizon, model.step
    draws, unseen = Draws(seen, config.batch, shape), Draws(unseen, VALIDATION_WINDOWS, shape)
    if held_out.any():
        unseen(torch_stream(name, dataset, "validation", device=device))
    loss = partial(windows_loss, model, windows)
    stream = torch_stream(name, dataset, generator, device=device)
    training = Training(model.network, partial(loss, hidden=config.null_probability), draws, config, stream)

    def losses():
        if not held_out.any():
            return {}
        return {"validation": training.validate(partial(loss, unseen, hidden=0.0))}

    curve = run(training, what, checkpoint, f"generator-{generator}", losses)
    parameters = sum(weight.numel() for weight in training.weights)
    last = {f"{name}_loss": loss for name, loss in curve[-1].items() if name != "step"}
    return model.eval(), {**last, "parameters": parameters, "curve": curve}

"""Trains one world model."""

import math

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from stages.common.progress import progress
from stages.common.rng import numpy_stream, seed_of, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.windows import Windows
from stages.diffusion.world_model import WorldModel

VALIDATION_WINDOWS = 8192


def learning_rate(step: int, steps: int, schedule: str) -> float:
    """The factor on the learning rate at `step` of `steps`: 1, or half a cosine from 1 to 0."""
    return 1.0 if schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / steps))


def draw_loss(model: WorldModel, windows: Windows, starts, hidden: float, generator) -> torch.Tensor:
    """The loss on the windows at `starts`, with noise from `generator`; the return-to-go is hidden with that
    probability.
    """
    steps, exists = windows(starts)
    device, count = starts.device, len(starts)
    condition = model.condition(
        windows.states[starts],
        windows.actions[starts],
        windows.returns[starts],
        (torch.rand(count, generator=generator, device=device) >= hidden).float(),
    )
    return model.loss(
        model.normalizer(steps),
        exists,
        condition,
        torch.randn(count, generator=generator, device=device),
        torch.rand(count, generator=generator, device=device),
        torch.randn(steps.shape, generator=generator, device=device),
    )


def train(
    data: Transitions, dataset: str, return_scale: float, generator: int, params, device: torch.device
) -> tuple[WorldModel, dict]:
    """The world model of that generator, with the moving average of its weights, and its losses.

    Arguments:
        return_scale: of the data set's task.
        params: has `horizon`, `discount` and `diffusion`.

    Returns:
        the model, and {"training_loss", "validation_loss", …}; both losses as `WorldModel.loss`.
    """
    config = params.diffusion
    torch.manual_seed(seed_of("diffusion", dataset, generator, "weights"))
    model = WorldModel(data.observations.shape[1], data.actions.shape[1], params.horizon, config).to(device)
    windows = Windows(data, params.horizon, params.discount, return_scale, device)
    model.normalizer.fit(windows.steps)
    averaged = AveragedModel(model.network, multi_avg_fn=get_ema_multi_avg_fn(config.ema))
    optimizer = torch.optim.Adam(model.network.parameters(), lr=config.learning_rate, fused=True)

    held_out = data.held_out(config.held_out, numpy_stream("diffusion", dataset, "held out"))
    rows = torch.from_numpy((~held_out).nonzero()[0]).to(device)
    stream = torch_stream("diffusion", dataset, generator, device=device)
    recent = torch.zeros((), device=device)
    for step in progress(range(config.steps), f"diffusion {dataset} {generator}"):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate(step, config.steps, config.schedule)
        starts = rows[torch.randint(len(rows), (config.batch,), generator=stream, device=device)]
        loss = draw_loss(model, windows, starts, config.null_probability, stream)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (step + 1) % config.ema_every == 0:
            averaged.update_parameters(model.network)
        recent.lerp_(loss.detach(), 1 / min(step + 1, 200))

    model.network.load_state_dict(averaged.module.state_dict())
    model.eval()
    losses = {
        "training_loss": recent.item(),
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
    }
    if held_out.any():
        rows = torch.from_numpy(held_out.nonzero()[0]).to(device)
        stream = torch_stream("diffusion", dataset, "validation", device=device)
        starts = rows[torch.randint(len(rows), (VALIDATION_WINDOWS,), generator=stream, device=device)]
        with torch.no_grad():
            losses["validation_loss"] = draw_loss(model, windows, starts, 0.0, stream).item()
    if not all(math.isfinite(value) for value in losses.values()):
        raise SystemExit(f"diffusion {dataset} generator {generator}: the loss is not finite: {losses}")
    return model, losses

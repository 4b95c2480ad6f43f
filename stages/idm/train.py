"""Trains the inverse dynamics model of one generator and measures its errors on held-out episodes."""

import torch

from stages.common.progress import progress
from stages.common.rng import numpy_stream, seed_of
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.idm.model import InverseDynamics


def train(
    data: Transitions, dataset: str, generator: int, config, device: torch.device
) -> tuple[InverseDynamics, dict]:
    """Trains the model of one generator and measures its errors on held-out episodes.

    Arguments:
        config: the `idm` section.

    Returns:
        the model, and {"r2", "median_absolute_error", "mean_squared_error"} over held-out transitions and action
        dimensions.
    """
    torch.manual_seed(seed_of("idm", dataset, generator, "weights"))
    states, next_states, actions = (
        torch.from_numpy(array).to(device) for array in (data.observations, data.next_observations, data.actions)
    )
    model = InverseDynamics(states.shape[1], actions.shape[1], config.hidden, config.head).to(device)
    model.fit_scales(states, next_states)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)

    held_out = torch.from_numpy(data.held_out(config.held_out, numpy_stream("idm", dataset, "held out"))).to(device)
    rows = (~held_out).nonzero()[:, 0]
    stream = torch_stream("idm", dataset, generator, device=device)
    for _ in progress(range(config.steps), f"idm {dataset} {generator}"):
        batch = rows[torch.randint(len(rows), (config.batch,), generator=stream, device=device)]
        loss = model.loss(states[batch], next_states[batch], actions[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    error = model.eval().infer(states[held_out], next_states[held_out]) - actions[held_out]
    squared = error.double().square().mean().item()
    return model, {
        "r2": 1 - squared / actions[held_out].double().var(0, correction=0).mean().item(),
        "median_absolute_error": error.abs().median().item(),
        "mean_squared_error": squared,
    }

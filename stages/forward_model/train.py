"""Trains a forward model on the real transitions."""

from functools import partial

import numpy as np
import torch

from stages.common.rng import numpy_stream
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import Training, UpdateNoise, run
from stages.forward_model.model import ForwardModel


def member_streams(names: tuple, members: int) -> list[torch.Generator]:
    """For each member, the random stream of its initial weights; `names` is (method, data set, generator)."""
    return [torch_stream(*names, member, "weights") for member in range(members)]


def fit(model: ForwardModel, data: Transitions, names: tuple, config, checkpoint=None) -> ForwardModel:
    """Trains the model and selects its elites on held-out episodes; returns it, in evaluation mode.

    Arguments:
        names: (method, data set, generator), the first names of its random streams.
        config: an `Ensemble` section.
        checkpoint: training resumes from it if it has been saved before; the caller discards it.

    Raises:
        SystemExit: if the loss is not finite.
    """
    method, dataset, generator = names
    device = model.elites.device
    ended = [(data.discounts == 0)[:, None].astype(np.float32)] if model.terminal else []
    columns = [data.rewards[:, None], *ended, data.next_observations - data.observations]
    tensors = [data.observations, data.actions, np.concatenate(columns, axis=1)]
    states, actions, targets = (torch.from_numpy(array).to(device) for array in tensors)
    model.inputs.fit(torch.cat([states, actions], dim=1))
    model.targets.fit(targets)

    held_out = torch.from_numpy(data.held_out(config.held_out, numpy_stream(method, dataset, "held out"))).to(device)
    draws = UpdateNoise((~held_out).nonzero()[:, 0], config.members * config.batch, ())
    loss, stream = partial(model.loss, states, actions, targets), torch_stream(*names, device=device)
    training = Training(
        model, loss, draws, config, stream, weight_decay=config.weight_decay, decoupled_weight_decay=True
    )
    run(training, " ".join(map(str, names)), checkpoint, f"generator-{generator}")
    model.choose(states[held_out], actions[held_out], targets[held_out])
    return model.eval()

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


def fit(
    model: ForwardModel, data: Transitions, names: tuple, config, checkpoint=None, held_out: float = 0.0
) -> ForwardModel:
    """Trains the model and returns it, in evaluation mode.

    Arguments:
        names: (method, data set, generator), the first names of its random streams.
        config: an `Ensemble` section.
        checkpoint: training resumes from it if it has been saved before; the caller discards it.
        held_out: share of the episodes that are not trained on, but select the elites: the members with the smallest
            error there.

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

    kept_back = data.held_out(held_out, numpy_stream(method, dataset, "held out"))
    training_rows, others = (torch.from_numpy(mask.nonzero()[0]).to(device) for mask in (~kept_back, kept_back))
    draws = UpdateNoise(training_rows, config.members * config.batch, ())
    loss, stream = partial(model.loss, states, actions, targets), torch_stream(*names, device=device)
    training = Training(
        model, loss, draws, config, stream, weight_decay=config.weight_decay, decoupled_weight_decay=True
    )
    run(training, " ".join(map(str, names)), checkpoint, f"generator-{generator}")
    if len(others):
        model.choose(states[others], actions[others], targets[others])
    return model.eval()

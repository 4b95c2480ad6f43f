"""Trains the one-step models of one data set: writes models/D/onestep.safetensors."""

import argparse
from functools import partial

import numpy as np
import torch
from safetensors.torch import save_file

from stages.baselines.onestep.dynamics import OneStep
from stages.common.checkpoint import Checkpoint
from stages.common.cost import timed
from stages.common.files import atomic
from stages.common.params import load
from stages.common.rng import numpy_stream, torch_stream
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion.training import Draws, Training, run

READS = ("generators", "device", "threads", "budget", "onestep.dynamics")


def ends_learned(data: Transitions, task: Task) -> bool:
    """Whether the models must learn where tasks end, since the environment's own rule is not known."""
    return task.healthy is None and bool((data.discounts == 0).any())


def build(data: Transitions, task: Task, dataset: str, generator: int, config) -> OneStep:
    """The models before training."""
    streams = [torch_stream("onestep", dataset, generator, member, "weights") for member in range(config.members)]
    sizes = data.observations.shape[1], data.actions.shape[1]
    return OneStep(*sizes, ends_learned(data, task), config, streams)


def train(data: Transitions, task: Task, dataset: str, generator: int, config, device, checkpoint=None) -> OneStep:
    """The ensemble and the behaviour of that generator.

    Raises:
        SystemExit: where the loss is not finite.
    """
    what, model = f"onestep {dataset} {generator}", build(data, task, dataset, generator, config).to(device)
    ended = [(data.discounts == 0)[:, None].astype(np.float32)] if model.terminal else []
    columns = [data.rewards[:, None], *ended, data.next_observations - data.observations]
    tensors = [data.observations, data.actions, np.concatenate(columns, axis=1)]
    states, actions, targets = (torch.from_numpy(array).to(device) for array in tensors)
    model.inputs.fit(torch.cat([states, actions], dim=1))
    model.targets.fit(targets)

    held_out = torch.from_numpy(data.held_out(config.held_out, numpy_stream("onestep", dataset, "held out"))).to(device)
    draws = Draws((~held_out).nonzero()[:, 0], config.members * config.batch, ())
    loss, stream = partial(model.loss, states, actions, targets), torch_stream(*what.split(), device=device)
    training = Training(
        model, loss, draws, config, stream, weight_decay=config.weight_decay, decoupled_weight_decay=True
    )
    run(training, what, checkpoint, f"generator-{generator}")
    model.choose(states[held_out], actions[held_out], targets[held_out])
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
    path = f"models/{dataset}/onestep.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"onestep {dataset}", params, files, device)
        given = Transitions.load(files[0]), Task.load(dataset), dataset
        models = [train(*given, k, params.onestep.dynamics, device, checkpoint) for k in range(params.generators)]
        with atomic(path) as temporary:
            save_file(torch.nn.ModuleList(models).state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

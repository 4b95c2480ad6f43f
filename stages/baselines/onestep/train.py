"""Trains the one-step models: `python -m stages.baselines.onestep.train --dataset D` → models/D/onestep.safetensors."""

from functools import partial

import numpy as np
import torch
from safetensors.torch import save_file

from stages.baselines.onestep.dynamics import OneStep
from stages.baselines.onestep.settings import Dynamics
from stages.common.checkpoint import Checkpoint
from stages.common.files import atomic
from stages.common.rng import numpy_stream
from stages.common.settings import Budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import Training, UpdateNoise, run
from stages.synthetic_data.terminals import terminals_learned
from stages.tasks.tasks import Task

READS = root("generators", "terminals", "device", "threads") | {"budget": Budget, "onestep.dynamics": Dynamics}


def build(data: Transitions, terminal: bool, dataset: str, generator: int, config) -> OneStep:
    """Creates the models before training; `terminal` is whether they learn where tasks end."""
    streams = [torch_stream("onestep", dataset, generator, member, "weights") for member in range(config.members)]
    return OneStep(data.observations.shape[1], data.actions.shape[1], terminal, config, streams)


def train(data: Transitions, terminal: bool, dataset: str, generator: int, config, device, checkpoint=None) -> OneStep:
    """Trains one generator's ensemble and behaviour policy.

    Arguments:
        terminal: whether the models learn where tasks end.
        config: the section `onestep.dynamics`.
        checkpoint: training resumes from it if it has been saved before; the caller discards it.

    Raises:
        SystemExit: if the loss is not finite.
    """
    names = "onestep", dataset, generator
    model = build(data, terminal, dataset, generator, config).to(device)
    ended = [(data.discounts == 0)[:, None].astype(np.float32)] if model.terminal else []
    columns = [data.rewards[:, None], *ended, data.next_observations - data.observations]
    tensors = [data.observations, data.actions, np.concatenate(columns, axis=1)]
    states, actions, targets = (torch.from_numpy(array).to(device) for array in tensors)
    model.inputs.fit(torch.cat([states, actions], dim=1))
    model.targets.fit(targets)

    held_out = torch.from_numpy(data.held_out(config.held_out, numpy_stream("onestep", dataset, "held out"))).to(device)
    draws = UpdateNoise((~held_out).nonzero()[:, 0], config.members * config.batch, ())
    loss, stream = partial(model.loss, states, actions, targets), torch_stream(*names, device=device)
    training = Training(
        model, loss, draws, config, stream, weight_decay=config.weight_decay, decoupled_weight_decay=True
    )
    run(training, " ".join(map(str, names)), checkpoint, f"generator-{generator}")
    model.choose(states[held_out], actions[held_out], targets[held_out])
    return model.eval()


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
    path = f"models/{dataset}/onestep.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"onestep {dataset}", params, files, device)
        data = Transitions.load(files[0])
        terminal, config = terminals_learned(data, Task.load(dataset), params.terminals), params.onestep.dynamics
        models = [train(data, terminal, dataset, k, config, device, checkpoint) for k in range(params.generators)]
        with atomic(path) as temporary:
            save_file(torch.nn.ModuleList(models).state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

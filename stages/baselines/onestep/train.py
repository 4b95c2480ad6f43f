"""Trains the one-step models: `python -m stages.baselines.onestep.train --dataset D` → models/D/onestep.safetensors."""

import torch
from safetensors.torch import save_file

from stages.common.checkpoint import Checkpoint
from stages.common.files import atomic
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.forward_model.onestep import OneStep
from stages.forward_model.settings import EliteEnsemble
from stages.forward_model.train import fit, member_streams
from stages.synthetic_data.terminals import terminals_learned
from stages.tasks.tasks import Task

READS = (
    root("generators", "terminals", "device", "threads")
    | budget("steps", "batch")
    | {"onestep.dynamics": EliteEnsemble}
)


def build(data: Transitions, terminal: bool, dataset: str, generator: int, config) -> OneStep:
    """Creates the models before training; `terminal` is whether they learn where tasks end."""
    streams = member_streams(("onestep", dataset, generator), config.members)
    return OneStep(data.observations.shape[1], data.actions.shape[1], terminal, config, streams)


def train(data: Transitions, terminal: bool, dataset: str, generator: int, config, device, checkpoint=None) -> OneStep:
    """Trains one generator's ensemble and behaviour policy; see `fit`.

    Arguments:
        terminal: whether the models learn where tasks end.
    """
    model = build(data, terminal, dataset, generator, config).to(device)
    return fit(model, data, ("onestep", dataset, generator), config, checkpoint, config.held_out)


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

"""Trains the forward models: `python -m stages.baselines.corrected.train --dataset D`.

Writes models/D/corrected.safetensors.
"""

import torch
from safetensors.torch import save_file

from stages.baselines.corrected.settings import Dynamics
from stages.common.checkpoint import Checkpoint
from stages.common.files import atomic
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.forward_model.model import ForwardModel
from stages.forward_model.train import fit, member_streams
from stages.synthetic_data.terminals import terminals_learned
from stages.tasks.tasks import Task

READS = (
    root("generators", "terminals", "device", "threads") | budget("steps", "batch") | {"corrected.dynamics": Dynamics}
)


def build(data: Transitions, terminal: bool, dataset: str, generator: int, config) -> ForwardModel:
    """Creates one generator's forward model before training; `terminal` is whether it learns where tasks end."""
    streams = member_streams(("corrected", dataset, generator), config.members)
    sizes, gaussian = (data.observations.shape[1], data.actions.shape[1]), config.loss == "likelihood"
    return ForwardModel(*sizes, terminal, config.hidden, streams, config.members, gaussian, config.norm)


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
    path = f"models/{dataset}/corrected.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"corrected {dataset}", params, files, device)
        data, config, models = Transitions.load(files[0]), params.corrected.dynamics, torch.nn.ModuleList()
        terminal = terminals_learned(data, Task.load(dataset), params.terminals)
        for k in range(params.generators):
            model = build(data, terminal, dataset, k, config).to(device)
            models.append(fit(model, data, ("corrected", dataset, k), config, checkpoint))
        with atomic(path) as temporary:
            save_file(models.state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

"""Trains the reverse models: `python -m stages.baselines.reverse.train --dataset D` → models/D/reverse.safetensors."""

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
from stages.synthetic_data.backwards import turned_round

READS = root("generators", "device", "threads") | budget("steps", "batch") | {"reverse.dynamics": EliteEnsemble}


def build(data: Transitions, dataset: str, generator: int, config) -> OneStep:
    """Creates the models before training; they do not predict ends, which belong to the states that they start from."""
    streams = member_streams(("reverse", dataset, generator), config.members)
    return OneStep(data.observations.shape[1], data.actions.shape[1], False, config, streams)


def train(data: Transitions, dataset: str, generator: int, config, device, checkpoint=None) -> OneStep:
    """Trains one generator's reverse ensemble and reverse policy; see `fit`."""
    model = build(data, dataset, generator, config).to(device)
    return fit(model, turned_round(data), ("reverse", dataset, generator), config, checkpoint, config.held_out)


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    file, path = f"data/{dataset}/real.npz", f"models/{dataset}/reverse.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"reverse {dataset}", params, [file], device)
        data, config = Transitions.load(file), params.reverse.dynamics
        models = [train(data, dataset, k, config, device, checkpoint) for k in range(params.generators)]
        with atomic(path) as temporary:
            save_file(torch.nn.ModuleList(models).state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

"""Trains the one-step models: `python -m stages.baselines.onestep.train --dataset D` → models/D/onestep.safetensors."""

import numpy as np
import torch
from safetensors.torch import save_file

from stages.common.checkpoint import Checkpoint
from stages.common.files import atomic
from stages.common.settings import Rate, budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions, return_to_go
from stages.fidelity.value import Value
from stages.forward_model.onestep import OneStep
from stages.forward_model.settings import EliteEnsemble
from stages.forward_model.train import fit, member_streams
from stages.synthetic_data.terminals import terminals_learned
from stages.tasks.tasks import Task

READS = root("generators", "terminals", "discount", "device", "threads") | budget("steps", "batch")
READS |= {"onestep.dynamics": EliteEnsemble, "onestep.advantage_temperature": Rate | None}
LARGEST = 20.0  # weight of a row, before they are divided by their mean


def build(data: Transitions, terminal: bool, dataset: str, generator: int, config) -> OneStep:
    """Creates the models before training; `terminal` is whether they learn where tasks end."""
    streams = member_streams(("onestep", dataset, generator), config.members)
    return OneStep(data.observations.shape[1], data.actions.shape[1], terminal, config, streams)


def advantage_weights(data: Transitions, discount: float, temperature: float, name: str, device) -> torch.Tensor:
    """(N,) weights exp(A / temperature), at most `LARGEST`, then divided by their mean.

    A is the return-to-go less the mean return-to-go of similar states, over its standard deviation.
    """
    returns = return_to_go(data.rewards, data.episode, discount)
    advantage = returns - Value(data.observations, returns, f"{name} onestep", device)(data.observations)
    weights = np.exp((advantage / (advantage.std() + 1e-9) / temperature).clip(max=np.log(LARGEST)))
    return torch.from_numpy((weights / weights.mean()).astype(np.float32)).to(device)


def train(
    data: Transitions, terminal: bool, dataset: str, generator: int, config, device, checkpoint=None, weights=None
) -> OneStep:
    """Trains one generator's ensemble and behaviour policy; see `fit`.

    Arguments:
        terminal: whether the models learn where tasks end.
        weights: of the rows in the behaviour policy's loss, see `OneStep`.
    """
    model = build(data, terminal, dataset, generator, config).to(device)
    model.row_weights = weights
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
        temperature, weights = params.onestep.advantage_temperature, None
        if temperature is not None:
            weights = advantage_weights(data, params.discount, temperature, dataset, device)
        generators = range(params.generators)
        models = [train(data, terminal, dataset, k, config, device, checkpoint, weights) for k in generators]
        with atomic(path) as temporary:
            save_file(torch.nn.ModuleList(models).state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

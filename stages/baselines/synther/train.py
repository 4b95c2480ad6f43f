"""Trains SynthER's models of one data set: writes models/D/synther.safetensors."""

import argparse
from functools import partial

import torch
from safetensors.torch import save_file

from stages.baselines.synther.model import SynthEr, vectors
from stages.common.checkpoint import Checkpoint
from stages.common.cost import timed
from stages.common.files import atomic
from stages.common.params import load
from stages.common.rng import seed_of, torch_stream
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.diffusion.training import Draws, Training, run

READS = ("generators", "device", "threads", "budget", "synther.denoiser")
BETAS = 0.9, 0.99  # of Adam, as in SynthER's code


def train(data: Transitions, dataset: str, generator: int, config, device, checkpoint=None) -> SynthEr:
    """The model of that generator: the moving average of its weights at the end.

    Raises:
        SystemExit: where the loss is not finite.
    """
    what = f"synther {dataset} {generator}"
    torch.manual_seed(seed_of(*what.split(), "weights"))
    model = SynthEr(data.observations.shape[1], data.actions.shape[1], config).to(device)
    rows = torch.from_numpy(vectors(data)).to(device)
    model.normalizer.fit(rows[:, :-1])
    draws = Draws(torch.arange(len(rows), device=device), config.batch, rows.shape[1:])
    loss, stream = partial(model.loss, model.normalized(rows)), torch_stream(*what.split(), device=device)
    training = Training(model.network, loss, draws, config, stream, betas=BETAS)
    run(training, what, checkpoint, f"generator-{generator}")
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    device = setup(params.device, params.threads)
    path, file = f"models/{dataset}/synther.safetensors", f"data/{dataset}/real.npz"
    with timed(path):
        checkpoint = Checkpoint(f"synther {dataset}", params, [file], device)
        data = Transitions.load(file)
        models = [
            train(data, dataset, k, params.synther.denoiser, device, checkpoint) for k in range(params.generators)
        ]
        with atomic(path) as temporary:
            save_file(torch.nn.ModuleList(models).state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

"""Trains SynthER's models: `python -m stages.baselines.synther.train --dataset D` → models/D/synther.safetensors."""

from functools import partial

import torch
from safetensors.torch import save_file

from stages.baselines.synther.model import SynthEr, vectors
from stages.baselines.synther.settings import Denoiser
from stages.common.checkpoint import Checkpoint
from stages.common.files import atomic
from stages.common.rng import seed_of
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.training import Training, UpdateNoise, run

READS = root("generators", "device", "threads") | budget("steps", "batch") | {"synther.denoiser": Denoiser}
BETAS = 0.9, 0.99  # Adam's, as in SynthER's code


def train(data: Transitions, dataset: str, generator: int, config, device, checkpoint=None) -> SynthEr:
    """Trains one generator's model and returns it with the moving average of its weights.

    Arguments:
        config: the section `synther.denoiser`.
        checkpoint: training resumes from it if it has been saved before; the caller discards it.

    Raises:
        SystemExit: if the loss is not finite.
    """
    names = "synther", dataset, generator
    torch.manual_seed(seed_of(*names, "weights"))
    model = SynthEr(data.observations.shape[1], data.actions.shape[1], config).to(device)
    rows = torch.from_numpy(vectors(data)).to(device)
    model.normalizer.fit(rows[:, :-1])
    draws = UpdateNoise(torch.arange(len(rows), device=device), config.batch, rows.shape[1:])
    loss, stream = partial(model.loss, model.normalized(rows)), torch_stream(*names, device=device)
    training = Training(model.network, loss, draws, config, stream, betas=BETAS)
    run(training, " ".join(map(str, names)), checkpoint, f"generator-{generator}")
    return model.eval()


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    path, file = f"models/{dataset}/synther.safetensors", f"data/{dataset}/real.npz"
    with timed(path):
        checkpoint = Checkpoint(f"synther {dataset}", params, [file], device)
        data, config = Transitions.load(file), params.synther.denoiser
        models = [train(data, dataset, k, config, device, checkpoint) for k in range(params.generators)]
        with atomic(path) as temporary:
            save_file(torch.nn.ModuleList(models).state_dict(), temporary)
        checkpoint.discard()


if __name__ == "__main__":
    main()

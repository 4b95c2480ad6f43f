"""Trains the backward world models: `python -m stages.baselines.bidirectional.train --dataset D`.

Writes models/D/bidirectional.safetensors.
"""

from stages.common.checkpoint import Checkpoint
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.synthetic_data.backwards import turned_round
from stages.tasks.tasks import Task
from stages.world_model.model import save
from stages.world_model.settings import Diffusion
from stages.world_model.train import train

READS = root("generators", "horizon", "terminals", "discount", "device", "threads")
READS |= budget("steps", "batch") | {"diffusion": Diffusion}


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
    path = f"models/{dataset}/bidirectional.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"bidirectional {dataset}", params, files, device)
        data = turned_round(Transitions.load(files[0])), f"{dataset} backwards", Task.load(dataset)
        save([train(*data, k, params, device, checkpoint)[0] for k in range(params.generators)], path)
        checkpoint.discard()


if __name__ == "__main__":
    main()

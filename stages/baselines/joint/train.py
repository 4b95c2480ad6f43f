"""Trains the joint models: `python -m stages.baselines.joint.train --dataset D` → models/D/joint.safetensors."""

from stages.common.checkpoint import Checkpoint
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
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
    path = f"models/{dataset}/joint.safetensors"
    with timed(path):
        checkpoint = Checkpoint(f"joint {dataset}", params, files, device)
        data = Transitions.load(files[0]), dataset, Task.load(dataset)
        generators = range(params.generators)
        save([train(*data, k, params, device, checkpoint, joint=True)[0] for k in generators], path)
        checkpoint.discard()


if __name__ == "__main__":
    main()

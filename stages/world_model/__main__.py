"""Trains the world models: `python -m stages.world_model --dataset D`.

Writes models/D/diffusion.safetensors and results/D/diffusion.json.
"""

from stages.common.checkpoint import Checkpoint
from stages.common.files import write_json
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
    with timed(f"models/{dataset}/diffusion.safetensors"):
        files = [f"data/{dataset}/{name}" for name in ("real.npz", "task.json")]
        data, task = Transitions.load(files[0]), Task.load(dataset)

        checkpoint = Checkpoint(f"diffusion {dataset}", params, files, device)
        trained = [train(data, dataset, task, k, params, device, checkpoint) for k in range(params.generators)]
        models, losses = zip(*trained, strict=True)
        save(models, f"models/{dataset}/diffusion.safetensors")
        record = {f"generator {k}": loss for k, loss in enumerate(losses)}
        write_json(f"results/{dataset}/diffusion.json", record, digits=5)
        checkpoint.discard()


if __name__ == "__main__":
    main()

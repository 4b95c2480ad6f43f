"""Trains the inverse dynamics models: `python -m stages.idm --dataset D`.

Writes models/D/idm.safetensors and results/D/idm.json.
"""

from stages.common.files import write_json
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.idm.model import save
from stages.idm.settings import Idm
from stages.idm.train import train

READS = root("generators", "device", "threads") | budget("steps", "batch") | {"idm": Idm}


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"models/{dataset}/idm.safetensors"):
        data = Transitions.load(f"data/{dataset}/real.npz")
        trained = [train(data, dataset, k, params.idm, device) for k in range(params.generators)]
        models, errors = zip(*trained, strict=True)
        save(models, f"models/{dataset}/idm.safetensors")
        write_json(f"results/{dataset}/idm.json", {f"generator {k}": error for k, error in enumerate(errors)}, digits=5)


if __name__ == "__main__":
    main()

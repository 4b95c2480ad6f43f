"""Trains one cell: `python -m stages.policy --dataset D --method M --algorithm A` → models/D/M-A.safetensors.

`stages/check` has resolved the algorithm's settings for this data set. If the algorithm cannot learn from the
method's data, or one of its policies diverges, the file holds the reason in place of policies.
"""

import sys
from importlib import import_module
from types import ModuleType, SimpleNamespace

from stages.common.checkpoint import Checkpoint
from stages.common.files import read_json
from stages.common.settings import root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.policy.policies import save, save_absent
from stages.policy.trainer import Diverged, train
from stages.synthetic_data.terminals import rule_of
from stages.tasks.tasks import Task

READS = root("seeds", "terminals", "device", "threads")


def why_not(method: str, algorithm: ModuleType) -> str | None:
    """Why the algorithm cannot learn from the method's data; None if it can."""
    return None if method == "real" else getattr(algorithm, "REAL_ONLY", None)


def main():
    cell, params = begin(__doc__, READS, "dataset", "method", "algorithm")
    device = setup(params.device, params.threads)
    output = f"models/{cell.dataset}/{cell.method}-{cell.algorithm}.safetensors"
    names = (cell.dataset, cell.method, cell.algorithm)
    algorithm = import_module(f"stages.algorithms.{cell.algorithm}")  # before the checkpoint, whose hash covers it
    with timed(output):
        if reason := why_not(cell.method, algorithm):
            print(f"policy {' '.join(names)}: not applicable: {reason}", file=sys.stderr)
            save_absent("n/a", reason, output)
            return

        files = [f"data/{cell.dataset}/{name}.npz" for name in ("real", cell.method)]
        real = Transitions.load(files[0])
        synthetic = None if cell.method == "real" else Transitions.load(files[1])

        path = f"data/settings/{cell.dataset}/{cell.algorithm}.json"
        settings = SimpleNamespace(**read_json(path, f"settings of {cell.algorithm} on {cell.dataset}"))
        healthy = rule_of(Task.load(cell.dataset), params.terminals)
        inputs = [*files, path, f"data/{cell.dataset}/task.json"]
        checkpoint = Checkpoint("policy " + " ".join(names), params, inputs, device)
        try:
            policies = train(real, synthetic, names, settings, params.seeds, device, checkpoint, healthy)
            save(policies, cell.algorithm, settings, output)
        except Diverged as diverged:
            print(diverged, file=sys.stderr)
            save_absent("diverged", diverged.reason, output)
        checkpoint.discard()


if __name__ == "__main__":
    main()

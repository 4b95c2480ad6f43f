"""Evaluates one cell: `python -m stages.evaluate --dataset D --method M --algorithm A` → results/D/M-A.json.

The score is that of the last snapshot. Earlier snapshots play fewer episodes, for the learning curve only.
"""

from argparse import Namespace

from stages.common.files import write_json
from stages.common.settings import root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.evaluate.rollout import episodes
from stages.evaluate.settings import Evaluate
from stages.policy.acting import policy_of
from stages.policy.policies import absent
from stages.policy.policies import load as load_policies
from stages.tasks.environments import name_of
from stages.tasks.tasks import Task

READS = root("source", "threads") | {"evaluate": Evaluate}


def result(cell: Namespace, params) -> dict:
    """The content of the result file: all episodes of the last snapshot, and the learning curve.

    If the cell has no policies, the file says why.
    """
    path = f"models/{cell.dataset}/{cell.method}-{cell.algorithm}.safetensors"
    if (why := absent(path)) is not None:
        return {**vars(cell), "absent": why}
    task = Task.load(cell.dataset)
    policies, *kind = load_policies(path)
    steps, generators = policies["steps"].tolist(), policies["generators"].tolist()

    def play(policy, snapshots: int, count: int):
        normal = policies["mean"], policies["std"]
        return episodes(task, policy, snapshots, len(generators), count, *normal, ("evaluate", cell.dataset))

    last = policy_of(policies, *kind, slice(-1, None))
    returns, lengths = play(last, 1, params.evaluate.episodes)
    curve = []
    if params.evaluate.curve_episodes and len(steps) > 1:
        policy = policy_of(policies, *kind, slice(0, -1))
        early, _ = play(policy, len(steps) - 1, params.evaluate.curve_episodes)
        early = task.score(early).reshape(len(steps) - 1, len(generators), -1)
        curve = [{"step": step, "scores": scores} for step, scores in zip(steps, early, strict=False)]

    return {
        **vars(cell),
        "source": params.source,
        "environment": name_of(task.environment),
        "reference": task.reference,
        "steps": steps[-1],
        "passes": last.passes,
        "seeds": [
            {
                "seed": seed,
                "generator": generator if generator >= 0 else None,
                "returns": returns[seed],
                "lengths": lengths[seed],
                "scores": task.score(returns[seed]),
            }
            for seed, generator in enumerate(generators)
        ],
        "curve": curve,
    }


def main():
    cell, params = begin(__doc__, READS, "dataset", "method", "algorithm")
    setup("cpu", params.threads)
    output = f"results/{cell.dataset}/{cell.method}-{cell.algorithm}.json"
    with timed(output):
        write_json(output, result(cell, params), digits=8)


if __name__ == "__main__":
    main()

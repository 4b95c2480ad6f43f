"""Evaluates one cell: `python -m stages.evaluate --dataset D --method M --algorithm A` → results/D/M-A.json.

The score is the last policy's. Earlier snapshots play fewer episodes, for the learning curve alone.
"""

import argparse
import re

import torch

from stages.common.cost import timed
from stages.common.environments import name_of
from stages.common.files import write_json
from stages.common.params import load
from stages.common.tasks import Task
from stages.common.torch_setup import setup
from stages.evaluate.rollout import episodes
from stages.policy.policies import load as load_policies

READS = ("source", "threads", "evaluate")


def layers_of(policies: dict[str, torch.Tensor], snapshots: slice) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The actors' weights and biases at those snapshots; snapshots and learners as one axis of policies."""
    numbers = sorted({int(found[1]) for name in policies if (found := re.search(r"layers\.(\d+)\.weight", name))})
    pairs = [[policies[f"actor.body.layers.{k}.{part}"][snapshots] for part in ("weight", "bias")] for k in numbers]
    return [(weight.flatten(0, 1), bias.flatten(0, 1)) for weight, bias in pairs]


def result(cell: argparse.Namespace, params) -> dict:
    """Every episode of the last policies, and the curve that leads to them."""
    task = Task.load(cell.dataset)
    policies = load_policies(f"models/{cell.dataset}/{cell.method}-{cell.algorithm}.safetensors")
    steps, generators = policies["steps"].tolist(), policies["generators"].tolist()

    def play(snapshots: slice, count: int):
        layers = layers_of(policies, snapshots)
        return episodes(task, layers, policies["mean"], policies["std"], count, ("evaluate", cell.dataset))

    returns, lengths = play(slice(-1, None), params.evaluate.episodes)
    curve = []
    if params.evaluate.curve_episodes and len(steps) > 1:
        early, _ = play(slice(0, -1), params.evaluate.curve_episodes)
        early = task.score(early).reshape(len(steps) - 1, len(generators), -1)
        curve = [{"step": step, "scores": scores} for step, scores in zip(steps, early, strict=False)]

    return {
        **vars(cell),
        "source": params.source,
        "environment": name_of(task.environment),
        "reference": task.reference,
        "steps": steps[-1],
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
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--dataset", "--method", "--algorithm"):
        parser.add_argument(name, required=True)
    cell = parser.parse_args()
    params = load(*READS)
    setup("cpu", params.threads)
    output = f"results/{cell.dataset}/{cell.method}-{cell.algorithm}.json"
    with timed(output):
        write_json(output, result(cell, params), digits=8)


if __name__ == "__main__":
    main()

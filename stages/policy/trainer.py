"""Trains one algorithm on one training set, all seeds side by side."""

import math
import sys
from importlib import import_module

import numpy as np
import torch

from stages.common.capture import graph
from stages.common.checkpoint import Checkpoint
from stages.common.progress import progress
from stages.common.rng import torch_stream
from stages.common.transitions import Transitions
from stages.policy.batches import Batches
from stages.policy.updates import CHUNK, Updates


def snapshot_steps(steps: int, every: int) -> list[int]:
    """The numbers of updates after which the policy is kept: the multiples of `every`, and `steps`."""
    return sorted({*range(every, steps, every), steps})


def of_lambda(synthetic: Transitions, wanted: float, names: tuple) -> Transitions:
    """Of transitions that were made for several λ-returns, those of the algorithm's own; of others, all.

    Raises:
        SystemExit: where there are none of that λ, naming the cell.
    """
    if synthetic.lambda_return is None:
        return synthetic
    fitting = synthetic.lambda_return == np.float32(wanted)
    if not fitting.any():
        had = ", ".join(f"{x:g}" for x in np.unique(synthetic.lambda_return))
        raise SystemExit(
            f"policy {' '.join(names)}: lambda_return = {wanted:g}, the method was made for {had}; see its section of"
            " params.yaml"
        )
    return synthetic.rows(fitting)


def begin(real: Transitions, synthetic: Transitions | None, names: tuple, settings, seeds: int, device) -> Updates:
    """The updates of one cell, before the first of them. `names` are (dataset, method, algorithm)."""
    module = import_module(f"stages.algorithms.{names[2]}")
    chosen = module.select(real, settings) if hasattr(module, "select") else real
    synthetic = synthetic and of_lambda(synthetic, settings.lambda_return, names)
    batches = Batches(real, chosen, synthetic, seeds, settings, module.Learner.next_actions, device)
    weights = [torch_stream(*names, seed, "weights") for seed in range(seeds)]
    learner = module.Learner(*batches.sizes, weights, settings, device)
    streams = [torch_stream(*names, seed, "updates", device=device) for seed in range(seeds)]
    cuda = device.type == "cuda"
    compiled = cuda if settings.compile == "auto" else settings.compile
    return Updates(learner, batches, streams, compiled, graph if cuda else None)


def train(
    real: Transitions,
    synthetic: Transitions | None,
    names: tuple,
    settings,
    seeds: int,
    every: int,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
) -> dict[str, torch.Tensor]:
    """The policies of one cell.

    Arguments:
        names: of the cell, (dataset, method, algorithm), which names its random streams too.
        settings: the algorithm's, see `algorithm_settings.settings_for`.
        every: the number of updates from one kept policy, and one checkpoint, to the next.
        checkpoint: where training goes on, if it is there, and is saved; the caller discards it.

    Returns:
        a dict of tensors: the actor's with leading axes (snapshot, learner), `steps` (snapshot,), `mean` and `std`
        (S,), and `generators` (learner,), -1 where there is none.

    Raises:
        SystemExit: where a learner diverges, see `complain`.
    """
    updates, what = begin(real, synthetic, names, settings, seeds, device), "policy " + " ".join(names)
    keep_at = snapshot_steps(settings.steps, every)
    if checkpoint and (state := checkpoint.load("state")):
        updates.restore(state)
        print(f"{what}: goes on after update {updates.done:,}, from its checkpoint", file=sys.stderr)
    kept = [checkpoint.load(f"policy-{step}") for step in keep_at if step <= updates.done]

    for _ in progress(range(updates.done, settings.steps), what):
        updates()
        keep = updates.done % every == 0 or updates.done == settings.steps
        if keep or updates.done % CHUNK == 0:
            complain(updates.losses, settings.max_q * updates.batches.largest_return, what, updates.done)
        if keep:
            actor = updates.learner.actor.named_parameters()
            kept.append({name: weight.detach().clone() for name, weight in actor})
            if checkpoint:  # the state last: it vouches for the policies before it
                checkpoint.save(f"policy-{updates.done}", kept[-1])
                checkpoint.save("state", updates.state())

    actor = {f"actor.{name}": torch.stack([snapshot[name] for snapshot in kept]) for name in kept[0]}
    batches = updates.batches
    generators = torch.tensor([-1] * seeds if batches.generators is None else batches.generators)
    return {**actor, "steps": torch.tensor(keep_at), "mean": batches.mean, "std": batches.std, "generators": generators}


def complain(losses: dict[str, torch.Tensor], largest_q: float, what: str, step: int):
    """Ends the stage where a learner has diverged: a loss, (learners,) each, is not finite, or its Q is too large.

    Raises:
        SystemExit: naming the cell, the seed, the step and all losses of that step.
    """
    losses = {name: values.tolist() for name, values in losses.items()}
    for name, values in losses.items():
        for seed, value in enumerate(values):
            if not math.isfinite(value):
                why = "not finite"
            elif name == "q" and value > largest_q:
                why = f"larger than {largest_q:.4g}, policy.max_q times what the rewards allow"
            else:
                continue
            told = {name: [float(f"{x:.4g}") for x in values] for name, values in losses.items()}
            raise SystemExit(f"{what}: seed {seed} diverged: {name} is {why} at step {step}; losses by seed: {told}")

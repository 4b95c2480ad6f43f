"""Trains one algorithm on one training set, with all seeds trained together."""

import math
import sys
from importlib import import_module

import numpy as np
import torch

from stages.common.capture import graph
from stages.common.checkpoint import Checkpoint
from stages.common.progress import progress
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.policy.batches import Batches
from stages.policy.updates import CHUNK, Updates


class Diverged(Exception):
    """A cell whose training is given up.

    Attributes:
        reason: the seed, what is wrong with it, and after how many updates.
    """

    def __init__(self, cell: str, reason: str, losses: dict):
        super().__init__(f"{cell}: diverged: {reason}; losses by seed: {losses}")
        self.reason = reason


def snapshot_steps(steps: int, every: int) -> list[int]:
    """The updates after which the policy is kept: every multiple of `every`, and the last one, `steps`."""
    return sorted({*range(every, steps, every), steps})


def select_lambda(synthetic: Transitions, wanted: float, names: tuple) -> Transitions:
    """The rows generated for the algorithm's λ; all rows if the method has no λ-returns.

    Raises:
        SystemExit: if no row has that λ; the message names the cell.
    """
    if synthetic.lambda_return is None:
        return synthetic
    matching = synthetic.lambda_return == np.float32(wanted)
    if not matching.any():
        available = ", ".join(f"{x:g}" for x in np.unique(synthetic.lambda_return))
        raise SystemExit(
            f"policy {' '.join(names)}: lambda_return = {wanted:g}, the training set has λ = {available}; see its"
            " section of params.yaml"
        )
    return synthetic.rows(matching)


def build_updates(
    real: Transitions, synthetic: Transitions | None, names: tuple, settings, seeds: int, device, healthy=None
) -> Updates:
    """The `Updates` that train one cell; none has been made yet. For the arguments see `train`."""
    module = import_module(f"stages.algorithms.{names[2]}")
    chosen = module.select(real, settings) if hasattr(module, "select") else real
    synthetic = synthetic and select_lambda(synthetic, settings.lambda_return, names)
    columns = module.columns(real, settings) if hasattr(module, "columns") else None
    horizon = getattr(settings, "horizon", 0)
    batches = Batches(real, chosen, synthetic, seeds, settings, columns, device, horizon)
    weights = [torch_stream(*names, seed, "weights") for seed in range(seeds)]
    learner = module.Learner(*batches.sizes, weights, settings, device)
    learner.constants = batches.constants
    if hasattr(learner, "begin"):
        learner.begin(batches, healthy)
    streams = [torch_stream(*names, seed, "updates", device=device) for seed in range(seeds)]

    def fresh(done: int) -> list[torch.Generator]:
        return [torch_stream(*names, seed, "refresh", done, device=device) for seed in range(seeds)]

    cuda = device.type == "cuda"
    compiled = cuda if settings.compile == "auto" else settings.compile
    return Updates(learner, batches, streams, fresh, compiled, graph if cuda else None)


def train(
    real: Transitions,
    synthetic: Transitions | None,
    names: tuple,
    settings,
    seeds: int,
    device: torch.device,
    checkpoint: Checkpoint | None = None,
    healthy=None,
) -> dict[str, torch.Tensor]:
    """Trains the policies of one cell.

    Arguments:
        names: (dataset, method, algorithm); the cell's random streams have the same names.
        settings: the algorithm's settings on this data set, see `stages/check/algorithms.py`. After every
            `settings.snapshot_every` updates a snapshot of the policy is kept and a checkpoint saved.
        checkpoint: training resumes from it if it has been saved before; the caller discards it.
        healthy: where the task goes on, for a learner that imagines transitions; see `Task.healthy`. None: it learns
            where tasks end.

    Returns:
        a dict of tensors: weights `<network>.<name>` of the networks that act, with leading axes (snapshot, learner),
        `steps` (snapshot,), `mean` and `std` (S,), `generators` (learner,), -1 without synthetic data, and
        `constant.<name>` for what else the policy needs to know of the data.

    Raises:
        Diverged: if a learner does, see `check_divergence`.
    """
    updates, cell = build_updates(real, synthetic, names, settings, seeds, device, healthy), "policy " + " ".join(names)
    keep_at = snapshot_steps(settings.steps, settings.snapshot_every)
    if checkpoint and (state := checkpoint.load("state")):
        updates.restore(state)
        print(f"{cell}: resumes after update {updates.done:,} from its checkpoint", file=sys.stderr)
    snapshots = [checkpoint.load(f"policy-{step}") for step in keep_at if step <= updates.done]

    for _ in progress(range(updates.done, settings.steps), cell):
        updates()
        keep = updates.done % settings.snapshot_every == 0 or updates.done == settings.steps
        if keep or updates.done % CHUNK == 0:
            check_divergence(updates.losses, settings.max_q * updates.batches.largest_return, cell, updates.done)
        if keep:
            snapshots.append(acting(updates.learner))
            if checkpoint:  # the state comes last: a saved state implies that its policies are saved
                checkpoint.save(f"policy-{updates.done}", snapshots[-1])
                checkpoint.save("state", updates.state())

    weights = {name: torch.stack([snapshot[name] for snapshot in snapshots]) for name in snapshots[0]}
    batches = updates.batches
    generators = torch.tensor([-1] * seeds if batches.generators is None else batches.generators)
    facts = {"steps": torch.tensor(keep_at), "mean": batches.mean, "std": batches.std, "generators": generators}
    constants = {f"constant.{name}": value.cpu() for name, value in batches.constants.items()}
    return {**weights, **facts, **constants}


def acting(learner) -> dict[str, torch.Tensor]:
    """A copy of the weights of the networks that act: the learner's `acts`, or its actor alone."""
    networks = getattr(learner, "acts", {"actor": getattr(learner, "actor", None)})
    return {
        f"{network}.{name}": weight.detach().clone()
        for network, module in networks.items()
        for name, weight in module.named_parameters()
    }


def check_divergence(losses: dict[str, torch.Tensor], largest_q: float, cell: str, step: int):
    """Gives a cell up if a learner has diverged: one of its losses is not finite, or its Q exceeds `largest_q`.

    All its seeds are given up then: the mean of the others would be that of seeds chosen by their outcome.

    Arguments:
        losses: name → (learners,) tensor.

    Raises:
        Diverged: names the cell, the seed, the step and all losses of that step.
    """
    losses = {name: values.tolist() for name, values in losses.items()}
    for name, values in losses.items():
        for seed, value in enumerate(values):
            if not math.isfinite(value):
                problem = "not finite"
            elif name == "q" and value > largest_q:
                problem = f"larger than {largest_q:.4g}, policy.max_q times what the rewards allow,"
            else:
                continue
            rounded = {name: [float(f"{x:.4g}") for x in values] for name, values in losses.items()}
            raise Diverged(cell, f"{name} of seed {seed} is {problem} after {step:,} updates", rounded)

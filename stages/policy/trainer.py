"""Trains one algorithm on one training set, all seeds side by side."""

from importlib import import_module
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from stages.common.files import atomic
from stages.common.progress import progress
from stages.common.rng import torch_stream
from stages.common.transitions import Transitions
from stages.policy.batches import Batches

CHUNK = 100  # updates whose random numbers are drawn at once


class Streams:
    """Each learner's own random numbers, a chunk of updates at a time, so that its policy does not depend on its
    company.

    They are drawn outside the update and passed in, which a captured CUDA graph needs as well.
    """

    def __init__(self, names: list[tuple], batch: int, action: int, device: torch.device):
        self.streams = [torch_stream(*name, device=device) for name in names]
        self.batch, self.action, self.device = batch, action, device

    def chunk(self):
        """Uniforms (chunk, learners, batch) float64 and standard normals (chunk, learners, batch, A)."""
        uniforms, normals = zip(
            *(
                (
                    torch.rand(CHUNK, self.batch, generator=stream, device=self.device, dtype=torch.float64),
                    torch.randn(CHUNK, self.batch, self.action, generator=stream, device=self.device),
                )
                for stream in self.streams
            ),
            strict=True,
        )
        return torch.stack(uniforms, dim=1), torch.stack(normals, dim=1)


def snapshot_steps(steps: int, snapshots: int) -> list[int]:
    """The numbers of updates after which the policy is kept: equally spaced, the last one `steps`."""
    return sorted({round(steps * k / snapshots) for k in range(1, snapshots + 1)} - {0})


def train(
    real: Transitions, synthetic: Transitions | None, names: tuple, algorithm: str, config, seeds: int, settings, device
):
    """The policies of one cell.

    Arguments:
        names: of the cell, (dataset, method, algorithm), which names its random streams too.
        config: the `policy` section.
        settings: the algorithm's own section.

    Returns:
        a dict of tensors: the actor's with leading axes (snapshot, learner), `steps` (snapshot,), `mean` and `std`
        (S,), and `generators` (learner,), -1 where there is none.

    Raises:
        SystemExit: where a loss is not finite, naming the cell, the step, the seed and the losses.
    """
    batches = Batches(real, synthetic, seeds, config.batch, device)
    weights = [torch_stream(*names, seed, "weights") for seed in range(seeds)]
    learner = import_module(f"stages.algorithms.{algorithm}").Learner(
        *batches.sizes, weights, config, settings, real, device
    )
    streams = Streams([(*names, seed, "updates") for seed in range(seeds)], config.batch, batches.sizes[1], device)

    kept, keep_at = [], snapshot_steps(config.steps, config.snapshots)
    for step in progress(range(config.steps), "policy " + " ".join(names)):
        if step % CHUNK == 0:
            uniforms, normals = streams.chunk()
        losses = learner.update(batches(uniforms[step % CHUNK]), normals[step % CHUNK], step)
        if step + 1 in keep_at:
            complain(losses, names, step + 1)
            kept.append({name: weight.detach().clone() for name, weight in learner.actor.named_parameters()})

    actor = {f"actor.{name}": torch.stack([snapshot[name] for snapshot in kept]) for name in kept[0]}
    generators = torch.tensor([-1] * seeds if batches.generators is None else batches.generators)
    return {**actor, "steps": torch.tensor(keep_at), "mean": batches.mean, "std": batches.std, "generators": generators}


def complain(losses: dict[str, torch.Tensor], names: tuple, step: int):
    """Ends the stage where a learner's loss, (learners,) each, is not finite."""
    for name, values in losses.items():
        bad = (~torch.isfinite(values)).nonzero()[:, 0].tolist()
        if bad:
            told = {name: [float(f"{x:.4g}") for x in values.tolist()] for name, values in losses.items()}
            raise SystemExit(
                f"policy {' '.join(names)}: seed {bad[0]}: {name} is not finite at step {step}; by seed: {told}"
            )


def save(policies: dict[str, torch.Tensor], path: Path | str):
    with atomic(path) as temporary:
        save_file({name: tensor.cpu().contiguous() for name, tensor in policies.items()}, temporary)


def load(path: Path | str) -> dict[str, torch.Tensor]:
    """What `train` returned and `save` wrote."""
    return load_file(path)

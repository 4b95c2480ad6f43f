"""DAWM's second phase: imagine windows from real states and actions, infer the later actions, keep what is sound."""

from collections import Counter

import numpy as np
import torch

from stages.augment.complete import Bounds, complete
from stages.common.rng import torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.world_model import WorldModel
from stages.idm.model import InverseDynamics


def imagined(
    model: WorldModel, inverse: InverseDynamics, states, actions, target: float, sampler, stream: torch.Generator
):
    """Completed windows from real states (B, S) and actions (B, A), asked for the return-to-go `target`.

    The first action is the real one; the others are what the inverse model sees between imagined states.

    Returns:
        NumPy states (B, H + 1, S), actions (B, H, A), rewards (B, H).
    """
    returns = torch.full((len(states),), target, device=states.device)
    rewards, following = model.imagine(states, actions, returns, sampler, stream)
    states = torch.cat([states[:, None], following], dim=1)
    inferred = inverse.infer(states[:, 1:-1], states[:, 2:])
    actions = torch.cat([actions[:, None], inferred], dim=1)
    return states.cpu().numpy(), actions.cpu().numpy(), rewards.cpu().numpy()


def generate(data: Transitions, dataset: str, healthy, generator: int, model, inverse, params, device: torch.device):
    """`augment.transitions` synthetic transitions of one generator, from start states drawn evenly from the data.

    Arguments:
        healthy: states (…, S) → (…) bool, False where the task ends.
        params: has `discount`, `target_return`, `sampler` and `augment`.

    Returns:
        a dict of (n, …) arrays, and the counts of `complete` with "windows" beside them.

    Raises:
        SystemExit: where more than `augment.max_drop` of the transitions are dropped, or all of the first batch.
    """
    config = params.augment
    bounds = Bounds(data, config.margin)
    stream = torch_stream("augment", dataset, generator, device=device)
    states, actions = torch.from_numpy(data.observations).to(device), torch.from_numpy(data.actions).to(device)
    parts, counts = [], Counter()
    while counts["kept"] < config.transitions:
        starts = torch.randint(len(data), (config.batch,), generator=stream, device=device)
        windows = imagined(
            model, inverse, states[starts], actions[starts], params.target_return, params.sampler, stream
        )
        part, found = complete(*windows, params.discount, healthy, bounds)
        parts.append(part)
        counts.update(found, windows=config.batch)
        if not counts["kept"] or counts["dropped"] > config.max_drop * (counts["kept"] + counts["dropped"]):
            raise SystemExit(
                f"augment {dataset} generator {generator}: dropped {counts['dropped']:,} of"
                f" {counts['kept'] + counts['dropped']:,} imagined transitions, outside the data's bounds;"
                f" more than augment.max_drop = {config.max_drop}; train the world model longer, or change the sampler"
            )
    merged = {name: np.concatenate([part[name] for part in parts])[: config.transitions] for name in parts[0]}
    return merged, dict(counts)

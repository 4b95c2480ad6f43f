"""DAWM's second phase: imagine windows from real states and actions, infer the later actions, keep what is sound."""

from collections import Counter

import numpy as np
import torch

from stages.augment.complete import Bounds, complete
from stages.common.rng import torch_stream
from stages.common.tasks import Task
from stages.common.transitions import Transitions, return_to_go
from stages.diffusion.world_model import WorldModel
from stages.idm.model import InverseDynamics


def imagined(model: WorldModel, inverse: InverseDynamics, healthy, states, actions, returns, sampler, stream):
    """Completed windows from real states (B, S) and actions (B, A), each asked for its return-to-go (B,).

    The first action is the real one; the others are what the inverse model sees between imagined states. The task ends
    where the environment's own rule says so, or where that is not known, where the model does, if it has learned to.

    Arguments:
        healthy: states (…, S) → (…) bool, False where the task ends; None where that is not known.

    Returns:
        NumPy states (B, H + 1, S), actions (B, H, A), rewards (B, H), ended (B, H) bool.
    """
    windows = model.imagine(states, actions, returns, sampler, stream)
    states = torch.cat([states[:, None], windows.states], dim=1)
    actions = torch.cat([actions[:, None], inverse.infer(states[:, 1:-1], states[:, 2:], stream)], dim=1)
    states, actions, rewards = states.cpu().numpy(), actions.cpu().numpy(), windows.rewards.cpu().numpy()
    if healthy is not None:
        ended = ~healthy(states[:, 1:])
    elif windows.terminals is not None:
        ended = windows.terminals.cpu().numpy()
    else:
        ended = np.zeros(rewards.shape, dtype=bool)
    return states, actions, rewards, ended


def target(data: Transitions, asked, discount: float, task: Task) -> float:
    """The return-to-go to ask for, over the task's scale: `target_return`, a number or a quantile of the data's own."""
    if isinstance(asked, float):
        return asked
    return float(np.quantile(return_to_go(data.rewards, data.episode, discount), asked.quantile) / task.return_scale)


def start_weights(data: Transitions, config) -> torch.Tensor:
    """(N,) how often windows start at each real transition.

    Return-weighted, by exp(G / temperature), G being the return of the whole episode scaled to [0, 1] (Hong et al.
    2023, arXiv 2306.13085, section 4).
    """
    if config.starts == "uniform":
        return torch.ones(len(data), dtype=torch.float64)
    returns = data.returns()
    share = (returns - returns.max()) / max(returns.max() - returns.min(), 1e-9)
    return torch.from_numpy(np.exp(share / config.start_temperature)[data.episode])


def generate(data: Transitions, dataset: str, task: Task, generator: int, model, inverse, params, device: torch.device):
    """`augment.transitions` synthetic transitions of one generator, from start states drawn from the data.

    Arguments:
        params: has `discount`, `target_return`, `sampler` and `augment`.

    Returns:
        a dict of (n, …) arrays, and the counts of `complete` with "windows" beside them.

    Raises:
        SystemExit: where more than `augment.max_drop` of the transitions are dropped, or all of the first batch.
    """
    config = params.augment
    bounds, weights = Bounds(data, config.margin), start_weights(data, config).to(device)
    stream = torch_stream("augment", dataset, generator, device=device)
    states, actions = torch.from_numpy(data.observations).to(device), torch.from_numpy(data.actions).to(device)
    returns = torch.full((config.batch,), target(data, params.target_return, params.discount, task), device=device)
    parts, counts = [], Counter()
    while counts["kept"] < config.transitions:
        starts = torch.multinomial(weights, config.batch, replacement=True, generator=stream)
        given = states[starts], actions[starts], returns
        windows = imagined(model, inverse, task.healthy, *given, params.sampler, stream)
        part, found = complete(*windows, params.discount, bounds)
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

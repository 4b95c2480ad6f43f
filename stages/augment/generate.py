"""DAWM's second phase: imagine windows from real states and actions, infer the later actions, keep what is sound."""

from collections import Counter

import numpy as np
import torch

from stages.augment.complete import Bounds, complete
from stages.common.tasks import Task
from stages.common.transitions import Transitions, return_to_go
from stages.diffusion.world_model import Imagined, WorldModel
from stages.idm.model import InverseDynamics


def ends(windows: Imagined, healthy) -> np.ndarray:
    """(B, H) bool: the task ends where the environment's own rule says so, or where that is not known, where the model
    does, if it has learned to.

    Arguments:
        healthy: states (…, S) → (…) bool, False where the task ends; None where that is not known.
    """
    if healthy is not None:
        return ~healthy(windows.states.cpu().numpy())
    if windows.terminals is not None:
        return windows.terminals.cpu().numpy()
    return np.zeros(windows.rewards.shape, dtype=bool)


def imagined(model: WorldModel, inverse: InverseDynamics | None, healthy, states, actions, returns, sampler, stream):
    """Completed windows from real states (B, S) and actions (B, A), each asked for its return-to-go (B,).

    The first action is the real one; the others are what the inverse model sees between imagined states, or without
    one, what the model itself imagines.

    Arguments:
        healthy: see `ends`.

    Returns:
        NumPy states (B, H + 1, S), actions (B, H, A), rewards (B, H), ended (B, H) bool.
    """
    windows = model.imagine(states, actions, returns, sampler, stream)
    path = torch.cat([states[:, None], windows.states], dim=1)
    later = windows.actions[:, 1:] if inverse is None else inverse.infer(path[:, 1:-1], path[:, 2:], stream)
    actions = torch.cat([actions[:, None], later], dim=1)
    return path.cpu().numpy(), actions.cpu().numpy(), windows.rewards.cpu().numpy(), ends(windows, healthy)


def target(data: Transitions, asked, discount: float, task: Task) -> float:
    """The return-to-go to ask for, over the task's scale: `target_return`, a number or a quantile of the data's own."""
    if isinstance(asked, float):
        return asked
    return float(np.quantile(return_to_go(data.rewards, data.episode, discount), asked.quantile) / task.return_scale)


def start_weights(data: Transitions, config) -> torch.Tensor:
    """(N,) how often windows start at each real transition.

    Return-weighted, by exp(G / temperature), G being the return of the whole episode scaled to [0, 1] (Hong et al.
    2023, arXiv 2306.13085).
    """
    if config.starts == "uniform":
        return torch.ones(len(data), dtype=torch.float64)
    returns = data.returns()
    share = (returns - returns.max()) / max(returns.max() - returns.min(), 1e-9)
    return torch.from_numpy(np.exp(share / config.start_temperature)[data.episode])


def imagining(data: Transitions, task: Task, model, inverse, params, stream):
    """What `generate` asks for its windows: DAWM's, or without an inverse model those of the ablation `joint`.

    Arguments:
        params: has `discount`, `target_return` and `sampler`.
    """
    asked = target(data, params.target_return, params.discount, task)

    def imagine(states, actions):
        returns = torch.full((len(states),), asked, device=states.device)
        return imagined(model, inverse, task.healthy, states, actions, returns, params.sampler, stream)

    return imagine


def generate(data: Transitions, imagine, params, name: str, stream: torch.Generator):
    """`augment.transitions` synthetic transitions of one generator, from start states drawn from the data.

    Arguments:
        imagine: real states (B, S) and actions (B, A) → what `complete` takes: states, actions, rewards, ended and
            perhaps penalties of windows.
        params: has `discount` and `augment`.
        name: of the method, data set and generator, for messages.
        stream: what starts are drawn from, on the device.

    Returns:
        a dict of (n, …) arrays, and the counts of `complete` with "windows" beside them.

    Raises:
        SystemExit: where more than `augment.max_drop` of the transitions are dropped, or all of the first batch.
    """
    config, device = params.augment, stream.device
    bounds, weights = Bounds(data, config.margin), start_weights(data, config).to(device)
    states, actions = torch.from_numpy(data.observations).to(device), torch.from_numpy(data.actions).to(device)
    parts, counts = [], Counter()
    while counts["kept"] < config.transitions:
        starts = torch.multinomial(weights, config.batch, replacement=True, generator=stream)
        windows = imagine(states[starts], actions[starts])
        part, found = complete(*windows[:4], params.discount, bounds, *windows[4:])
        parts.append(part)
        counts.update(found, windows=config.batch)
        if not counts["kept"] or counts["dropped"] > config.max_drop * (counts["kept"] + counts["dropped"]):
            raise SystemExit(
                f"{name}: dropped {counts['dropped']:,} of {counts['kept'] + counts['dropped']:,} imagined transitions,"
                f" outside the data's bounds; more than augment.max_drop = {config.max_drop}; train the model longer,"
                " or change the sampler"
            )
    merged = {name: np.concatenate([part[name] for part in parts])[: config.transitions] for name in parts[0]}
    return merged, dict(counts)

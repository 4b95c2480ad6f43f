"""Generates a given number of synthetic transitions from windows that start in real states."""

from collections import Counter

import numpy as np
import torch

from stages.common.transitions import Transitions
from stages.synthetic_data.bounds import Bounds, check_dropped
from stages.synthetic_data.complete import to_transitions


def start_weights(data: Transitions, config) -> torch.Tensor:
    """(N,) relative probability that a window starts at each real transition.

    Return-weighted starts have weight exp(G / temperature), G being the return of the whole episode scaled to [0, 1]
    (Hong et al. 2023, arXiv 2306.13085).
    """
    if config.starts == "uniform":
        return torch.ones(len(data), dtype=torch.float64)
    returns = data.returns()
    scaled = (returns - returns.max()) / max(returns.max() - returns.min(), 1e-9)  # at most 0: exp cannot overflow
    return torch.from_numpy(np.exp(scaled / config.start_temperature)[data.episode])


def generate(data: Transitions, sample_windows, params, name: str, stream: torch.Generator):
    """Generates `augment.transitions` synthetic transitions of one generator; start states are drawn from the data.

    Arguments:
        sample_windows: rows of the data that windows start from, a (B,) tensor → the windows' states, actions,
            rewards, ended and optionally penalties, as `to_transitions` takes them.
        params: has `discount` and `augment`.
        name: method, data set and generator, for messages.
        stream: random stream of the starts, on the device.

    Returns:
        a dict of (n, …) arrays, and the counts of `to_transitions` plus "windows".

    Raises:
        SystemExit: if a larger share of the transitions than `augment.max_drop` is dropped so far, or if the first
            batch yields none; see `check_dropped`.
    """
    config = params.augment
    bounds, weights = Bounds(data, config.margin), start_weights(data, config).to(stream.device)
    parts, counts = [], Counter()
    while counts["kept"] < config.transitions:
        starts = torch.multinomial(weights, config.batch, replacement=True, generator=stream)
        windows = sample_windows(starts)
        part, part_counts = to_transitions(*windows[:4], params.discount, bounds, *windows[4:])
        parts.append(part)
        counts.update(part_counts, windows=config.batch)
        check_dropped(name, counts["kept"], counts["dropped"], config.max_drop)
    columns = {key: np.concatenate([part[key] for part in parts])[: config.transitions] for key in parts[0]}
    return columns, dict(counts)

"""Baselines of the world-model benchmark: a plain training loop, and SynthER's sampler."""

import copy
from pathlib import Path

import numpy as np
import torch

from stages.baselines.synther.model import SynthEr
from stages.check.schema import Params
from stages.common.params import read, validate


class PlainLoop:
    """A plain training loop of the world model.

    It is eager, draws indices with NumPy, uses torch's default Adam, updates the averaged copy of the network weight by
    weight, and reads the loss at each step.
    """

    def __init__(self, model, windows, rows: torch.Tensor):
        self.model, self.windows, self.rows, self.config = model, windows, rows, model.config
        self.average = copy.deepcopy(model.network)
        self.optimizer = torch.optim.Adam(model.network.parameters(), lr=self.config.learning_rate)

    def __call__(self, updates: int):
        for _ in range(updates):
            config, device = self.config, self.rows.device
            starts = torch.from_numpy(np.random.randint(0, len(self.rows), config.batch)).to(device)
            steps, exists = self.windows(starts)
            states, count = self.windows.states[starts], len(starts)
            known = (torch.rand(count, device=device) >= config.null_probability).float()
            condition = self.model.condition(states, self.windows.actions[starts], self.windows.returns[starts], known)
            steps = self.model.normalizer(self.model.relative(steps, states))
            normal, uniform = torch.randn(count, device=device), torch.rand(count, device=device)
            loss = self.model.loss(steps, exists, condition, normal, uniform, torch.randn_like(steps))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                weights = zip(self.average.parameters(), self.model.network.parameters(), strict=True)
                for mean, weight in weights:
                    mean.mul_(config.ema).add_(weight, alpha=1 - config.ema)
            loss.item()


def synther_sampler(state: int, action: int, batch: int, device):
    """Returns a function that samples `count` batches with SynthER's network, untrained, and its published sampler."""
    settings = validate(Params, read(Path("presets/paper.yaml"))).synther
    model = SynthEr(state, action, settings.denoiser).to(device).eval()
    stream = torch.Generator(device).manual_seed(0)

    def run(count: int):
        for _ in range(count):
            model.sample(batch, settings.sampler, stream)

    return run

"""The usual way to train a denoiser and the usual way to sample one, to measure ours against."""

import copy
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from stages.diffusion.process import Edm
from stages.diffusion.samplers import heun


class PlainLoop:
    """An eager loop: indices by NumPy, torch's default Adam, the average a copied module updated weight by weight, the
    loss read at each step.
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
            given = self.windows.actions[starts], self.windows.returns[starts], known
            condition = self.model.condition(states, *given)
            steps = self.model.normalizer(self.model.relative(steps, states))
            draws = (kind(count, device=device) for kind in (torch.randn, torch.rand))
            loss = self.model.loss(steps, exists, condition, *draws, torch.randn_like(steps))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            with torch.no_grad():
                weights = zip(self.average.parameters(), self.model.network.parameters(), strict=True)
                for mean, weight in weights:
                    mean.mul_(config.ema).add_(weight, alpha=1 - config.ema)
            loss.item()


class SynthErNetwork(nn.Module):
    """SynthER's denoiser (Lu et al. 2023, arXiv 2303.06614): six residual blocks of 2048 units."""

    def __init__(self, dimensions: int, width: int = 2048, blocks: int = 6, embedding: int = 128):
        super().__init__()
        self.enter, self.level = nn.Linear(dimensions, embedding), nn.Linear(16, embedding)
        self.widen = nn.Linear(embedding, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, dimensions)

    def forward(self, x, level, condition):
        hidden = self.widen(self.enter(x) + self.level(level[:, None].expand(-1, 16)))
        for block in self.blocks:
            hidden = hidden + block(torch.relu(hidden))
        return self.leave(hidden)


def synther_sampler(state: int, action: int, batch: int, device):
    """A function that samples `count` batches of transitions as SynthER does: 128 stochastic Heun steps."""
    dimensions = 2 * state + action + 2
    network = SynthErNetwork(dimensions).to(device)
    process = Edm(SimpleNamespace(sigma_min=0.002, sigma_max=80.0, sigma_data=1.0, rho=7.0))
    churn = SimpleNamespace(amount=80.0, low=0.05, high=50.0, noise=1.003)

    def noise():
        return torch.randn(batch, dimensions, device=device)

    @torch.no_grad()
    def run(count: int):
        for _ in range(count):
            sigmas = process.sigmas(128, device)
            heun(
                lambda x, sigma: process.denoise(network, x, sigma.expand(len(x)), None),
                sigmas[0] * noise(),
                sigmas,
                noise,
                churn,
            )

    return run

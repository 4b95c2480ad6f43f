"""SynthER's diffusion model: transitions as vectors, the denoiser, its loss and its samples."""

from functools import partial

import numpy as np
import torch
from torch import nn

from stages.common.transitions import Transitions
from stages.diffusion.embedding import features
from stages.diffusion.normalizers import Gaussian
from stages.diffusion.process import process, shaped
from stages.diffusion.samplers import SAMPLERS, temperature_of


class Denoiser(nn.Module):
    """A residual MLP without normalisation: vectors (B, D) and noise labels (B,) → (B, D)."""

    def __init__(self, dimensions: int, width: int, blocks: int, embedding: int):
        super().__init__()
        self.enter = nn.Linear(dimensions, embedding)
        self.level = nn.Sequential(nn.Linear(features.width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.widen = nn.Linear(embedding, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.leave = nn.Linear(width, dimensions)

    def forward(self, x, level, condition=None):
        hidden = self.widen(self.enter(x) + self.level(features(level)))
        for block in self.blocks:
            hidden = hidden + block(torch.relu(hidden))
        return self.leave(torch.relu(hidden))


def vectors(data: Transitions) -> np.ndarray:
    """(N, 2 S + A + 2): state, action, reward, next state, and terminal flag, 0 or 1."""
    ended = (data.discounts == 0)[:, None].astype(np.float32)
    return np.concatenate(
        [data.observations, data.actions, data.rewards[:, None], data.next_observations, ended], axis=1
    )


class SynthEr(nn.Module):
    """Diffusion model of `vectors`. All components except the terminal flag are standardised."""

    def __init__(self, state: int, action: int, config):
        super().__init__()
        self.split = [state, action, 1, state, 1]
        self.config, self.process = config, process(config)
        self.normalizer = Gaussian(sum(self.split) - 1)
        self.network = Denoiser(sum(self.split), config.width, config.blocks, config.embedding)

    def normalized(self, x):
        """Unnormalised vectors (N, D) → normalised ones."""
        return torch.cat([self.normalizer(x[:, :-1]), x[:, -1:]], dim=1)

    def loss(self, data: torch.Tensor, draws) -> torch.Tensor:
        """The weighted squared error of the clean estimate (Karras et al. 2022, arXiv 2206.00364, eq. 8); () tensor.

        Arguments:
            data: (N, D) normalised.
            draws: random rows and noise of one update, an `UpdateNoise`.
        """
        clean = data[draws.rows[draws.starts]]
        sigma = self.process.draw(draws.normal, draws.uniform)
        clean_estimate = self.process.denoise(self.network, clean + shaped(sigma, clean) * draws.noise, sigma, None)
        return (self.process.weight(sigma) * (clean_estimate - clean).square().mean(1)).mean()

    @torch.no_grad()
    def sample(self, count: int, sampler, stream: torch.Generator) -> tuple[np.ndarray, ...]:
        """Samples B = `count` transitions.

        Arguments:
            sampler: `synther.sampler`; its temperature scales the initial noise and any noise that the sampler adds.

        Returns:
            NumPy states (B, S), actions (B, A) within [-1, 1], rewards (B,), next states (B, S), ended (B,) bool.
        """
        device = stream.device
        temperature = temperature_of(sampler)

        def noise():
            return temperature * torch.randn(count, sum(self.split), generator=stream, device=device)

        def denoise(x, sigma):
            return self.process.denoise(self.network, x, sigma.expand(len(x)), None)

        sigmas = self.process.sigmas(sampler.steps, device)
        run = partial(SAMPLERS[sampler.method], noise=noise, churn=sampler.churn)
        z = run(denoise, sigmas[0] * noise(), sigmas)
        x = torch.cat([self.normalizer.inverse(z[:, :-1]), z[:, -1:]], dim=1)
        states, actions, rewards, next_states, ended = (part.cpu().numpy() for part in x.split(self.split, dim=1))
        return states, actions.clip(-1, 1), rewards[:, 0], next_states, ended[:, 0] > 0.5

"""Plain implementations of the diffusion planners' training, as `benchmarks/plain.py` has them of the other algorithms.

A batch has further tensors: the normalised return (batch,), and a window's actions (batch, H, A), next states
(batch, H, S) and whether each step exists (batch, H). The standard deviation of a step's change is 1.
"""

import math
from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.plain import mlp, step, update_target


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm, self.linear = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, width)

    def forward(self, x):
        return x + self.linear(F.silu(self.norm(x)))


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, settings):
        super().__init__()
        self.enter = nn.Linear(inputs, settings.width)
        self.blocks = nn.ModuleList(Block(settings.width) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(settings.width, eps=1e-6)
        self.leave = nn.Linear(settings.width, outputs)

    def forward(self, x):
        x = self.enter(x)
        for block in self.blocks:
            x = block(x)
        return self.leave(F.silu(self.norm(x)))


def waves(x):
    """(batch,) → (batch, 17): x, its sines and cosines."""
    angles = [x * torch.tensor(math.pi / 4) * 2**k for k in range(8)]  # a float32, as in the suite
    return torch.stack([x, *(angle.sin() for angle in angles), *(angle.cos() for angle in angles)], 1)


class Planner:
    """What the planners share: the optimizer with its schedule, noisy windows, EDM's loss."""

    def prepare(self, settings, networks: list, adam):
        self.c = settings
        self.optimizer = adam([p for network in networks for p in network.parameters()], settings.learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, settings.steps)

    def descend(self, losses: dict) -> dict[str, float]:
        step([self.optimizer], sum(losses.values()))
        self.schedule.step()
        return {name: loss.item() for name, loss in losses.items()}

    def noisy(self, clean, level, noise):
        sigma = (self.c.log_mean + self.c.log_std * level[:, 0]).exp()
        return sigma, clean + sigma[:, None, None] * noise.view_as(clean)

    def given(self, states, returns, shown):
        shown = shown.to(states)
        return torch.cat([states, waves(returns) * shown, shown], 1)

    def scaled(self, points, sigma):
        return points / (sigma**2 + self.c.sigma_data**2).sqrt()[:, None, None]

    def error(self, network, clean, width: int, sigma, points, given, exists, first: float):
        """The clean estimate's loss, of the last `width` columns."""
        data = self.c.sigma_data
        inputs = torch.cat([self.scaled(points, sigma).flatten(1), waves(sigma.log() / 4), given], 1)
        total, column = sigma**2 + data**2, (slice(None), None, None)
        skip, out = (data**2 / total)[column], (sigma * data / total.sqrt())[column]
        estimate = skip * points[..., -width:] + out * network(inputs).view(*points.shape[:2], width)
        squared = ((estimate - clean[..., -width:]) ** 2).mean(2) / out[:, 0] ** 2 * exists
        return (first * squared[:, 0] + squared[:, 1:].sum(1)).sum() / exists.sum()


def changes(states, following):
    return following - torch.cat([states[:, None], following[:, :-1]], 1)


class Dd(Planner):
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.planner = Residual(settings.horizon * states + states + 35, settings.horizon * states, settings)
        self.inverse = mlp(2 * states, settings.hidden, actions)
        self.prepare(settings, [self.planner, self.inverse], adam)
        self.average_planner = deepcopy(self.planner)

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, _, _, next_states, returns, _, following, exists = batch
        clean, given = changes(states, following), self.given(states, returns, noise["shown"])
        sigma, points = self.noisy(clean, noise["level"], noise["noise"])
        loss = self.error(self.planner, clean, states.shape[1], sigma, points, given, exists, self.c.first_weight)
        inferred = self.inverse(torch.cat([states, next_states - states], 1))
        losses = self.descend({"planner_loss": loss, "inverse_loss": F.mse_loss(inferred, actions)})
        update_target(self.average_planner, self.planner, 1 - self.c.ema)
        return losses


class Diffuser(Planner):
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        step, inputs = states + actions, settings.horizon * (states + actions) + states + 17
        self.planner = Residual(inputs, settings.horizon * step, settings)
        self.value = Residual(inputs, 1, settings)
        self.prepare(settings, [self.planner, self.value], adam)
        self.average_planner = deepcopy(self.planner)

    def train(self, batch, noise) -> dict[str, float]:
        states, _, _, _, _, returns, planned, following, exists = batch
        clean = torch.cat([planned, changes(states, following)], 2)
        sigma, points = self.noisy(clean, noise["level"], noise["noise"])
        loss = self.error(self.planner, clean, clean.shape[2], sigma, points, states, exists, self.c.first_weight)
        inputs = torch.cat([self.scaled(points, sigma).flatten(1), waves(sigma.log() / 4), states], 1)
        losses = self.descend({"planner_loss": loss, "value_loss": F.mse_loss(self.value(inputs)[:, 0], returns)})
        update_target(self.average_planner, self.planner, 1 - self.c.ema)
        return losses


class Mpdiffuser(Planner):
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        step, inputs = states + actions, settings.horizon * (states + actions) + states + 35
        self.planner = Residual(inputs, settings.horizon * step, settings)
        self.dynamics = Residual(inputs, settings.horizon * states, settings)
        self.ranker = mlp(2 * states + actions, settings.hidden, 2)
        self.prepare(settings, [self.planner, self.dynamics, self.ranker], adam)
        self.average_planner, self.average_dynamics = deepcopy(self.planner), deepcopy(self.dynamics)

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states, returns, planned, following, exists = batch
        clean, losses = torch.cat([planned, changes(states, following)], 2), {}
        for name, width, first in (("planner", clean.shape[2], self.c.first_weight), ("dynamics", states.shape[1], 1)):
            sigma, points = self.noisy(clean, noise[f"{name} level"], noise[f"{name} noise"])
            given, network = self.given(states, returns, noise[f"{name} shown"]), getattr(self, name)
            losses[f"{name}_loss"] = self.error(network, clean, width, sigma, points, given, exists, first)
        ranked = self.ranker(torch.cat([states, next_states - states, actions], 1))
        ended = F.binary_cross_entropy_with_logits(ranked[:, 1], (discounts == 0).to(rewards))
        losses["ranker_loss"] = F.mse_loss(ranked[:, 0], rewards) + ended
        losses = self.descend(losses)
        update_target(self.average_planner, self.planner, 1 - self.c.ema)
        update_target(self.average_dynamics, self.dynamics, 1 - self.c.ema)
        return losses


LEARNERS = {"dd": Dd, "diffuser": Diffuser, "mpdiffuser": Mpdiffuser}

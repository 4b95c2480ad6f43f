"""Networks with a leading learner axis: each learner has its own weights, and all share one batched product a layer."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class Linear(nn.Module):
    """The same layer for many learners: (learners, batch, in) → (learners, batch, out).

    Input of fewer learners goes through the first ones' layers. Weights and biases start as torch's own linear layer's
    do, uniform within ±1/√in, each learner's from its own stream.
    """

    def __init__(self, inputs: int, outputs: int, streams: Sequence[torch.Generator]):
        super().__init__()
        bound = 1 / math.sqrt(inputs)

        def uniform(*shape):
            drawn = [torch.empty(shape).uniform_(-bound, bound, generator=stream) for stream in streams]
            return nn.Parameter(torch.stack(drawn))

        self.weight = uniform(inputs, outputs)
        self.bias = uniform(1, outputs)

    def forward(self, x):
        return torch.baddbmm(self.bias[: len(x)], x, self.weight[: len(x)])


class LayerNorm(nn.Module):
    """Layer normalisation with a scale and a shift for each learner: (learners, batch, features), the same out."""

    def __init__(self, features: int, learners: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(learners, 1, features))
        self.bias = nn.Parameter(torch.zeros(learners, 1, features))

    def forward(self, x):
        normal = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)
        return torch.addcmul(self.bias[: len(x)], normal, self.weight[: len(x)])


class Mlp(nn.Module):
    """Linear layers with ReLU between them, for many learners: (learners, batch, in) → (learners, batch, out).

    Arguments:
        norm: a layer normalisation after each ReLU, as ReBRAC's critics have.
    """

    def __init__(self, widths: Sequence[int], streams: Sequence[torch.Generator], norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(Linear(i, o, streams) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(LayerNorm(width, len(streams)) for width in widths[1:-1]) if norm else None

    def forward(self, x):
        for k, layer in enumerate(self.layers[:-1]):
            x = layer(x).relu_()
            if self.norms is not None:
                x = self.norms[k](x)
        return self.layers[-1](x)


class Actor(nn.Module):
    """States (learners, batch, S) → actions (learners, batch, A) in (-1, 1); a Gaussian policy's mean."""

    def __init__(self, state: int, action: int, hidden: Sequence[int], streams: Sequence[torch.Generator]):
        super().__init__()
        self.body = Mlp([state, *hidden, action], streams)

    def forward(self, states):
        return self.body(states).tanh()


class TwinCritic(nn.Module):
    """Two Q functions for each learner, as twice as many learners: first all the first ones, then all the second."""

    def __init__(self, state: int, action: int, hidden: Sequence[int], streams: Sequence[torch.Generator], norm=False):
        super().__init__()
        self.body = Mlp([state + action, *hidden, 1], [*streams, *streams], norm)

    def forward(self, states_and_actions):
        """(learners, batch, S + A) → (2, learners, batch)."""
        both = self.body(states_and_actions.repeat(2, 1, 1))[..., 0]
        return both.view(2, -1, both.shape[-1])

    def first(self, states_and_actions):
        """(learners, batch, S + A) → (learners, batch): the first Q alone."""
        return self.body(states_and_actions)[..., 0]


@torch.no_grad()
def track(target: nn.Module, online: nn.Module, tau: float):
    """Polyak averaging: target ← (1 - τ) target + τ online."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)


def frozen(module: nn.Module) -> nn.Module:
    """The module, with parameters that take no gradient."""
    return module.requires_grad_(False)

"""Networks with a leading learner axis: each learner has its own weights, and a layer is one batched product."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn


class Linear(nn.Module):
    """A linear layer with separate weights for each learner: (learners, batch, in) → (learners, batch, out).

    Input for fewer learners uses the first learners' weights. Weights and biases are initialised as in `nn.Linear`,
    uniform within ±1/√in, each learner's from its own stream.
    """

    def __init__(self, inputs: int, outputs: int, streams: Sequence[torch.Generator]):
        super().__init__()
        bound = 1 / math.sqrt(inputs)

        def uniform(*shape):
            weights = [torch.empty(shape).uniform_(-bound, bound, generator=stream) for stream in streams]
            return nn.Parameter(torch.stack(weights))

        self.weight = uniform(inputs, outputs)
        self.bias = uniform(1, outputs)

    def forward(self, x):
        return torch.baddbmm(self.bias[: len(x)], x, self.weight[: len(x)])


class LayerNorm(nn.Module):
    """Layer normalisation with separate scales and shifts for each learner, of (learners, batch, features)."""

    def __init__(self, features: int, learners: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(learners, 1, features))
        self.bias = nn.Parameter(torch.zeros(learners, 1, features))

    def forward(self, x):
        normalised = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)
        return torch.addcmul(self.bias[: len(x)], normalised, self.weight[: len(x)])


class Mlp(nn.Module):
    """Linear layers with ReLU or GELU between them, for all learners: (learners, batch, in) → (learners, batch, out).

    Arguments:
        norm: adds layer normalisation after each of them, as in ReBRAC's and FQL's critics.
        gelu: takes GELU in its tanh form, flax's default, in place of ReLU.
    """

    def __init__(
        self, widths: Sequence[int], streams: Sequence[torch.Generator], norm: bool = False, gelu: bool = False
    ):
        super().__init__()
        self.gelu = gelu
        self.layers = nn.ModuleList(Linear(i, o, streams) for i, o in pairwise(widths))
        self.norms = nn.ModuleList(LayerNorm(width, len(streams)) for width in widths[1:-1]) if norm else None

    def forward(self, x, dropout_factors: Sequence[torch.Tensor] = ()):
        """The output; hidden layer k is multiplied by `dropout_factors[k]`, (learners, batch, width), if given."""
        for k, layer in enumerate(self.layers[:-1]):
            x = nn.functional.gelu(layer(x), approximate="tanh") if self.gelu else layer(x).relu_()
            if self.norms is not None:
                x = self.norms[k](x)
            if dropout_factors:
                x = x * dropout_factors[k]
        return self.layers[-1](x)


class Actor(nn.Module):
    """States (learners, batch, S) → actions (learners, batch, A) in (-1, 1); a Gaussian policy's mean."""

    def __init__(self, state: int, action: int, hidden: Sequence[int], streams: Sequence[torch.Generator]):
        super().__init__()
        self.body = Mlp([state, *hidden, action], streams)

    def forward(self, states, dropout_factors: Sequence[torch.Tensor] = ()):
        return self.body(states, dropout_factors).tanh()


class TwinCritic(nn.Module):
    """Two Q functions for each learner, stored as twice as many learners: every first Q, then every second Q."""

    def __init__(
        self,
        state: int,
        action: int,
        hidden: Sequence[int],
        streams: Sequence[torch.Generator],
        norm: bool = False,
        gelu: bool = False,
    ):
        super().__init__()
        self.body = Mlp([state + action, *hidden, 1], [*streams, *streams], norm, gelu)

    def forward(self, states_and_actions):
        """(learners, batch, S + A) → both Q values, (2, learners, batch)."""
        both = self.body(states_and_actions.repeat(2, 1, 1))[..., 0]
        return both.view(2, -1, both.shape[-1])

    def first(self, states_and_actions):
        """(learners, batch, S + A) → the first Q alone, (learners, batch)."""
        return self.body(states_and_actions)[..., 0]


@torch.no_grad()
def glorot(module: nn.Module, streams: Sequence[torch.Generator]):
    """Draws all linear layers anew, uniform within ±√(6 / (in + out)), and sets their biases to 0, as flax does.

    `streams` repeat if there are fewer of them than stacked networks, as in `TwinCritic`.
    """
    for layer in module.modules():
        if isinstance(layer, Linear):
            bound = math.sqrt(6 / sum(layer.weight.shape[1:]))
            for k, weight in enumerate(layer.weight):
                drawn = torch.empty(weight.shape).uniform_(-bound, bound, generator=streams[k % len(streams)])
                weight.copy_(drawn)
            layer.bias.zero_()


def restored(module: nn.Module, weights: dict[str, torch.Tensor], network: str) -> nn.Module:
    """The module with the saved weights `<network>.<name>`.

    Their leading axis may have another length than the module's: that of the saved policies.
    """
    for name, _ in list(module.named_parameters()):
        owner, _, leaf = name.rpartition(".")
        saved = nn.Parameter(weights[f"{network}.{name}"], requires_grad=False)
        setattr(module.get_submodule(owner), leaf, saved)
    return module


def combined(q: torch.Tensor, how: str) -> torch.Tensor:
    """(2, …) values of both critics → (…), their "mean" or their "min"."""
    return q.mean(0) if how == "mean" else q.amin(0)


@torch.no_grad()
def track(target: nn.Module, online: nn.Module, tau: float):
    """Polyak averaging: target ← (1 - τ) target + τ online."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)


def frozen(module: nn.Module) -> nn.Module:
    """The same module, with gradients of its parameters turned off."""
    return module.requires_grad_(False)

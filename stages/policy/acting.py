"""Policies that act: many at once, in many episodes each."""

import re
from importlib import import_module
from types import SimpleNamespace

import torch


class Deterministic:
    """The policy of `networks.Actor`, a ReLU network with tanh at its end. A Gaussian policy acts by its mean.

    An algorithm whose policies are of another kind has a class `Policy` like this one in its file.

    Arguments:
        weights: `<network>.<name>` → tensor whose leading axis is the policies; `constant.<name>` → tensor.
        settings: the algorithm's.

    Attributes:
        noise: how many standard normal numbers an action takes.
        passes: how many network passes an action takes, those of critics included; twin critics count as one.
    """

    noise, passes = 0, 1

    def __init__(self, weights: dict[str, torch.Tensor], settings: SimpleNamespace):
        numbers = sorted({int(match[1]) for name in weights if (match := re.search(r"layers\.(\d+)\.weight", name))})
        self.layers = [[weights[f"actor.body.layers.{k}.{part}"] for part in ("weight", "bias")] for k in numbers]

    def __call__(self, states: torch.Tensor, noise: torch.Tensor, memory):
        """One step of all episodes.

        Arguments:
            states: (policies, episodes, S), normalised.
            noise: (policies, episodes, `noise`).
            memory: what the step before returned; None at the start of the episodes.

        Returns:
            actions (policies, episodes, A), and what is to be remembered.
        """
        *hidden, (weight, bias) = self.layers
        for each, shift in hidden:
            states = torch.baddbmm(shift, states, each).relu_()
        return torch.baddbmm(bias, states, weight).tanh(), memory


def policy_of(policies: dict[str, torch.Tensor], algorithm: str, settings: SimpleNamespace, snapshots: slice):
    """What acts by these snapshots' weights; its policies are (snapshots × learners), learners varying fastest."""
    weights = {
        name: part if name.startswith("constant.") else part[snapshots].flatten(0, 1)
        for name, part in policies.items()
        if "." in name
    }
    kind = getattr(import_module(f"stages.algorithms.{algorithm}"), "Policy", Deterministic)
    return kind(weights, settings)

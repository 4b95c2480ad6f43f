"""What the diffusion planners share: windows of steps as their networks see them, and acting by plans.

A step of a window is what it changes: [action, when actions are planned; change of the normalised state, over its
standard deviation in the data]. Windows begin in the state at hand, which all networks are given, as in the suite's
world model.
"""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from stages.common.transitions import Transitions, return_to_go
from stages.policy.batches import Batch
from stages.policy.networks import frozen, track
from stages.policy.optimizer import adam, cosine, descend


class Outlook:
    """What batches hold beside the transitions: the discounted return to come, normalised.

    Attributes:
        constants: "change" (S,), the standard deviation of a step's change of the normalised state; "reach" (S,), the
            largest change, over that; "target" (1,), the normalised return at `target_quantile`, if the settings have
            one: what plans aim at.
    """

    def __init__(self, real: Transitions, settings):
        self.discount = settings.discount
        returns = return_to_go(real.rewards, real.episode, self.discount)
        self.center, self.scale = returns.mean(), returns.std() + 1e-6
        change = (real.next_observations - real.observations).astype(np.float64)
        if settings.normalize_states:
            change /= real.observations.std(0, dtype=np.float64) + 1e-3
        spread = change.std(0) + 1e-6
        self.constants = {"change": spread, "reach": np.abs(change / spread).max(0)}
        if hasattr(settings, "target_quantile"):
            asked = np.quantile(returns, settings.target_quantile)
            self.constants["target"] = np.array([(asked - self.center) / self.scale])
        self.constants = {name: value.astype(np.float32) for name, value in self.constants.items()}

    def __call__(self, data: Transitions) -> dict[str, np.ndarray]:
        returns = (return_to_go(data.rewards, data.episode, self.discount) - self.center) / self.scale
        return {"returns": returns[:, None].astype(np.float32)}


def changes_of(batch: Batch, change: torch.Tensor) -> torch.Tensor:
    """(learners, batch, H, S) changes of the state in a batch's windows, over their standard deviation."""
    following = batch.window.next_states
    before = torch.cat([batch.states[:, :, None], following[:, :, :-1]], dim=2)
    return (following - before) / change


class PlannerLearner:
    """Trains the networks of all learners' planners together, one step of all in each update. A base class.

    The learning rate falls to 0 by a cosine. Plans come from moving averages of the diffusion models' weights.

    Arguments:
        networks: name → network; each becomes an attribute of that name.
        averaged: names of those of which a moving average acts, an attribute `average_<name>`.
    """

    phases = 1

    def __init__(self, networks: dict[str, nn.Module], averaged: Sequence[str], settings, device):
        self.settings, self.averaged = settings, averaged
        for name, network in networks.items():
            setattr(self, name, network.to(device))
        for name in averaged:
            setattr(self, f"average_{name}", frozen(deepcopy(networks[name])))
        self.acts = {name: getattr(self, f"average_{name}", network) for name, network in networks.items()}
        weights = [weight for network in networks.values() for weight in network.parameters()]
        self.optimizer = adam(weights, torch.tensor(settings.learning_rate, device=device))
        self.updates = torch.zeros((), dtype=torch.float64, device=device)

    def step(self, losses: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Descends the sum of the losses, (learners,) each, moves the averages, and returns the losses."""
        rate = self.settings.learning_rate * cosine(self.updates, self.settings.steps)
        self.optimizer.param_groups[0]["lr"].copy_(rate)
        self.updates += 1
        descend(self.optimizer, sum(losses.values()))
        for name in self.averaged:
            track(getattr(self, f"average_{name}"), getattr(self, name), 1 - self.settings.ema)
        return {name: loss.detach() for name, loss in losses.items()}


class Planning:
    """Acts by plans: of each plan it takes `execute` actions, then it plans anew. A base class.

    A subclass sets `noise`, the numbers that a plan takes, and `passes`, and has `plan`.
    """

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        self.settings, self.change = settings, weights["constant.change"]
        self.state = len(self.change)

    def plan(self, states, noise) -> torch.Tensor:
        """States (policies, episodes, S), noise (policies, episodes, `noise`) → actions (…, `execute` or more, A)."""
        raise NotImplementedError

    def __call__(self, states, noise, memory):
        """Remembers the actions still to be taken, (policies, episodes, steps, A)."""
        if memory is None or not memory.shape[2]:
            memory = self.plan(states, noise)[:, :, : self.settings.execute].clamp(-1, 1)
        return memory[:, :, 0], memory[:, :, 1:]

    def states_of(self, states, changes) -> torch.Tensor:
        """The states after each step of a plan, (policies, plans, H, S), from those before it and the changes."""
        return states[:, :, None] + (changes * self.change).cumsum(2)

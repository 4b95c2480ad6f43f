"""RSP (Recursive Skip-Step Planning, arXiv 2412.11253): a model looks ahead several steps, and a policy follows it.

Supervised learning alone, without values. The return to reach is a part of the state. One level of planning, as in the
authors' published runs.
"""

import math
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from stages.common.settings import Fraction, Positive, Section
from stages.common.transitions import Transitions, return_to_go
from stages.policy.draws import Draw
from stages.policy.networks import Linear, Mlp, restored
from stages.policy.optimizer import adam, cosine, descend
from stages.policy.settings import WHOLE_EPISODES

REAL_ONLY = WHOLE_EPISODES


class Settings(Section):
    """The settings that the section `rsp` of params.yaml adds to those of `policy`."""

    skip: Positive
    planner_share: Annotated[Fraction, Field(gt=0, lt=1)]
    target_quantile: Fraction


class Ahead:
    """What batches hold beside the transitions: the return still to come, and what changes within `skip` steps.

    The state o with its task is the state and g, the average reward still to come: return-to-go over the steps that are
    left of the longest episode in the data. A change o[i + skip] - o[i] ends with its episode. Both are normalised.

    Attributes:
        constants: "target", (1,), the normalised g that the policy asks for: that of the episode return at
            `target_quantile`, over the steps of the longest episode.
    """

    def __init__(self, real: Transitions, settings):
        self.skip, self.limit = settings.skip, int(real.lengths().max())
        progress, change = self.raw(real)
        self.center, self.scale = progress.mean(), progress.std() + 1e-4
        self.shift, self.spread = change.mean(0), change.std(0) + 1e-4
        asked = np.quantile(real.returns(), settings.target_quantile) / self.limit
        self.constants = {"target": np.float32([(asked - self.center) / self.scale])}

    def raw(self, data: Transitions) -> tuple[np.ndarray, np.ndarray]:
        """g, (N,), and the change of state and g, (N, S + 1)."""
        rows, ends = np.arange(len(data)), np.cumsum(data.lengths())
        done = rows - np.append(0, ends[:-1])[data.episode]
        progress = return_to_go(data.rewards, data.episode, 1.0) / (self.limit - done)
        states = np.column_stack([data.observations, progress])
        return progress, states[np.minimum(rows + self.skip, ends[data.episode] - 1)] - states

    def __call__(self, data: Transitions) -> dict[str, np.ndarray]:
        progress, change = self.raw(data)
        normalised = (progress[:, None] - self.center) / self.scale, (change - self.shift) / self.spread
        return dict(zip(("progress", "change"), (part.astype(np.float32) for part in normalised), strict=True))


def columns(real: Transitions, settings) -> Ahead:
    return Ahead(real, settings)


class Gaussian(nn.Module):
    """A Gaussian whose mean is an MLP's output and whose standard deviation does not depend on the input."""

    def __init__(self, inputs: int, outputs: int, hidden, streams):
        super().__init__()
        self.body = Mlp([inputs, *hidden, outputs], streams)
        self.log_std = nn.Parameter(torch.zeros(len(streams), 1, outputs))
        for layer in self.body.modules():
            if isinstance(layer, Linear):
                for k, stream in enumerate(streams):
                    nn.init.orthogonal_(layer.weight[k].data, math.sqrt(2), generator=stream)
                layer.bias.data.zero_()

    def forward(self, inputs):
        return self.body(inputs)

    def loss(self, inputs, outputs) -> torch.Tensor:
        """Negative log-likelihood, averaged over the batch: (learners,)."""
        error = (outputs - self(inputs)) * (-self.log_std).exp()
        return (0.5 * error.square() + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1).mean(-1)


class Policy:
    """Plans the change within `skip` steps, and acts to bring it about: the means of both, clipped to [-1, 1]."""

    noise, passes = 0, 2

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        def network(name: str) -> Gaussian:
            inputs, outputs = weights[f"{name}.body.layers.0.weight"].shape[1], weights[f"{name}.log_std"].shape[2]
            return restored(Gaussian(inputs, outputs, settings.hidden, [torch.Generator()]), weights, name)

        self.planner, self.actor, self.target = network("planner"), network("actor"), weights["constant.target"]

    def __call__(self, states, noise, memory):
        states = torch.cat([states, self.target.expand(*states.shape[:2], 1)], dim=-1)
        return self.actor(torch.cat([states, self.planner(states)], dim=-1)).clamp(-1, 1), memory


class Learner:
    """Planners, then policies, of all learners: for a state o with its task, a and Δ = o[i + skip] - o[i],

        -log p(Δ | o)                                      planner, for `planner_share` of the updates
        -log π(a | o, Δ + σ ε), ε ~ N(0, I)                policy; σ is the trained planner's standard deviation

    So the policy sees the true change, blurred by the planner's error, never its prediction. Follows the authors' code
    with these differences: the return to reach is a quantile of the data's episode returns, where they have a table of
    normalised scores for D4RL's data sets; the length of an episode is the longest in the data; at the small preset
    both networks share `policy.steps`, where they train each for 20,000 updates.
    """

    phases, compiled = 2, ("planner_loss", "actor_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings, self.planner_steps = settings, round(settings.planner_share * settings.steps)
        self.planner = Gaussian(state + 1, state + 1, settings.hidden, streams).to(device)
        self.actor = Gaussian(2 * (state + 1), action, settings.hidden, streams).to(device)
        self.acts = {"planner": self.planner, "actor": self.actor}
        self.draws = {"blur": Draw("normal", state + 1)}
        self.planner_optimizer, self.actor_optimizer = (
            adam(network.parameters(), torch.tensor(settings.learning_rate, device=device))
            for network in (self.planner, self.actor)
        )
        self.updates = torch.zeros(2, dtype=torch.float64, device=device)  # of each phase

    def phase(self, done: int) -> int:
        return int(done >= self.planner_steps)

    def planner_loss(self, batch) -> torch.Tensor:
        states = torch.cat([batch.states, batch.extra["progress"]], dim=-1)
        return self.planner.loss(states, batch.extra["change"])

    def actor_loss(self, batch, noise) -> torch.Tensor:
        blurred = batch.extra["change"] + self.planner.log_std.detach().exp() * noise
        return self.actor.loss(torch.cat([batch.states, batch.extra["progress"], blurred], dim=-1), batch.actions)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        """One step of the phase's network; its learning rate falls from the full one to 0 by a cosine."""
        steps = (self.planner_steps, self.settings.steps - self.planner_steps)[phase]
        optimizer = (self.planner_optimizer, self.actor_optimizer)[phase]
        optimizer.param_groups[0]["lr"].copy_(self.settings.learning_rate * cosine(self.updates[phase], steps))
        self.updates[phase] += 1
        loss = self.actor_loss(batch, noise["blur"]) if phase else self.planner_loss(batch)
        descend(optimizer, loss)
        return {("planner_loss", "actor_loss")[phase]: loss.detach()}

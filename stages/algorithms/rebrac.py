"""ReBRAC (Tarasov et al. 2023, arXiv 2305.09836): TD3+BC with a penalty in the critic's target as well.

It also has deeper networks, layer normalisation in the critics and larger batches.
"""

from copy import deepcopy

import numpy as np
import torch

from stages.common.settings import Fraction, NonNegative, Positive, Rate, Section
from stages.common.transitions import Transitions
from stages.policy.networks import Actor, Mlp, TwinCritic, frozen, track
from stages.policy.optimizer import adam, descend


class Settings(Section):
    """The settings that the section `rebrac` of params.yaml adds to those of `policy`."""

    critic_learning_rate: Rate
    actor_bc: NonNegative
    critic_bc: NonNegative
    policy_noise: NonNegative
    noise_clip: NonNegative
    policy_delay: Positive
    tau: Fraction


def columns(real: Transitions, settings):
    """What batches hold beside the transitions: `following_actions`."""
    return following_actions


def following_actions(data: Transitions) -> dict[str, np.ndarray]:
    """The next action of each row, (N, A), and whether the data hold it, (N, 1) of 0 and 1.

    The data hold it if the following row starts in exactly the state in which this row ends.
    """
    known = np.zeros((len(data), 1), dtype=np.float32)
    known[:-1, 0] = (data.observations[1:] == data.next_observations[:-1]).all(1)
    return {"next_actions": np.roll(data.actions, -1, axis=0), "next_known": known}


@torch.no_grad()
def initialise(body: Mlp, last: float):
    """Sets hidden biases to 0.1 and makes the last layer uniform within ±`last`, as in EDAC's and ReBRAC's code."""
    for layer in body.layers[:-1]:
        layer.bias.fill_(0.1)
    for part in (body.layers[-1].weight, body.layers[-1].bias):
        part.mul_(last * body.layers[-1].weight.shape[1] ** 0.5)  # before, uniform within ±1/√in


class Learner:
    """Actors, twin critics and target networks of all learners. Defaults and exceptions are the authors' settings.

    Differs from the authors' code in the steps before a time limit. If time runs out at step T of an episode, their
    `qlearning_dataset` drops step T, and uses its action as the next action of step T - 1. Here the target of the last
    step in the data has no penalty, because the data do not hold its next action: that is step T - 1 of D4RL's files,
    which are read without step T, and step T of local and Minari data, which hold its next state. Synthetic transitions
    have a penalty only if the next row continues them. At a terminal the next action does not matter, since the
    discount is 0.

    Each transition brings its own discount. The authors' 0.999 on AntMaze is the root key `discount`, which all
    algorithms share.
    """

    compiled = ("target", "critic_loss", "actor_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings, self.phases = settings, settings.policy_delay
        self.actor = Actor(state, action, settings.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams, norm=True).to(device)
        initialise(self.actor.body, 1e-3)
        initialise(self.critic.body, 3e-3)
        self.target_actor = frozen(deepcopy(self.actor))
        self.target_critic = frozen(deepcopy(self.critic))
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizer = adam(self.critic.parameters(), settings.critic_learning_rate)

    @torch.no_grad()
    def target(self, batch, normals) -> torch.Tensor:
        """r + d · (min Q'(s', a') - β₂ (a' - â')²), a' = clip(π'(s') + clip(ε)), â' the data's: (learners, batch)."""
        noise = (normals * self.settings.policy_noise).clamp(-self.settings.noise_clip, self.settings.noise_clip)
        actions = (self.target_actor(batch.next_states) + noise).clamp(-1, 1)
        q = self.target_critic(torch.cat([batch.next_states, actions], dim=-1)).amin(0)
        penalty = (actions - batch.extra["next_actions"]).square().sum(-1) * batch.extra["next_known"][..., 0]
        return batch.rewards + batch.discounts * (q - self.settings.critic_bc * penalty)

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Sum of both critics' mean squared errors: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    def actor_loss(self, batch) -> torch.Tensor:
        """β₁ (π(s) - a)² - min Q(s, π(s)) / mean |min Q| of each learner's own batch: (learners,)."""
        states = batch.states
        actions = self.actor(states)
        q = self.critic(torch.cat([states, actions], dim=-1)).amin(0)
        penalty = (actions - batch.actions).square().sum(-1).mean(-1)
        return self.settings.actor_bc * penalty - q.mean(-1) / q.detach().abs().mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        target = self.target(batch, noise["normals"])
        critic_loss = self.critic_loss(batch, target)
        descend(self.critic_optimizer, critic_loss)
        losses = {"critic_loss": critic_loss.detach(), "q": target.abs().mean(-1)}
        if phase == 0:
            actor_loss = self.actor_loss(batch)
            track(self.target_actor, self.actor, self.settings.tau)  # before the update, as in their code
            descend(self.actor_optimizer, actor_loss)
            track(self.target_critic, self.critic, self.settings.tau)
            losses["actor_loss"] = actor_loss.detach()
        return losses

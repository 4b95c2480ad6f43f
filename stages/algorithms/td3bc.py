"""TD3+BC (Fujimoto and Gu 2021, arXiv 2106.06860): TD3 with a behaviour-cloning term in the actor's loss."""

from copy import deepcopy

import torch

from stages.common.settings import Fraction, NonNegative, Positive, Rate, Section
from stages.policy.networks import Actor, TwinCritic, frozen, track
from stages.policy.optimizer import adam, descend


class Settings(Section):
    """The settings that the section `td3bc` of params.yaml adds to those of `policy`."""

    alpha: Rate
    policy_noise: NonNegative
    noise_clip: NonNegative
    policy_delay: Positive
    tau: Fraction


class Learner:
    """Actors, twin critics and target networks of all learners. The section's defaults are CORL's.

    Follows the paper, except that each transition brings its own discount instead of a constant γ.
    """

    compiled = ("target", "critic_loss", "actor_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings, self.phases = settings, settings.policy_delay
        self.actor = Actor(state, action, settings.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams).to(device)
        self.target_actor = frozen(deepcopy(self.actor))
        self.target_critic = frozen(deepcopy(self.critic))
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizer = adam(self.critic.parameters(), settings.learning_rate)

    @torch.no_grad()
    def target(self, batch, normals) -> torch.Tensor:
        """r + d · min Q'(s', clip(π'(s') + clip(ε))): (learners, batch)."""
        noise = (normals * self.settings.policy_noise).clamp(-self.settings.noise_clip, self.settings.noise_clip)
        actions = (self.target_actor(batch.next_states) + noise).clamp(-1, 1)
        q = self.target_critic(torch.cat([batch.next_states, actions], dim=-1)).amin(0)
        return batch.rewards + batch.discounts * q

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Sum of both critics' mean squared errors: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    def actor_loss(self, batch) -> torch.Tensor:
        """-λ Q(s, π(s)) + (π(s) - a)², with λ = α / mean |Q| of each learner's own batch (eq. 4 and 5): (learners,)."""
        states = batch.states
        actions = self.actor(states)
        q = self.critic.first(torch.cat([states, actions], dim=-1))
        scale = self.settings.alpha / q.detach().abs().mean(-1)
        return (actions - batch.actions).square().mean((1, 2)) - scale * q.mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        target = self.target(batch, noise["normals"])
        critic_loss = self.critic_loss(batch, target)
        descend(self.critic_optimizer, critic_loss)
        losses = {"critic_loss": critic_loss.detach(), "q": target.abs().mean(-1)}
        if phase == self.phases - 1:
            actor_loss = self.actor_loss(batch)
            descend(self.actor_optimizer, actor_loss)
            track(self.target_critic, self.critic, self.settings.tau)
            track(self.target_actor, self.actor, self.settings.tau)
            losses["actor_loss"] = actor_loss.detach()
        return losses

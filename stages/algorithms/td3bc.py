"""TD3+BC (Fujimoto and Gu 2021, arXiv 2106.06860): TD3 with a behaviour-cloning term in the actor's loss."""

from copy import deepcopy

import torch

from stages.policy.networks import Actor, TwinCritic, frozen, track


class Learner:
    """All learners' actors, critics and targets. Settings are the `td3bc` section; CORL's are its defaults.

    Differs from the paper in nothing; discounts come with the transitions instead of a constant γ.
    """

    def __init__(self, state: int, action: int, streams, config, settings, data, device):
        self.settings = settings
        self.actor = Actor(state, action, config.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, config.hidden, streams).to(device)
        self.target_actor = frozen(deepcopy(self.actor))
        self.target_critic = frozen(deepcopy(self.critic))
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=config.learning_rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=config.learning_rate, fused=True)
        self.actor_loss_seen = torch.zeros(len(streams), device=device)

    @torch.no_grad()
    def target(self, batch, normals) -> torch.Tensor:
        """r + d · min Q'(s', clip(π'(s') + clip(ε))): (learners, batch)."""
        noise = (normals * self.settings.policy_noise).clamp_(-self.settings.noise_clip, self.settings.noise_clip)
        actions = (self.target_actor(batch.next_states) + noise).clamp_(-1, 1)
        q = self.target_critic(torch.cat([batch.next_states, actions], dim=-1)).amin(0)
        return batch.rewards + batch.discounts * q

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Both critics' mean squared errors, added: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    def actor_loss(self, batch) -> torch.Tensor:
        """-λ Q(s, π(s)) + (π(s) - a)², with λ = α / mean |Q| of each learner's own batch (eq. 4 and 5): (learners,)."""
        states = batch.states
        actions = self.actor(states)
        q = self.critic.first(torch.cat([states, actions], dim=-1))
        scale = self.settings.alpha / q.detach().abs().mean(-1)
        return (actions - batch.actions).square().mean((1, 2)) - scale * q.mean(-1)

    def update(self, batch, normals, step: int) -> dict[str, torch.Tensor]:
        critic_loss = self.critic_loss(batch, self.target(batch, normals))
        self.critic_optimizer.zero_grad()
        critic_loss.sum().backward()
        self.critic_optimizer.step()

        if (step + 1) % self.settings.policy_delay == 0:
            actor_loss = self.actor_loss(batch)
            weights = list(self.actor.parameters())
            for weight, gradient in zip(weights, torch.autograd.grad(actor_loss.sum(), weights), strict=True):
                weight.grad = gradient
            self.actor_optimizer.step()
            track(self.target_critic, self.critic, self.settings.tau)
            track(self.target_actor, self.actor, self.settings.tau)
            self.actor_loss_seen = actor_loss.detach()
        return {"critic_loss": critic_loss.detach(), "actor_loss": self.actor_loss_seen}

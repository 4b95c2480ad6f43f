"""SAC (Haarnoja et al. 2018, arXiv 1812.05905): the part of an algorithm that improves policies, with its losses."""

import math
from copy import deepcopy

import torch
from torch import nn
from torch.nn.functional import softplus

from stages.policy.networks import Actor, Linear, TwinCritic, frozen, track
from stages.policy.optimizer import adam, cosine, descend

LOG_STD = -5.0, 2.0  # limits of the policy's log standard deviation


class TanhGaussian(Actor):
    """Policies tanh(μ(s) + σ(s) ε); both come from the last hidden layer. Evaluation acts by tanh(μ(s))."""

    def __init__(self, state: int, action: int, hidden, streams):
        super().__init__(state, action, hidden, streams)
        self.spread = Linear(hidden[-1], action, streams)  # → log σ

    def sample(self, states, noise):
        """States (learners, batch, S), normals (learners, batch, A) → actions, (…, A), and log π(a | s), (…)."""
        *hidden, last = self.body.layers
        for layer in hidden:
            states = layer(states).relu_()
        log_std = self.spread(states).clamp(*LOG_STD)
        raw = last(states) + log_std.exp() * noise
        logs = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        slope = 2 * (math.log(2) - raw - softplus(-2 * raw))  # log(1 - tanh² raw)
        return raw.tanh(), (logs - slope).sum(-1)


class EntropyWeight(nn.Module):
    """The weight α of each learner's entropy: (learners,); at most 1, as in OfflineRL-Kit."""

    def __init__(self, initial: float, learners: int):
        super().__init__()
        self.log = nn.Parameter(torch.full((learners,), math.log(initial)))

    def forward(self):
        return self.log.detach().exp().clamp(max=1.0)


class Sac:
    """Actors, twin critics, target critics and entropy weights of all learners. For a batch of (s, a, r, d, s'),

        y = r + d (min Q'(s', a') [- α log π(a' | s')]),  a' ~ π(s')       target; the bracket if `soft_target`
        Σⱼ mean (Qⱼ(s, a) - y)²                                            critics
        mean (α log π(a | s) - min Q(s, a)),  a ~ π(s)                     actor
        -log α · mean (log π(a | s) - A)                                   entropy weight; the target entropy is -A

    The actor's learning rate falls by a cosine over its `actor_steps` updates.
    """

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings, self.target_entropy, self.actor_steps = settings, -float(action), settings.steps
        self.actor = TanhGaussian(state, action, settings.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams).to(device)
        self.target_critic = frozen(deepcopy(self.critic))
        self.adapts = settings.entropy_weight == "auto"
        self.entropy_weight = EntropyWeight(1.0 if self.adapts else settings.entropy_weight, len(streams)).to(device)
        rate = settings.actor_learning_rate
        self.actor_optimizer = adam(self.actor.parameters(), torch.tensor(rate, device=device))
        self.critic_optimizer = adam(self.critic.parameters(), settings.learning_rate)
        self.entropy_optimizer = adam(self.entropy_weight.parameters(), settings.entropy_learning_rate)
        self.actor_updates = torch.zeros((), dtype=torch.float64, device=device)

    @torch.no_grad()
    def target(self, batch, noise) -> torch.Tensor:
        """y, (learners, batch)."""
        actions, logs = self.actor.sample(batch.next_states, noise["next"])
        q = self.target_critic(torch.cat([batch.next_states, actions], dim=-1)).amin(0)
        if self.settings.soft_target:
            q = q - self.entropy_weight()[:, None] * logs
        return batch.rewards + batch.discounts * q

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Sum of both critics' mean squared errors: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    def actor_loss(self, batch, normals) -> tuple[torch.Tensor, torch.Tensor]:
        """The actor's loss and the mean of log π, (learners,) each."""
        states = batch.states
        actions, logs = self.actor.sample(states, normals)
        q = self.critic(torch.cat([states, actions], dim=-1)).amin(0)
        return (self.entropy_weight()[:, None] * logs - q).mean(-1), logs.mean(-1)

    def improve(self, batch, target, normals) -> dict[str, torch.Tensor]:
        """One step of the critics, then of the actors, then of the entropy weights; returns the losses."""
        critic_loss = self.critic_loss(batch, target)
        descend(self.critic_optimizer, critic_loss)
        actor_loss, logs = self.actor_loss(batch, normals)
        factor = cosine(self.actor_updates, self.actor_steps)
        self.actor_optimizer.param_groups[0]["lr"].copy_(self.settings.actor_learning_rate * factor)
        self.actor_updates += 1
        descend(self.actor_optimizer, actor_loss)
        if self.adapts:
            descend(self.entropy_optimizer, -self.entropy_weight.log * (logs.detach() + self.target_entropy))
        track(self.target_critic, self.critic, self.settings.tau)
        losses = {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}
        return {**losses, "entropy": -logs.detach(), "q": target.abs().mean(-1)}

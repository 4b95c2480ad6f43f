"""ReBRAC (Tarasov et al. 2023, arXiv 2305.09836): TD3+BC with a penalty in the critic's target too, deeper networks,
layer-normalised critics and larger batches.
"""

from copy import deepcopy

import torch

from stages.policy.networks import Actor, Mlp, TwinCritic, frozen, track
from stages.policy.optimizer import adam, descend


@torch.no_grad()
def started(body: Mlp, last: float) -> Mlp:
    """With hidden biases at 0.1 and the last layer uniform within ±`last`, as EDAC's and ReBRAC's code starts."""
    for layer in body.layers[:-1]:
        layer.bias.fill_(0.1)
    for part in (body.layers[-1].weight, body.layers[-1].bias):
        part.mul_(last * body.layers[-1].weight.shape[1] ** 0.5)  # it was uniform within ±1/√in
    return body


class Learner:
    """All learners' actors, critics and targets. Settings are the `rebrac` section; its authors' are the defaults and
    exceptions.

    Differs from the authors' code in one thing: where the data do not tell the next action (the last step before a time
    limit, synthetic data out of sequence), the target has no penalty; they leave such steps out. Discounts come with
    the transitions: the 0.999 that they use on AntMaze is `discount`, for all algorithms.
    """

    compiled, next_actions = ("target", "critic_loss", "actor_loss"), True

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings, self.period = settings, settings.policy_delay
        self.actor = Actor(state, action, settings.hidden, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams, norm=True).to(device)
        started(self.actor.body, 1e-3)
        started(self.critic.body, 3e-3)
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
        penalty = (actions - batch.next_actions).square().sum(-1) * batch.next_known
        return batch.rewards + batch.discounts * (q - self.settings.critic_bc * penalty)

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Both critics' mean squared errors, added: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    def actor_loss(self, batch) -> torch.Tensor:
        """β₁ (π(s) - a)² - min Q(s, π(s)) / mean |min Q| of each learner's own batch: (learners,)."""
        states = batch.states
        actions = self.actor(states)
        q = self.critic(torch.cat([states, actions], dim=-1)).amin(0)
        penalty = (actions - batch.actions).square().sum(-1).mean(-1)
        return self.settings.actor_bc * penalty - q.mean(-1) / q.detach().abs().mean(-1)

    def update(self, batch, normals, phase: int) -> dict[str, torch.Tensor]:
        target = self.target(batch, normals)
        critic_loss = self.critic_loss(batch, target)
        descend(self.critic_optimizer, critic_loss)
        losses = {"critic_loss": critic_loss.detach(), "q": target.abs().mean(-1)}
        if phase == 0:
            actor_loss = self.actor_loss(batch)
            track(self.target_actor, self.actor, self.settings.tau)  # the actor of before its update, as in their code
            descend(self.actor_optimizer, actor_loss)
            track(self.target_critic, self.critic, self.settings.tau)
            losses["actor_loss"] = actor_loss.detach()
        return losses

"""After GTP (Generative Trajectory Policies, arXiv 2510.11499): a policy that jumps along paths from noise to actions.

Its network is told where a jump begins and ends, so that one network acts in any number of jumps. It clones the data's
actions, and the better ones more. The paper's appendix, which holds the settings, is not public; what is ours is named
in `Learner`.
"""

from copy import deepcopy
from itertools import pairwise

import torch

from stages.common.settings import Fraction, NonNegative, Positive, Rate
from stages.diffusion.process import Edm
from stages.policy.draws import Draw
from stages.policy.networks import Mlp, TwinCritic, frozen, restored, track
from stages.policy.optimizer import adam, descend
from stages.policy.settings import Levels


class Settings(Levels):
    """The settings that the section `gtp` of params.yaml adds to those of `policy`."""

    eta: NonNegative
    max_weight: Rate
    flow_weight: Rate
    jumps: Positive
    levels: Positive
    tau: Fraction


class Trajectory(Mlp):
    """Φ(s, x, t, u): states (…, S), points (…, A) with noise t → the points of their paths with noise u ≤ t.

    Levels are (…, 1). Φ = (1 - u/t) φ(s, x, t, u) + (u/t) x, eq. 4. φ has EDM's preconditioning.
    """

    def __init__(self, state: int, action: int, settings, streams):
        super().__init__([state + action + 2, *settings.hidden, action], streams, gelu=True)
        self.process = Edm(settings)

    def clean(self, states, points, start, end) -> torch.Tensor:
        """φ(s, x, t, u), (…, A)."""
        scale, skip, out = self.process.coefficients(start)
        inputs = torch.cat([states, scale * points, start.log() / 4, end.log() / 4], dim=-1)
        return skip * points + out * super().forward(inputs)

    def forward(self, states, points, start, end):
        ratio = end / start
        return (1 - ratio) * self.clean(states, points, start, end) + ratio * points

    def levels(self, count: int) -> torch.Tensor:
        """(count,) noise levels, falling from sigma_max to sigma_min."""
        return self.process.sigmas(count)[:-1]

    def act(self, states, noise, levels) -> torch.Tensor:
        """Actions (…, A) in [-1, 1] from standard normal noise, by jumps between the levels, eq. 15."""
        points = levels[0] * noise
        for start, end in pairwise(levels):
            points = self(states, points, *(level.expand_as(noise[..., :1]) for level in (start, end)))
        return points.clamp(-1, 1)


class Policy:
    """Acts by `jumps` jumps from noise: stochastic."""

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        inputs = weights["actor.layers.0.weight"].shape[1]
        self.noise = weights[f"actor.layers.{len(settings.hidden)}.weight"].shape[2]  # as many numbers as actions
        actor = Trajectory(inputs - self.noise - 2, self.noise, settings, [torch.Generator()])
        self.actor, self.levels = restored(actor, weights, "actor"), actor.levels(settings.jumps + 1)
        self.passes = settings.jumps

    def __call__(self, states, noise, memory):
        return self.actor.act(states, noise, self.levels), memory


class Learner:
    """Trajectory policies, twin critics and the targets of both, of all learners.

    For a batch of (s, a, r, d, s'), noise z and levels t > u ≥ v, the losses are

        Σⱼ mean (Qⱼ(s, a) - r - d · min Q'(s', π'(s')))²                     critics, eq. 16
        mean w |Φ(s, a + t z, t, v) - sg[Φ'(s, a + u z, u, v)]|²             consistency, eq. 14
        + flow_weight · mean w |a - φ(s, a + t z, t, t)|²                    the denoiser
        with w = exp(η max(0, A) / std A), A = Q(s, a) - V(s)                eq. 17 to 19

    The critics step first, and A comes from them after it, as in algorithm 1. Ours: V(s) is Q of one action of the
    target policy; the noise levels are EDM's, u the next one below t, v any from there on; w is at most `max_weight`;
    the network is an MLP with GELU; squares are averaged over the action's dimensions; actions are clipped to [-1, 1].
    """

    phases, compiled = 1, ("critic_loss", "actor_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings = settings
        self.actor = Trajectory(state, action, settings, streams).to(device)
        self.critic = TwinCritic(state, action, settings.hidden, streams).to(device)
        self.target_actor, self.target_critic = (frozen(deepcopy(each)) for each in (self.actor, self.critic))
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizer = adam(self.critic.parameters(), settings.learning_rate)
        self.levels = self.actor.levels(settings.levels).to(device)
        self.jumps = self.actor.levels(settings.jumps + 1).to(device)
        noise, choice = Draw("normal", action), Draw("uniform", 1)
        self.draws = {"next": noise, "here": noise, "noise": noise, "from": choice, "to": choice}

    @torch.no_grad()
    def target(self, batch, noise) -> torch.Tensor:
        """r + d · min Q'(s', π'(s')): (learners, batch)."""
        actions = self.target_actor.act(batch.next_states, noise, self.jumps)
        q = self.target_critic(torch.cat([batch.next_states, actions], dim=-1)).amin(0)
        return batch.rewards + batch.discounts * q

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Sum of both critics' mean squared errors: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    @torch.no_grad()
    def weight(self, batch, noise) -> torch.Tensor:
        """w, (learners, batch)."""
        actions = self.target_actor.act(batch.states, noise, self.jumps)
        value = self.critic(torch.cat([batch.states, actions], dim=-1)).amin(0)
        advantage = self.critic(batch.states_and_actions).amin(0) - value
        scaled = advantage.clamp(min=0) / (advantage.std(-1, keepdim=True) + 1e-6)
        return (self.settings.eta * scaled).exp().clamp(max=self.settings.max_weight)

    def times(self, first, second) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Uniform draws (learners, batch, 1) → levels t, u and v, of that shape."""
        last = len(self.levels) - 1
        start = (first * last).long().clamp(max=last - 1)
        end = (start + 1 + (second * (last - start)).long()).clamp(max=last)
        return self.levels[start], self.levels[start + 1], self.levels[end]

    def actor_loss(self, batch, weight, noise, start, middle, end) -> torch.Tensor:
        """Consistency and denoising: (learners,)."""
        states, data = batch.states, batch.actions
        with torch.no_grad():
            goal = self.target_actor(states, data + middle * noise, middle, end)
        points = data + start * noise
        consistency = (self.actor(states, points, start, end) - goal).square().mean(-1)
        denoising = (self.actor.clean(states, points, start, start) - data).square().mean(-1)
        return (weight * (consistency + self.settings.flow_weight * denoising)).mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        target = self.target(batch, noise["next"])
        critic_loss = self.critic_loss(batch, target)
        descend(self.critic_optimizer, critic_loss)
        weight = self.weight(batch, noise["here"])
        actor_loss = self.actor_loss(batch, weight, noise["noise"], *self.times(noise["from"], noise["to"]))
        descend(self.actor_optimizer, actor_loss)
        track(self.target_critic, self.critic, self.settings.tau)
        track(self.target_actor, self.actor, self.settings.tau)
        losses = {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}
        return {**losses, "q": target.abs().mean(-1)}

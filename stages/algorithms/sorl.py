"""SORL (Espinosa-Dice et al. 2025, arXiv 2505.22866): a shortcut model as policy, which acts in 1, 2, 4 or 8 steps.

Like a flow it carries noise to actions, but it is told how long its steps are: a long step must lead where two of half
the length lead. So few steps suffice, and Q's gradient passes through all of them.
"""

from copy import deepcopy
from typing import Literal

import torch

from stages.common.settings import Fraction, NonNegative, Positive, Rate, Section
from stages.policy.draws import Draw
from stages.policy.networks import Mlp, TwinCritic, combined, frozen, glorot, restored, track
from stages.policy.optimizer import adam, descend

LEVELS = 3  # steps of length 1 / 2^level, from one step to eight
NOISE_LEFT = 1e-5  # share of the noise that stays at t = 1


class Settings(Section):
    """The settings that the section `sorl` of params.yaml adds to those of `policy`."""

    q_weight: NonNegative
    matching_weight: Rate
    consistency_weight: Rate
    target_q: Literal["mean", "min"]
    normalize_q: bool
    clip: Rate
    tau: Fraction
    act_steps: Literal[1, 2, 4, 8]
    best_of: Positive


class Shortcut(Mlp):
    """f(s, x, t, l): states (…, S), points (…, A), times and levels (…, 1) → average velocity of a step (…, A)."""

    def __init__(self, state: int, action: int, hidden, streams):
        super().__init__([state + action + 2, *hidden, action], streams, gelu=True)

    def forward(self, states, points, times, levels):
        return super().forward(torch.cat([states, points, times, levels], dim=-1))

    def sample(self, states, noise, level: int) -> torch.Tensor:
        """Where 2^level steps bring the noise, clipped to [-1, 1]."""
        points, steps = noise, 2**level
        for step in range(steps):
            time = torch.full_like(noise[..., :1], step / steps)
            points = points + self(states, points, time, torch.full_like(time, level)) / steps
        return points.clamp(-1, 1)


def judged(critic: TwinCritic, states, actions, level: int) -> torch.Tensor:
    """Both Q values of actions that 2^level steps made, (2, learners, batch); critics know the number of steps."""
    steps = torch.full_like(actions[..., :1], 2**level)
    return critic(torch.cat([states, actions, steps], dim=-1))


class Policy:
    """Acts in `act_steps` steps; of `best_of` actions it takes the one that the critics like best."""

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        self.settings, self.level = settings, settings.act_steps.bit_length() - 1
        inputs = weights["actor.layers.0.weight"].shape[1]
        self.actions = weights[f"actor.layers.{len(settings.hidden)}.weight"].shape[2]
        state, streams = inputs - self.actions - 2, [torch.Generator()]
        self.noise = self.actions * settings.best_of
        self.passes = settings.best_of * (settings.act_steps + (settings.best_of > 1))
        self.actor = restored(Shortcut(state, self.actions, settings.hidden, streams), weights, "actor")
        if settings.best_of > 1:
            twins = {
                name.replace("critic0", "critic"): torch.cat([part, weights[name.replace("critic0", "critic1")]])
                for name, part in weights.items()
                if name.startswith("critic0.")
            }
            critic = TwinCritic(state, self.actions + 1, settings.hidden, streams, norm=True, gelu=True)
            self.critic = restored(critic, twins, "critic")

    def __call__(self, states, noise, memory):
        policies, episodes, _ = states.shape
        many = states.repeat_interleave(self.settings.best_of, dim=1)
        actions = self.actor.sample(many, noise.reshape(policies, -1, self.actions), self.level)
        if self.settings.best_of == 1:
            return actions, memory
        q = combined(judged(self.critic, many, actions, self.level), self.settings.target_q)
        best = q.view(policies, episodes, -1).argmax(-1, keepdim=True)[..., None]
        actions = actions.view(policies, episodes, -1, self.actions)
        return actions.gather(2, best.expand(-1, -1, 1, self.actions))[:, :, 0], memory


class Half:
    """The first or the second critic of each learner, as a part of the policy."""

    def __init__(self, critic: TwinCritic, which: int):
        self.critic, self.which = critic, which

    def named_parameters(self):
        return ((name, weight.chunk(2)[self.which]) for name, weight in self.critic.named_parameters())


class Learner:
    """Shortcut policies, twin critics and the targets of both, of all learners.

    In update i, steps are k = 1, 2, 4, 8 in turn. With fresh noise for each of them, for a batch of (s, a, r, d, s'),

        Σⱼ mean (Qⱼ(s, a, k) - r - d · agg Q'(s', a', k))²                  critics; a' = π(s', z', k) in k steps
        w₁ mean (f(s, xₜ, t, 3) - (a - (1 - ε) x₀))²                        matching, xₜ = (1 - (1 - ε) t) x₀ + t a
        + w₂ mean (f(s, xₜ, t, l) - (v₁ + v₂) / 2)²                         self-consistency: v₁, v₂ are the target
                                                                            network's next two steps of half the length
        - w₃ mean Q(s, π(s, z, k), k) [/ mean |Q|]                          policy, with both critics' mean

    A third of the batch has steps of length 1/4, 1/2 and 1 each (l = 2, 1, 0) in the self-consistency term.

    Differs from the authors' code: there the critics' target is not detached, so the TD error also pushes the policy,
    and one Adam with the momenta of all networks takes both steps; here the target is detached and the optimizers are
    two. There k is drawn at random for each update; here k takes turns, so that each has a CUDA graph of its own. Each
    transition brings its own discount, and gradients are clipped for each learner by itself.
    """

    phases, compiled = LEVELS + 1, ("critic_loss", "flow_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings = settings
        self.actor = Shortcut(state, action, settings.hidden, streams)
        self.critic = TwinCritic(state, action + 1, settings.hidden, streams, norm=True, gelu=True)
        for network in (self.actor, self.critic):
            glorot(network, streams)
            network.to(device)
        self.target_actor, self.target_critic = (frozen(deepcopy(each)) for each in (self.actor, self.critic))
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizer = adam(self.critic.parameters(), settings.learning_rate)
        self.acts = {"actor": self.actor}
        if settings.best_of > 1:
            self.acts |= {f"critic{k}": Half(self.critic, k) for k in range(2)}
        noise, time = Draw("normal", action), Draw("uniform", 1)
        self.draws = {
            "next": noise,
            "match": noise,
            "match time": time,
            "halve": noise,
            "halve time": time,
            "policy": noise,
        }

    @torch.no_grad()
    def target(self, batch, noise, level: int) -> torch.Tensor:
        """r + d · agg Q'(s', π(s', z', k), k): (learners, batch)."""
        actions = self.actor.sample(batch.next_states, noise, level)
        q = judged(self.target_critic, batch.next_states, actions, level)
        return batch.rewards + batch.discounts * combined(q, self.settings.target_q)

    def critic_loss(self, batch, steps, target) -> torch.Tensor:
        """Sum of both critics' mean squared errors: (learners,); `steps` is k, (learners, batch, 1)."""
        q = self.critic(torch.cat([batch.states_and_actions, steps], dim=-1))
        return (q - target).square().mean(-1).sum(0)

    def flow_loss(self, batch, match, match_time, halve, halve_time) -> torch.Tensor:
        """Matching and self-consistency: (learners,)."""
        states, data, left = batch.states, batch.actions, 1 - NOISE_LEFT

        def between(noise, time):
            return (1 - left * time) * noise + time * data

        time = (match_time * 2**LEVELS).floor() / 2**LEVELS
        velocity = self.actor(states, between(match, time), time, torch.full_like(time, LEVELS))
        matching = (velocity - (data - left * match)).square().mean((1, 2))

        rows = torch.arange(states.shape[1], device=states.device)
        level = (LEVELS - 1 - rows // (len(rows) // LEVELS)).clamp(min=0).to(states)[:, None].expand_as(time)
        steps = level.exp2()
        time = (halve_time * steps).floor() / steps
        points, half = between(halve, time), 0.5 / steps
        with torch.no_grad():
            first = self.target_actor(states, points, time, level + 1)
            second = self.target_actor(states, points + half * first, time + half, level + 1)
        consistency = (self.actor(states, points, time, level) - (first + second) / 2).square().mean((1, 2))
        return self.settings.matching_weight * matching + self.settings.consistency_weight * consistency

    def policy_loss(self, batch, noise, level: int) -> torch.Tensor:
        """-mean Q(s, π(s, z, k), k): (learners,)."""
        states = batch.states
        q = judged(self.critic, states, self.actor.sample(states, noise, level), level).mean(0)
        return -q.mean(-1) / (q.detach().abs().mean(-1) if self.settings.normalize_q else 1.0)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        """One step of the critics, then one of the policy; `phase` is the level of k = 2^phase."""
        target = self.target(batch, noise["next"], phase)
        critic_loss = self.critic_loss(batch, torch.full_like(noise["match time"], 2**phase), target)
        descend(self.critic_optimizer, critic_loss, self.settings.clip)
        flow_loss = self.flow_loss(batch, *(noise[name] for name in ("match", "match time", "halve", "halve time")))
        actor_loss = flow_loss + self.settings.q_weight * self.policy_loss(batch, noise["policy"], phase)
        descend(self.actor_optimizer, actor_loss, self.settings.clip)
        track(self.target_critic, self.critic, self.settings.tau)
        track(self.target_actor, self.actor, self.settings.tau)
        losses = {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}
        return {**losses, "q": target.abs().mean(-1)}

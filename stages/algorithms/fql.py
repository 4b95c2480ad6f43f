"""FQL (Park, Li and Levine 2025, arXiv 2502.02538): flow Q-learning, with a one-step policy distilled from a flow.

A flow v imitates the data's actions, however many modes they have. The policy μ maps a state and noise to an action in
one pass; it is drawn towards what the flow makes of the same noise, and towards a large Q.
"""

from copy import deepcopy
from typing import Literal

import torch

from stages.common.settings import Fraction, Positive, Rate, Section
from stages.policy.draws import Draw
from stages.policy.networks import Mlp, TwinCritic, combined, frozen, glorot, restored, track
from stages.policy.optimizer import adam, descend


class Settings(Section):
    """The settings that the section `fql` of params.yaml adds to those of `policy`."""

    alpha: Rate
    flow_steps: Positive
    target_q: Literal["mean", "min"]
    normalize_q: bool
    tau: Fraction


class OneStep(Mlp):
    """Normalised states (…, S) and noise (…, A) → actions (…, A), which are not clipped."""

    def __init__(self, state: int, action: int, hidden, streams):
        super().__init__([state + action, *hidden, action], streams, gelu=True)

    def forward(self, states, noise):
        return super().forward(torch.cat([states, noise], dim=-1))


class Flow(Mlp):
    """The velocity v(s, x, t): states (…, S), points (…, A) and times (…, 1) in [0, 1] → (…, A)."""

    def __init__(self, state: int, action: int, hidden, streams):
        super().__init__([state + action + 1, *hidden, action], streams, gelu=True)

    def forward(self, states, points, times):
        return super().forward(torch.cat([states, points, times], dim=-1))

    def transport(self, states, noise, steps: int) -> torch.Tensor:
        """Where Euler's method with equal steps brings the noise from t = 0 to t = 1, clipped to [-1, 1]."""
        points = noise
        for step in range(steps):
            points = points + self(states, points, torch.full_like(noise[..., :1], step / steps)) / steps
        return points.clamp(-1, 1)


class Policy:
    """Acts by clip(μ(s, z)) with z ~ N(0, I): stochastic, as in the authors' evaluation."""

    passes = 1

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        inputs = weights["actor.layers.0.weight"].shape[1]
        self.noise = weights[f"actor.layers.{len(settings.hidden)}.weight"].shape[2]  # as many numbers as actions
        actor = OneStep(inputs - self.noise, self.noise, settings.hidden, [torch.Generator()])
        self.actor = restored(actor, weights, "actor")

    def __call__(self, states, noise, memory):
        return self.actor(states, noise).clamp(-1, 1), memory


class Learner:
    """One-step policies, flows, twin critics and target critics of all learners.

    The loss is, for a batch of (s, a, r, d, s') with discount d and fresh z, z', x₀ ~ N(0, I) and t ~ U[0, 1],

        Σⱼ mean (Qⱼ(s, a) - r - d · agg Q'(s', clip μ(s', z')))²          critics; agg is the mean, or the minimum
        + mean (v(s, (1 - t) x₀ + t a, t) - (a - x₀))²                    flow, eq. 5
        + α mean (μ(s, z) - flow(s, z))²                                  distillation, eq. 8; `flow_steps` steps
        - mean Q(s, clip μ(s, z)) [/ mean |Q|]                            policy, with both critics' mean

    The flow learns from the second term alone, the critics from the first. Follows the authors' code, with these
    differences: each transition brings its own discount; the critics' loss is summed over both, not averaged, which
    changes Adam's steps only through its ε. As there, the target critics follow what the critics were before the step.
    Dividing by mean |Q| (`normalize_q`) is an option of their code that they do not use; the rewards of the robots are
    of another size than their tasks', and no settings for these were published.
    """

    phases, compiled = 1, ("target", "critic_loss", "actor_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings = settings
        self.actor = OneStep(state, action, settings.hidden, streams)
        self.flow = Flow(state, action, settings.hidden, streams)
        self.critic = TwinCritic(state, action, settings.hidden, streams, norm=True, gelu=True)
        for network in (self.actor, self.flow, self.critic):
            glorot(network, streams)
            network.to(device)
        self.target_critic = frozen(deepcopy(self.critic))
        self.actor_optimizer = adam([*self.actor.parameters(), *self.flow.parameters()], settings.learning_rate)
        self.critic_optimizer = adam(self.critic.parameters(), settings.learning_rate)
        numbers = Draw("normal", action)
        self.draws = {"next": numbers, "source": numbers, "time": Draw("uniform", 1), "policy": numbers}

    @torch.no_grad()
    def target(self, batch, noise) -> torch.Tensor:
        """r + d · agg Q'(s', clip μ(s', z')): (learners, batch)."""
        actions = self.actor(batch.next_states, noise).clamp(-1, 1)
        q = self.target_critic(torch.cat([batch.next_states, actions], dim=-1))
        return batch.rewards + batch.discounts * combined(q, self.settings.target_q)

    def critic_loss(self, batch, target) -> torch.Tensor:
        """Sum of both critics' mean squared errors: (learners,)."""
        return (self.critic(batch.states_and_actions) - target).square().mean(-1).sum(0)

    def actor_loss(self, batch, source, time, noise) -> torch.Tensor:
        """Flow, distillation and policy terms: (learners,)."""
        states, data = batch.states, batch.actions
        velocity = self.flow(states, torch.lerp(source, data, time), time)
        flow = (velocity - (data - source)).square().mean((1, 2))
        with torch.no_grad():
            goal = self.flow.transport(states, noise, self.settings.flow_steps)
        actions = self.actor(states, noise)
        distilled = (actions - goal).square().mean((1, 2))
        q = self.critic(torch.cat([states, actions.clamp(-1, 1)], dim=-1)).mean(0)
        scale = 1 / q.detach().abs().mean(-1) if self.settings.normalize_q else 1.0
        return flow + self.settings.alpha * distilled - scale * q.mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        target = self.target(batch, noise["next"])
        actor_loss = self.actor_loss(batch, noise["source"], noise["time"], noise["policy"])
        descend(self.actor_optimizer, actor_loss)
        critic_loss = self.critic_loss(batch, target)
        track(self.target_critic, self.critic, self.settings.tau)
        descend(self.critic_optimizer, critic_loss)
        losses = {"critic_loss": critic_loss.detach(), "actor_loss": actor_loss.detach()}
        return {**losses, "q": target.abs().mean(-1)}

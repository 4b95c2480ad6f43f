"""SAQ-IQL (Luo et al. 2023, arXiv 2310.11731): a state-conditioned VQ-VAE turns actions into codes, IQL chooses a code.

With few codes in each state, maxima and expectations over actions are exact, and no code stands for an action that the
data lack.
"""

from copy import deepcopy
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from stages.common.settings import Fraction, Positive, Rate, Section
from stages.policy.networks import Mlp, frozen, restored, track
from stages.policy.optimizer import adam, descend

LEAST = -8.0  # bound of the log-probability of a code, from which a large Q can still lift it


class Settings(Section):
    """The settings that the section `saq` of params.yaml adds to those of `policy`."""

    codes: Positive
    code_width: Positive
    quantiser_share: Annotated[Fraction, Field(gt=0, lt=1)]
    behaviour_share: Annotated[Fraction, Field(gt=0, lt=1)]
    expectile: Annotated[float, Field(gt=0, lt=1)]
    temperature: Rate
    sample: bool
    tau: Fraction


class Codebook(nn.Module):
    """K codes for each learner, (learners, K, W), drawn uniformly within ±√(3 / K), as flax does."""

    def __init__(self, count: int, width: int, streams):
        super().__init__()
        bound = (3 / count) ** 0.5
        drawn = [torch.empty(count, width).uniform_(-bound, bound, generator=stream) for stream in streams]
        self.weight = nn.Parameter(torch.stack(drawn))

    def nearest(self, points) -> torch.Tensor:
        """(learners, batch, W) → index of the nearest code, (learners, batch)."""
        products = points @ self.weight.transpose(1, 2)
        return (self.weight.square().sum(-1)[:, None] - 2 * products).argmin(-1)

    def forward(self, index):
        """Indices (learners, batch) → codes (learners, batch, W)."""
        return self.weight.gather(1, index[..., None].expand(-1, -1, self.weight.shape[2]))


def taken(values, index) -> torch.Tensor:
    """(learners, batch, K) values, (learners, batch) indices → (learners, batch)."""
    return values.gather(-1, index[..., None])[..., 0]


class Policy:
    """Chooses a code with probability ∝ π_b(c | s) exp(Q(s, c) / temperature), or the likeliest, and decodes it."""

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        self.settings, self.noise, streams = settings, int(settings.sample), [torch.Generator()]
        self.passes = 3  # behaviour policy, Q and decoder
        state, hidden, codes = weights["behaviour.layers.0.weight"].shape[1], settings.hidden, settings.codes
        actions = weights[f"decoder.layers.{len(hidden)}.weight"].shape[2]
        self.behaviour = restored(Mlp([state, *hidden, codes], streams), weights, "behaviour")
        self.critic = restored(Mlp([state, *hidden, codes], streams), weights, "critic")
        self.decoder = restored(Mlp([state + settings.code_width, *hidden, actions], streams), weights, "decoder")
        self.codebook = restored(Codebook(codes, settings.code_width, streams), weights, "codebook")

    def __call__(self, states, noise, memory):
        likelihood = self.behaviour(states).log_softmax(-1).clamp(min=LEAST)
        logits = self.critic(states) / self.settings.temperature + likelihood
        if self.settings.sample:  # the code at which the cumulative probability passes a uniform number
            below = logits.softmax(-1).cumsum(-1) < torch.special.ndtr(noise)
            index = below.sum(-1).clamp(max=self.settings.codes - 1)
        else:
            index = logits.argmax(-1)
        return self.decoder(torch.cat([states, self.codebook(index)], dim=-1)).clamp(-1, 1), memory


class Learner:
    """Quantisers, then behaviour policies, then Q and V over codes, of all learners. Each takes a share of the updates.

    With e = e(s, a), its nearest code c and that code's vector q, stopped gradients written sg[·],

        |D(s, e + sg[q - e]) - a|² + mean (sg[q] - e)² + mean (q - sg[e])²       quantiser
        -log π_b(c | s)                                                          behaviour policy
        |τ - 1(u < 0)| u², u = Q'(s, c) - V(s);  (r + d V(s') - Q(s, c))²        IQL; one Q, as in the authors' code

    Differs from the authors' code: their quantiser trains a prior of the codes beside it, which only SAQ-CQL uses; its
    gradient reaches nothing else, so it is left out. Each transition brings its own discount. Q has no weight decay
    (theirs is 0.001). Their scripts give SAQ-IQL's settings for Adroit alone.
    """

    phases, compiled = 3, ("quantiser_loss", "value_loss", "critic_loss")

    def __init__(self, state: int, action: int, streams, settings, device):
        self.settings, hidden, width = settings, settings.hidden, settings.code_width
        self.encoder = Mlp([state + action, *hidden, width], streams).to(device)
        self.decoder = Mlp([state + width, *hidden, action], streams).to(device)
        self.codebook = Codebook(settings.codes, width, streams).to(device)
        self.behaviour = Mlp([state, *hidden, settings.codes], streams).to(device)
        self.critic = Mlp([state, *hidden, settings.codes], streams).to(device)
        self.value = Mlp([state, *hidden, 1], streams).to(device)
        self.target_critic = frozen(deepcopy(self.critic))
        self.acts = {name: getattr(self, name) for name in ("decoder", "codebook", "behaviour", "critic")}
        quantiser = [self.encoder, self.decoder, self.codebook]
        self.quantiser_optimizer, self.behaviour_optimizer, self.optimizer = (
            adam([weight for part in parts for weight in part.parameters()], settings.learning_rate)
            for parts in (quantiser, [self.behaviour], [self.critic, self.value])
        )
        self.draws = {}
        first = round(settings.quantiser_share * settings.steps)
        self.starts = first, first + round(settings.behaviour_share * settings.steps)  # of the second and third phase

    def phase(self, done: int) -> int:
        return sum(done >= start for start in self.starts)

    @torch.no_grad()
    def code(self, batch) -> torch.Tensor:
        """(learners, batch) index of the code of each action."""
        return self.codebook.nearest(self.encoder(batch.states_and_actions))

    def quantiser_loss(self, batch) -> torch.Tensor:
        """Reconstruction, commitment and codebook terms: (learners,)."""
        encoded = self.encoder(batch.states_and_actions)
        code = self.codebook(self.codebook.nearest(encoded.detach()))
        decoded = self.decoder(torch.cat([batch.states, encoded + (code - encoded).detach()], dim=-1))
        moved = (code.detach() - encoded).square() + (code - encoded.detach()).square()
        return (decoded - batch.actions).square().sum(-1).mean(-1) + moved.mean((1, 2))

    def behaviour_loss(self, batch) -> torch.Tensor:
        """-log π_b(c | s): (learners,)."""
        logits = self.behaviour(batch.states).transpose(1, 2)
        return cross_entropy(logits, self.code(batch), reduction="none").mean(-1)

    def value_loss(self, batch, q) -> torch.Tensor:
        """The expectile loss of V(s): (learners,)."""
        advantage = q - self.value(batch.states)[..., 0]
        side = (self.settings.expectile - (advantage < 0).to(advantage)).abs()
        return (side * advantage.square()).mean(-1)

    def critic_loss(self, batch, code) -> torch.Tensor:
        """(r + d V(s') - Q(s, c))²: (learners,)."""
        target = batch.rewards + batch.discounts * self.value(batch.next_states)[..., 0].detach()
        return (taken(self.critic(batch.states), code) - target).square().mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        if phase < 2:
            name, optimizer = (("quantiser", self.quantiser_optimizer), ("behaviour", self.behaviour_optimizer))[phase]
            loss = getattr(self, f"{name}_loss")(batch)
            descend(optimizer, loss)
            return {f"{name}_loss": loss.detach()}
        code = self.code(batch)
        q = taken(self.target_critic(batch.states), code).detach()
        losses = {"value_loss": self.value_loss(batch, q), "critic_loss": self.critic_loss(batch, code)}
        descend(self.optimizer, sum(losses.values()))
        track(self.target_critic, self.critic, self.settings.tau)
        return {**{name: loss.detach() for name, loss in losses.items()}, "q": q.abs().mean(-1)}

"""Plain implementations of MOPO and MOBILE, as `benchmarks/plain.py` has them of the other algorithms.

They share no code with `stages/`. `begin` takes the whole data, `refresh` must be called when `due`.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.plain import mlp, step, update_target


class Member(nn.Module):
    """One Gaussian model of (reward, [end,] change of the state)."""

    def __init__(self, inputs: int, outputs: int, hidden: list[int]):
        super().__init__()
        self.body = mlp(inputs, hidden, 2 * outputs, between=nn.SiLU)
        self.highest, self.lowest = (
            nn.Parameter(torch.full((outputs,), 0.5)),
            nn.Parameter(torch.full((outputs,), -10.0)),
        )

    def forward(self, x):
        mean, spread = self.body(x).chunk(2, dim=1)
        spread = self.highest - F.softplus(self.highest - spread)
        return mean, self.lowest + F.softplus(spread - self.lowest)


class Mopo:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        c = self.c = settings
        self.sizes, self.steps, self.make_adam = (states, actions), 0, adam
        self.model_steps = int(c.model_share * c.steps + 0.5)
        self.actor, self.spread = mlp(states, c.hidden, actions), nn.Linear(c.hidden[-1], actions)
        self.critics = [mlp(states + actions, c.hidden, 1) for _ in range(2)]
        self.target_critics = deepcopy(self.critics)
        fixed = c.entropy_weight != "auto"
        self.log_alpha = nn.Parameter(torch.tensor(float(np.log(c.entropy_weight)) if fixed else 0.0))
        self.actor_optimizer = adam([*self.actor.parameters(), *self.spread.parameters()], c.actor_learning_rate)
        self.critic_optimizers = [adam(q.parameters(), c.learning_rate) for q in self.critics]
        self.alpha_optimizer = None if fixed else adam([self.log_alpha], c.entropy_learning_rate)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.actor_optimizer, c.steps - self.model_steps)

    def begin(self, columns: list[torch.Tensor], healthy, mean, std, scale: float):
        """Takes the data: states, actions, rewards, discounts, next states and held-out flags of all transitions."""
        states, actions, rewards, discounts, following, held_out = columns
        self.states, self.healthy, self.mean, self.std, self.scale = states, healthy, mean, std, scale
        self.pairs = torch.cat([states, actions], 1)
        self.terminal = healthy is None and bool((discounts == 0).any())
        ends = [(discounts == 0).to(states)[:, None]] if self.terminal else []
        self.goals = torch.cat([rewards[:, None], *ends, following - states], 1)
        self.inputs, self.outputs = ((x.mean(0), x.std(0).clamp(min=1e-6)) for x in (self.pairs, self.goals))
        self.training, self.kept_back = (held_out == 0).nonzero()[:, 0], (held_out > 0).nonzero()[:, 0]
        width, self.discount = self.goals.shape[1], discounts.max()
        members = [Member(self.pairs.shape[1], width, self.c.model_hidden) for _ in range(self.c.members)]
        self.models = nn.ModuleList(members).to(states)
        self.model_optimizer = self.make_adam(self.models.parameters(), self.c.model_learning_rate)
        self.elites, self.imagined = list(range(self.c.elites)), []

    def due(self) -> bool:
        return self.steps >= self.model_steps and (self.steps - self.model_steps) % self.c.rollout_every == 0

    def normal(self, x):
        return (x - self.inputs[0]) / self.inputs[1]

    def act(self, states, noise):
        hidden = self.actor[:-1](states)
        distribution = torch.distributions.Normal(self.actor[-1](hidden), self.spread(hidden).clamp(-5, 2).exp())
        raw = distribution.mean + distribution.stddev * noise
        actions = raw.tanh()
        return actions, (distribution.log_prob(raw) - torch.log(1 - actions**2)).sum(1)

    def train_models(self, noise) -> dict[str, float]:
        loss = 0
        for k, model in enumerate(self.models):
            rows = self.training[(noise["members"][:, k] * len(self.training)).long()]
            mean, spread = model(self.normal(self.pairs[rows]))
            goals = self.goals[rows]
            terms = (mean - (goals - self.outputs[0]) / self.outputs[1]) ** 2 / spread.exp() + spread
            if self.terminal:
                chance = F.binary_cross_entropy_with_logits(mean[:, 1], goals[:, 1], reduction="none")
                terms = torch.stack([terms[:, 0], 2 * chance, *terms[:, 2:].T], 1)
            weights = [layer.weight for layer in model.body if isinstance(layer, nn.Linear)]
            decay = self.c.weight_decay / 2 * sum((weight**2).sum() for weight in weights)
            loss = loss + terms.mean() + 0.01 * (model.highest.sum() - model.lowest.sum()) + decay
        step([self.model_optimizer], loss)
        return {"model_loss": loss.item()}

    @torch.no_grad()
    def choose(self):
        goals = (self.goals[self.kept_back] - self.outputs[0]) / self.outputs[1]
        errors = []
        for model in self.models:
            mean, _ = model(self.normal(self.pairs[self.kept_back]))
            if self.terminal:
                mean[:, 1] = (mean[:, 1].sigmoid() - self.outputs[0][1]) / self.outputs[1][1]
            errors.append(((mean - goals) ** 2).mean().item())
        self.elites = sorted(range(len(errors)), key=errors.__getitem__)[: self.c.elites]

    @torch.no_grad()
    def refresh(self, stream: torch.Generator):
        """Acts in the models from real states on; `stream` gives the random numbers."""
        if not self.imagined:
            self.choose()
        count, like, device = self.c.rollouts, self.states, stream.device

        def normals(width):
            return torch.randn(count, width, generator=stream, device=device).to(like)

        def uniforms(kind):
            return torch.rand(count, generator=stream, device=device, dtype=kind)

        states = self.states[(uniforms(torch.float64) * len(self.states)).long()]
        going = torch.ones(count, dtype=torch.bool, device=device)
        for _ in range(self.c.rollout_length):
            actions, _ = self.act(states, normals(self.sizes[1]))
            chosen = (uniforms(torch.float64) * self.c.elites).long().tolist()
            noise, chance = normals(self.goals.shape[1]), uniforms(torch.float32).to(like)
            pairs = torch.cat([states, actions], 1)
            means, spreads = zip(*(model(self.normal(pairs)) for model in self.models), strict=True)
            stds = [(spread / 2).exp() * self.outputs[1] for spread in spreads]
            units = [std[:, 0] / self.scale for std in stds], [std[:, -self.sizes[0] :] * self.std for std in stds]
            sizes = [(reward**2 + (state**2).sum(1)).sqrt() for reward, state in zip(*units, strict=True)]
            uncertainty = torch.stack(sizes).max(0).values
            row = range(count)
            mean = torch.stack([means[self.elites[k]][i] for i, k in zip(row, chosen, strict=True)])
            std = torch.stack([stds[self.elites[k]][i] for i, k in zip(row, chosen, strict=True)])
            values = mean * self.outputs[1] + self.outputs[0] + std * noise
            following = states + values[:, -self.sizes[0] :]
            if self.healthy is not None:
                ended = torch.from_numpy(~self.healthy((following * self.std + self.mean).cpu().numpy())).to(device)
            else:
                ended = chance < mean[:, 1].sigmoid() if self.terminal else torch.zeros_like(going)
            rewards = self.imagined_rewards(values[:, 0], uncertainty)
            discounts = torch.where(ended, 0, self.discount)
            self.imagined += [(pairs[i], rewards[i], discounts[i], following[i]) for i in range(count) if going[i]]
            states, going = following, going & ~ended
        self.ring()

    def ring(self):
        """The latest rows where a ring buffer has them."""
        size = self.c.rollouts * self.c.rollout_length * self.c.kept_refreshes
        self.written = min(len(self.imagined), size)
        last = {k % size: k for k in range(len(self.imagined))}
        self.place = [last[k] for k in range(self.written)]

    def imagined_rewards(self, rewards, uncertainty):
        return rewards - self.scale * self.c.penalty * uncertainty

    def penalise(self, target, pairs, noise, real: int):
        return target

    def train(self, batch, noise) -> dict[str, float]:
        self.steps += 1
        if self.steps <= self.model_steps:
            return self.train_models(noise)
        states, actions, rewards, discounts, following, *_ = batch
        real = round(self.c.real_fraction * len(states))
        rows = [self.place[k] for k in (noise["imagined"][real:, 0] * self.written).long().tolist()]
        pairs, *others = (torch.stack(part) for part in zip(*(self.imagined[k] for k in rows), strict=True))
        pairs = torch.cat([torch.cat([states, actions], 1)[:real], pairs])
        given = zip((rewards, discounts, following), others, strict=True)
        rewards, discounts, following = (torch.cat([ours[:real], theirs]) for ours, theirs in given)
        alpha = self.log_alpha.detach().exp().clamp(max=1)
        with torch.no_grad():
            next_actions, logs = self.act(following, noise["next"])
            q = self.lower(following, next_actions) - (alpha * logs if self.c.soft_target else 0)
            target = self.penalise(rewards + discounts * q, pairs, noise, real)
        critic_loss = sum(F.mse_loss(critic(pairs)[:, 0], target) for critic in self.critics)
        step(self.critic_optimizers, critic_loss)
        states = pairs[:, : self.sizes[0]]
        chosen, logs = self.act(states, noise["policy"])
        q = torch.min(*(critic(torch.cat([states, chosen], 1))[:, 0] for critic in self.critics))
        actor_loss = (alpha * logs - q).mean()
        step([self.actor_optimizer], actor_loss)
        self.schedule.step()
        if self.alpha_optimizer is not None:
            step([self.alpha_optimizer], -self.log_alpha * (logs.detach().mean() - self.sizes[1]))
        for old, new in zip(self.target_critics, self.critics, strict=True):
            update_target(old, new, self.c.tau)
        losses = {
            "critic_loss": critic_loss,
            "actor_loss": actor_loss,
            "entropy": -logs.mean(),
            "q": target.abs().mean(),
        }
        return {name: loss.item() for name, loss in losses.items()}

    def lower(self, states, actions):
        """The smaller Q of both target critics."""
        pair = torch.cat([states, actions], 1)
        return torch.min(*(critic(pair)[:, 0] for critic in self.target_critics))


class Mobile(Mopo):
    def imagined_rewards(self, rewards, uncertainty):
        return rewards

    def penalise(self, target, pairs, noise, real: int):
        elites, samples, (states, actions) = self.c.elites, self.c.samples, self.sizes
        futures = noise["futures"].view(-1, elites, samples, states)
        reactions = noise["reactions"].view(-1, elites, samples, actions)
        values = []
        for k, member in enumerate(self.elites):
            mean, spread = self.models[member](self.normal(pairs))
            total = 0
            for j in range(samples):
                change = (mean + (spread / 2).exp() * self.filled(futures[:, k, j]))[:, -states:]
                change = change * self.outputs[1][-states:] + self.outputs[0][-states:]
                following = pairs[:, :states] + change
                total = total + self.lower(following, self.act(following, reactions[:, k, j])[0])
            values.append(total / samples)
        penalty = self.c.penalty * torch.stack(values).std(0)
        penalty[:real] = 0
        target = target - penalty
        return target.clamp(min=0) if self.c.nonnegative_target else target

    def filled(self, noise):
        """Normals for the state's change as normals for all outputs."""
        return F.pad(noise, (self.goals.shape[1] - noise.shape[1], 0))


LEARNERS = {"mopo": Mopo, "mobile": Mobile}

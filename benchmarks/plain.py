"""Plain implementations of the algorithms: one seed, a module for each network, eager, losses read at each step.

`make bench` and the tests of the algorithms compare with them. They share no code with `stages/`. A batch is (states,
actions, rewards, discounts, next states) and, for ReBRAC, the next actions and a flag for whether they are known; all
are (batch, …) tensors.
"""

from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional as F


def mlp(
    inputs: int, hidden: list[int], outputs: int, *last: nn.Module, norm: bool = False, between=nn.ReLU
) -> nn.Sequential:
    """An MLP that ends with the modules `last`; with `norm`, layer normalisation follows each ReLU (or `between`)."""
    layers = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), between(), *([nn.LayerNorm(width, eps=1e-6)] if norm else [])]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs), *last)


def update_target(target: nn.Module, online: nn.Module, tau: float):
    """Moves the target network's weights towards the online network's by the fraction `tau`."""
    for old, new in zip(target.parameters(), online.parameters(), strict=True):
        old.data.copy_((1 - tau) * old.data + tau * new.data)


def step(optimizers, loss: torch.Tensor):
    """Makes one gradient step of `loss` with each optimiser."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()


class Bc:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.actor = mlp(states, settings.hidden, actions, nn.Tanh())
        self.optimizer = adam(self.actor.parameters(), settings.learning_rate)

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, *_ = batch
        loss = F.mse_loss(self.actor(states), actions)
        step([self.optimizer], loss)
        return {"actor_loss": loss.item()}


class Td3bc:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c, self.steps = settings, 0
        self.actor = mlp(states, settings.hidden, actions, nn.Tanh())
        self.critics = [mlp(states + actions, settings.hidden, 1) for _ in range(2)]
        self.target_actor, self.target_critics = deepcopy(self.actor), deepcopy(self.critics)
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizers = [adam(q.parameters(), settings.learning_rate) for q in self.critics]

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states = batch
        with torch.no_grad():
            noise = (noise["normals"] * self.c.policy_noise).clamp(-self.c.noise_clip, self.c.noise_clip)
            next_actions = (self.target_actor(next_states) + noise).clamp(-1, 1)
            pair = torch.cat([next_states, next_actions], 1)
            target = rewards + discounts * torch.min(*(q(pair) for q in self.target_critics))[:, 0]
        pair = torch.cat([states, actions], 1)
        loss = sum(F.mse_loss(q(pair)[:, 0], target) for q in self.critics)
        step(self.critic_optimizers, loss)
        losses = {"critic_loss": loss.item(), "q": target.abs().mean().item()}
        self.steps += 1
        if self.steps % self.c.policy_delay == 0:
            chosen = self.actor(states)
            q = self.critics[0](torch.cat([states, chosen], 1))
            loss = F.mse_loss(chosen, actions) - self.c.alpha / q.abs().mean().detach() * q.mean()
            step([self.actor_optimizer], loss)
            update_target(self.target_actor, self.actor, self.c.tau)
            for old, new in zip(self.target_critics, self.critics, strict=True):
                update_target(old, new, self.c.tau)
            losses["actor_loss"] = loss.item()
        return losses


class Rebrac:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c, self.steps = settings, 0
        self.actor = mlp(states, settings.hidden, actions, nn.Tanh())
        self.critics = [mlp(states + actions, settings.hidden, 1, norm=True) for _ in range(2)]
        self.target_actor, self.target_critics = deepcopy(self.actor), deepcopy(self.critics)
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizers = [adam(q.parameters(), settings.critic_learning_rate) for q in self.critics]

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states, data_actions, known = batch
        with torch.no_grad():
            noise = (noise["normals"] * self.c.policy_noise).clamp(-self.c.noise_clip, self.c.noise_clip)
            next_actions = (self.target_actor(next_states) + noise).clamp(-1, 1)
            pair = torch.cat([next_states, next_actions], 1)
            q = torch.min(*(q(pair) for q in self.target_critics))[:, 0]
            penalty = torch.where(known > 0, ((next_actions - data_actions) ** 2).sum(1), 0)
            target = rewards + discounts * (q - self.c.critic_bc * penalty)
        pair = torch.cat([states, actions], 1)
        loss = sum(F.mse_loss(q(pair)[:, 0], target) for q in self.critics)
        step(self.critic_optimizers, loss)
        losses = {"critic_loss": loss.item(), "q": target.abs().mean().item()}
        if self.steps % self.c.policy_delay == 0:
            chosen = self.actor(states)
            pair = torch.cat([states, chosen], 1)
            q = torch.min(*(q(pair) for q in self.critics))
            penalty = ((chosen - actions) ** 2).sum(1)
            loss = (self.c.actor_bc * penalty - q[:, 0] / q.abs().mean().detach()).mean()
            update_target(self.target_actor, self.actor, self.c.tau)
            step([self.actor_optimizer], loss)
            for old, new in zip(self.target_critics, self.critics, strict=True):
                update_target(old, new, self.c.tau)
            losses["actor_loss"] = loss.item()
        self.steps += 1
        return losses


class Iql:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c = settings
        self.actor = mlp(states, settings.hidden, actions, nn.Tanh())
        self.log_std = nn.Parameter(torch.zeros(actions))
        self.critics = [mlp(states + actions, settings.hidden, 1) for _ in range(2)]
        self.value = mlp(states, settings.hidden, 1)
        self.target_critics = deepcopy(self.critics)
        spread = [] if settings.deterministic_actor else [self.log_std]
        self.actor_optimizer = adam([*self.actor.parameters(), *spread], settings.learning_rate)
        self.value_optimizer = adam(self.value.parameters(), settings.learning_rate)
        self.critic_optimizers = [adam(q.parameters(), settings.learning_rate) for q in self.critics]
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.actor_optimizer, settings.steps)

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states = batch
        pair = torch.cat([states, actions], 1)
        with torch.no_grad():
            next_value = self.value(next_states)[:, 0]
            q = torch.min(*(target(pair) for target in self.target_critics))[:, 0]
        advantage = q - self.value(states)[:, 0]
        value_loss = (torch.abs(self.c.expectile - (advantage < 0).to(q)) * advantage**2).mean()
        step([self.value_optimizer], value_loss)

        target = rewards + discounts * next_value
        critic_loss = sum(F.mse_loss(critic(pair)[:, 0], target) for critic in self.critics) / 2
        step(self.critic_optimizers, critic_loss)
        for old, new in zip(self.target_critics, self.critics, strict=True):
            update_target(old, new, self.c.tau)

        weight = torch.exp(self.c.beta * advantage.detach()).clamp(max=self.c.max_weight)
        mean = self.actor(states)
        if self.c.deterministic_actor:
            cost = ((mean - actions) ** 2).sum(1)
        else:
            cost = -torch.distributions.Normal(mean, self.log_std.clamp(-20, 2).exp()).log_prob(actions).sum(1)
        actor_loss = (weight * cost).mean()
        step([self.actor_optimizer], actor_loss)
        self.schedule.step()
        losses = {"value_loss": value_loss, "critic_loss": critic_loss, "actor_loss": actor_loss, "q": q.abs().mean()}
        return {name: loss.item() for name, loss in losses.items()}


def gelu() -> nn.GELU:
    return nn.GELU(approximate="tanh")


class Fql:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c = settings
        self.actor = mlp(states + actions, settings.hidden, actions, between=gelu)
        self.flow = mlp(states + actions + 1, settings.hidden, actions, between=gelu)
        self.critics = [mlp(states + actions, settings.hidden, 1, norm=True, between=gelu) for _ in range(2)]
        self.target_critics = deepcopy(self.critics)
        parts = [self.actor, self.flow, *self.critics]
        self.optimizer = adam([p for part in parts for p in part.parameters()], settings.learning_rate)

    def train(self, batch, noise) -> dict[str, float]:
        """One joint step, as in the authors' code."""
        states, actions, rewards, discounts, next_states = batch
        with torch.no_grad():
            next_actions = self.actor(torch.cat([next_states, noise["next"]], 1)).clamp(-1, 1)
            pair = torch.cat([next_states, next_actions], 1)
            q = torch.stack([q(pair)[:, 0] for q in self.target_critics])
            q = q.mean(0) if self.c.target_q == "mean" else q.min(0).values
            target = rewards + discounts * q
            goal = noise["policy"]
            for step_number in range(self.c.flow_steps):
                t = torch.full_like(goal[:, :1], step_number / self.c.flow_steps)
                goal = goal + self.flow(torch.cat([states, goal, t], 1)) / self.c.flow_steps
            goal = goal.clamp(-1, 1)
        pair = torch.cat([states, actions], 1)
        critic_loss = sum(F.mse_loss(q(pair)[:, 0], target) for q in self.critics)

        t = noise["time"]
        between = (1 - t) * noise["source"] + t * actions
        flow_loss = F.mse_loss(self.flow(torch.cat([states, between, t], 1)), actions - noise["source"])
        chosen = self.actor(torch.cat([states, noise["policy"]], 1))
        pair = torch.cat([states, chosen.clamp(-1, 1)], 1)
        weights = [p for critic in self.critics for p in critic.parameters()]
        for p in weights:
            p.requires_grad_(False)
        q = (self.critics[0](pair) + self.critics[1](pair)) / 2
        for p in weights:
            p.requires_grad_(True)
        scale = 1 / q.abs().mean().detach() if self.c.normalize_q else 1
        actor_loss = flow_loss + self.c.alpha * F.mse_loss(chosen, goal) - scale * q.mean()
        for old, new in zip(self.target_critics, self.critics, strict=True):
            update_target(old, new, self.c.tau)
        step([self.optimizer], critic_loss + actor_loss)
        return {"critic_loss": critic_loss.item(), "actor_loss": actor_loss.item(), "q": target.abs().mean().item()}


class Rsp:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c, self.steps = settings, 0
        self.planner = mlp(states + 1, settings.hidden, states + 1)
        self.actor = mlp(2 * (states + 1), settings.hidden, actions)
        self.log_stds = [nn.Parameter(torch.zeros(width)) for width in (states + 1, actions)]
        parts = zip((self.planner, self.actor), self.log_stds, strict=True)
        self.optimizers = [adam([*network.parameters(), spread], settings.learning_rate) for network, spread in parts]
        first = int(settings.planner_share * settings.steps + 0.5)
        lengths = first, settings.steps - first
        self.schedules = [
            torch.optim.lr_scheduler.CosineAnnealingLR(each, length)
            for each, length in zip(self.optimizers, lengths, strict=True)
        ]
        self.first = first

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, _, _, _, progress, change = batch
        states, phase = torch.cat([states, progress.reshape(-1, 1)], 1), int(self.steps >= self.first)
        if phase:
            blurred = change + self.log_stds[0].detach().exp() * noise["blur"]
            mean, goal = self.actor(torch.cat([states, blurred], 1)), actions
        else:
            mean, goal = self.planner(states), change
        loss = -torch.distributions.Normal(mean, self.log_stds[phase].exp()).log_prob(goal).sum(1).mean()
        step([self.optimizers[phase]], loss)
        self.schedules[phase].step()
        self.steps += 1
        return {"actor_loss" if phase else "planner_loss": loss.item()}


class Sorl:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c, self.steps = settings, 0
        self.actor = mlp(states + actions + 2, settings.hidden, actions, between=gelu)
        self.critics = [mlp(states + actions + 1, settings.hidden, 1, norm=True, between=gelu) for _ in range(2)]
        self.target_actor, self.target_critics = deepcopy(self.actor), deepcopy(self.critics)
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        critics = [p for critic in self.critics for p in critic.parameters()]
        self.critic_optimizer = adam(critics, settings.learning_rate)

    @staticmethod
    def velocity(network, states, points, time, level):
        column = torch.ones_like(points[:, :1])
        return network(torch.cat([states, points, time * column, level * column], 1))

    def sample(self, states, points, count: int):
        for k in range(count):
            points = points + self.velocity(self.actor, states, points, k / count, count.bit_length() - 1) / count
        return points.clamp(-1, 1)

    def clipped_step(self, optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], self.c.clip)
        optimizer.step()

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states = batch
        count = (1, 2, 4, 8)[self.steps % 4]
        number = torch.full_like(rewards, count)[:, None]
        with torch.no_grad():
            pair = torch.cat([next_states, self.sample(next_states, noise["next"], count), number], 1)
            q = torch.stack([q(pair)[:, 0] for q in self.target_critics])
            target = rewards + discounts * (q.mean(0) if self.c.target_q == "mean" else q.min(0).values)
        pair = torch.cat([states, actions, number], 1)
        critic_loss = sum(F.mse_loss(q(pair)[:, 0], target) for q in self.critics)
        self.clipped_step(self.critic_optimizer, critic_loss)

        t, rest = torch.floor(noise["match time"] * 8) / 8, 1 - 1e-5
        points = (1 - rest * t) * noise["match"] + t * actions
        goal = actions - rest * noise["match"]
        loss = self.c.matching_weight * F.mse_loss(self.velocity(self.actor, states, points, t, 3), goal)

        third, errors = len(states) // 3, []
        for level, rows in ((2, slice(third)), (1, slice(third, 2 * third)), (0, slice(2 * third, None))):
            s, x0, a = states[rows], noise["halve"][rows], actions[rows]
            t = torch.floor(noise["halve time"][rows] * 2**level) / 2**level
            points, half = (1 - rest * t) * x0 + t * a, 1 / 2 ** (level + 1)
            with torch.no_grad():
                one = self.velocity(self.target_actor, s, points, t, level + 1)
                two = self.velocity(self.target_actor, s, points + half * one, t + half, level + 1)
            errors.append((self.velocity(self.actor, s, points, t, level) - (one + two) / 2) ** 2)
        loss = loss + self.c.consistency_weight * torch.cat(errors).mean()

        pair = torch.cat([states, self.sample(states, noise["policy"], count), number], 1)
        q = sum(critic(pair)[:, 0] for critic in self.critics) / 2
        actor_loss = loss - self.c.q_weight * q.mean() / (q.abs().mean().detach() if self.c.normalize_q else 1)
        self.clipped_step(self.actor_optimizer, actor_loss)
        update_target(self.target_actor, self.actor, self.c.tau)
        for old, new in zip(self.target_critics, self.critics, strict=True):
            update_target(old, new, self.c.tau)
        self.steps += 1
        return {"critic_loss": critic_loss.item(), "actor_loss": actor_loss.item(), "q": target.abs().mean().item()}


class Saq:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c, self.steps = settings, 0
        width, hidden, rate = settings.code_width, settings.hidden, settings.learning_rate
        self.encoder = mlp(states + actions, hidden, width)
        self.decoder = mlp(states + width, hidden, actions)
        self.codes = nn.Parameter(torch.randn(settings.codes, width))
        self.behaviour, self.critic = (mlp(states, hidden, settings.codes) for _ in range(2))
        self.value = mlp(states, hidden, 1)
        self.target_critic = deepcopy(self.critic)
        parts = [self.codes, *self.encoder.parameters(), *self.decoder.parameters()]
        self.optimizers = [adam(parts, rate), adam(self.behaviour.parameters(), rate)]
        self.optimizers.append(adam([*self.critic.parameters(), *self.value.parameters()], rate))
        self.first = int(settings.quantiser_share * settings.steps + 0.5)
        self.second = self.first + int(settings.behaviour_share * settings.steps + 0.5)

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states = batch
        encoded = self.encoder(torch.cat([states, actions], 1))
        code = torch.cdist(encoded, self.codes).argmin(1)
        self.steps += 1
        if self.steps <= self.first:
            quantised = self.codes[code]
            decoded = self.decoder(torch.cat([states, encoded + (quantised - encoded).detach()], 1))
            loss = ((decoded - actions) ** 2).sum(1).mean()
            loss = loss + F.mse_loss(encoded, quantised.detach()) + F.mse_loss(quantised, encoded.detach())
            step([self.optimizers[0]], loss)
            return {"quantiser_loss": loss.item()}
        if self.steps <= self.second:
            loss = F.cross_entropy(self.behaviour(states), code)
            step([self.optimizers[1]], loss)
            return {"behaviour_loss": loss.item()}
        rows = torch.arange(len(code))
        with torch.no_grad():
            q = self.target_critic(states)[rows, code]
            target = rewards + discounts * self.value(next_states)[:, 0]
        advantage = q - self.value(states)[:, 0]
        value_loss = (torch.abs(self.c.expectile - (advantage < 0).to(q)) * advantage**2).mean()
        critic_loss = F.mse_loss(self.critic(states)[rows, code], target)
        step([self.optimizers[2]], value_loss + critic_loss)
        update_target(self.target_critic, self.critic, self.c.tau)
        return {"value_loss": value_loss.item(), "critic_loss": critic_loss.item(), "q": q.abs().mean().item()}


class Gtp:
    def __init__(self, states: int, actions: int, settings, adam=torch.optim.Adam):
        self.c = settings
        self.actor = mlp(states + actions + 2, settings.hidden, actions, between=gelu)
        self.critics = [mlp(states + actions, settings.hidden, 1) for _ in range(2)]
        self.target_actor, self.target_critics = deepcopy(self.actor), deepcopy(self.critics)
        self.actor_optimizer = adam(self.actor.parameters(), settings.learning_rate)
        self.critic_optimizers = [adam(q.parameters(), settings.learning_rate) for q in self.critics]
        self.grid, self.act_grid = self.levels(settings.levels), self.levels(settings.jumps + 1)

    def levels(self, count: int) -> torch.Tensor:
        high, low = (sigma ** (1 / self.c.rho) for sigma in (self.c.sigma_max, self.c.sigma_min))
        return torch.stack([torch.tensor((high + k / (count - 1) * (low - high)) ** self.c.rho) for k in range(count)])

    def clean(self, network, states, x, t, u):
        total = t**2 + self.c.sigma_data**2
        inputs = torch.cat([states, x / total**0.5, torch.log(t) / 4, torch.log(u) / 4], 1)
        return self.c.sigma_data**2 / total * x + t * self.c.sigma_data / total**0.5 * network(inputs)

    def jump(self, network, states, x, t, u):
        return (1 - u / t) * self.clean(network, states, x, t, u) + u / t * x

    def act(self, states, noise):
        column, x = torch.ones_like(noise[:, :1]), noise * self.act_grid[0]
        for k in range(self.c.jumps):
            x = self.jump(self.target_actor, states, x, self.act_grid[k] * column, self.act_grid[k + 1] * column)
        return x.clamp(-1, 1)

    def train(self, batch, noise) -> dict[str, float]:
        states, actions, rewards, discounts, next_states = batch
        pair = torch.cat([states, actions], 1)
        with torch.no_grad():
            next_pair = torch.cat([next_states, self.act(next_states, noise["next"])], 1)
            target = rewards + discounts * torch.min(*(q(next_pair) for q in self.target_critics))[:, 0]
        critic_loss = sum(F.mse_loss(q(pair)[:, 0], target) for q in self.critics)
        step(self.critic_optimizers, critic_loss)

        i = (noise["from"][:, 0] * (self.c.levels - 1)).long()
        j = i + 1 + (noise["to"][:, 0] * (self.c.levels - 1 - i)).long()
        t, u, v = (self.grid[index][:, None] for index in (i, i + 1, j))
        with torch.no_grad():
            own = torch.cat([states, self.act(states, noise["here"])], 1)
            value, q = (torch.min(*(critic(each) for critic in self.critics))[:, 0] for each in (own, pair))
            advantage = q - value
            weight = (self.c.eta * advantage.clamp(min=0) / (advantage.std() + 1e-6)).exp()
            weight = weight.clamp(max=self.c.max_weight)
            goal = self.jump(self.target_actor, states, actions + u * noise["noise"], u, v)
        points = actions + t * noise["noise"]
        consistency = ((self.jump(self.actor, states, points, t, v) - goal) ** 2).mean(1)
        denoising = ((self.clean(self.actor, states, points, t, t) - actions) ** 2).mean(1)
        actor_loss = (weight * (consistency + self.c.flow_weight * denoising)).mean()
        step([self.actor_optimizer], actor_loss)
        update_target(self.target_actor, self.actor, self.c.tau)
        for old, new in zip(self.target_critics, self.critics, strict=True):
            update_target(old, new, self.c.tau)
        return {"critic_loss": critic_loss.item(), "actor_loss": actor_loss.item(), "q": target.abs().mean().item()}


LEARNERS = {"td3bc": Td3bc, "iql": Iql, "rebrac": Rebrac, "bc": Bc, "fql": Fql, "rsp": Rsp, "sorl": Sorl}
LEARNERS |= {"saq": Saq, "gtp": Gtp}

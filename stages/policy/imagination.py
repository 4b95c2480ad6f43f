"""Learners whose policies also learn from transitions imagined in a model of the data: MOPO and MOBILE.

Each learner first trains an ensemble of its own, then improves its policy by SAC. Every `rollout_every` of those
updates the policy acts in the ensemble, from real states on, and a ring buffer keeps the latest transitions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.common.rng import numpy_stream
from stages.common.transitions import Transitions
from stages.policy.batches import Batch
from stages.policy.draws import Draw
from stages.policy.dynamics import Dynamics
from stages.policy.optimizer import adam, descend
from stages.policy.sac import Sac


class HeldOut:
    """What batches hold beside the transitions: 1 for the rows of the episodes that only select the elites, else 0."""

    def __init__(self, real: Transitions, settings):
        self.share = settings.held_out

    def __call__(self, data: Transitions) -> dict[str, np.ndarray]:
        chosen = data.held_out(self.share, numpy_stream("held out", len(data)))
        return {"held_out": chosen[:, None].astype(np.float32)}


@dataclass(frozen=True)
class Data:
    """What models learn from: inputs (N, S + A), targets (N, D), and the rows that train and that select the elites."""

    inputs: torch.Tensor
    targets: torch.Tensor
    training: torch.Tensor
    held_out: torch.Tensor


class Imagining(Sac):
    """Ensembles, then SAC on real and imagined transitions, of all learners.

    A subclass has `penalty`, the factor of the ensemble's uncertainty in imagined rewards, and may change `target`.

    A refresh draws, from each learner's own stream of that refresh, start states (`rollouts` real rows) and, for each
    of `rollout_length` steps, normals for actions, elites, normals for the models' outputs and uniforms for learned
    ends. A rollout ends with its task; then the discount is 0, otherwise the data's. All rollouts of a learner take the
    same number of steps, those after the end are not kept.

    Attributes:
        buffer: (learners, rows, S + A + 2 + S) imagined transitions in the form of the batches' rows.
        written: (learners,) how many rows hold one; position: (learners,) where the next one goes.
    """

    phases, compiled = 2, ("model_loss", "target", "critic_loss", "actor_loss")
    penalty = 0.0

    def __init__(self, state: int, action: int, streams, settings, device):
        super().__init__(state, action, streams, settings, device)
        self.sizes, self.weight_streams = (state, action), streams
        self.model_steps = round(settings.model_share * settings.steps)
        self.actor_steps = settings.steps - self.model_steps
        rows = settings.rollouts * settings.rollout_length * settings.kept_refreshes
        self.buffer = torch.zeros(len(streams), rows, 2 * state + action + 2, device=device)
        self.written, self.position = (torch.zeros(len(streams), dtype=torch.long, device=device) for _ in range(2))
        normals = Draw("normal", action)
        self.draws = {"members": Draw("row", settings.members), "imagined": Draw("row", 1)}
        self.draws |= {"next": normals, "policy": normals}

    def begin(self, batches, healthy):
        """Takes the data and the environment's rule of where tasks end; fits normalisers, builds the ensembles."""
        states, actions = batches.sizes
        parts = batches.rows.split([states + actions, 1, 1, *batches.widths[3:]], dim=1)
        inputs, rewards, discounts, next_states, held_out = parts
        ends, self.healthy, self.batches = discounts == 0, healthy, batches
        terminal = healthy is None and bool(ends.any())
        targets = [rewards, *([ends.to(rewards)] if terminal else []), next_states - inputs[:, :states]]
        kept_back = held_out[:, 0] > 0
        rows = (mask.nonzero()[:, 0] for mask in (~kept_back, kept_back))
        self.data, self.discount = Data(inputs, torch.cat(targets, dim=1), *rows), float(discounts.max())
        model = Dynamics(states, actions, terminal, self.settings, self.weight_streams).to(batches.rows.device)
        model.inputs.fit(inputs)
        model.targets.fit(self.data.targets)
        model.units.copy_(torch.cat([torch.ones_like(batches.std[:1]) / batches.scale, batches.std]))
        self.model = model
        self.model_optimizer = adam(model.parameters(), self.settings.model_learning_rate)

    def phase(self, done: int) -> int:
        return int(done >= self.model_steps)

    def refreshes(self, done: int) -> bool:
        """Whether `refresh` must run before the update that follows `done` ones."""
        return done >= self.model_steps and (done - self.model_steps) % self.settings.rollout_every == 0

    @torch.no_grad()
    def refresh(self, streams: Sequence[torch.Generator]):
        """Lets the policies act in their ensembles; the first time, the ensembles' elites are selected before."""
        if len(self.data.held_out) and not self.written.any():
            self.model.choose(self.data.inputs[self.data.held_out], self.data.targets[self.data.held_out])
        c, (states, actions), like = self.settings, self.sizes, self.buffer

        def draw(sample, *shape, dtype=torch.float32):
            drawn = [sample(shape, generator=each, device=each.device, dtype=dtype) for each in streams]
            return torch.stack(drawn)

        start = draw(torch.rand, c.rollouts, dtype=torch.float64)
        state = self.data.inputs[(start * len(self.data.inputs)).long(), :states]
        alive = torch.ones_like(start, dtype=torch.bool)
        outputs = sum(self.model.split)
        for _ in range(c.rollout_length):
            action, _ = self.actor.sample(state, draw(torch.randn, c.rollouts, actions).to(like))
            elite = (draw(torch.rand, c.rollouts, dtype=torch.float64) * c.elites).long()
            noise, end = draw(torch.randn, c.rollouts, outputs).to(like), draw(torch.rand, c.rollouts).to(like)
            inputs = torch.cat([state, action], dim=-1)
            rewards, ended, following, uncertainty = self.model.step(inputs, elite, noise, end)
            rewards = rewards - self.penalty * self.batches.scale * uncertainty
            ended = self.ended(following, ended)
            discounts = torch.where(ended, 0.0, self.discount)[..., None].to(like)
            self.write(torch.cat([inputs, rewards[..., None], discounts, following], dim=-1), alive)
            state, alive = following, alive & ~ended

    def ended(self, states, learned) -> torch.Tensor:
        """(learners, R) bool: whether the task ends in `states`, by the environment's rule or as the models say."""
        if self.healthy is not None:
            raw = states * self.batches.std + self.batches.mean
            return torch.from_numpy(~self.healthy(raw.cpu().numpy())).to(states.device)
        return torch.zeros_like(states[..., 0], dtype=torch.bool) if learned is None else learned

    def write(self, rows, alive):
        """Puts the rows (learners, R, …) that are alive, (learners, R) bool, where each learner's oldest ones are."""
        size = self.buffer.shape[1]
        place = (self.position[:, None] + alive.cumsum(1) - 1) % size
        learner, row = alive.nonzero(as_tuple=True)
        self.buffer[learner, place[learner, row]] = rows[learner, row]
        count = alive.sum(1)
        self.position.copy_((self.position + count) % size)
        self.written.copy_((self.written + count).clamp(max=size))

    def mixed(self, batch: Batch, uniform) -> Batch:
        """The batch with its imagined part, (learners, batch, 1) uniforms → rows that have been written."""
        real = self.real_rows(batch)
        index = (uniform[:, real:, 0] * self.written[:, None]).long()
        rows = self.buffer.gather(1, index[..., None].expand(-1, -1, self.buffer.shape[2]))
        both, rewards, discounts, following = rows.split([sum(self.sizes), 1, 1, self.sizes[0]], dim=-1)
        parts = [batch.states_and_actions, batch.rewards, batch.discounts, batch.next_states]
        imagined = [both, rewards[..., 0], discounts[..., 0], following]
        return Batch(*(torch.cat([part[:, :real], other], dim=1) for part, other in zip(parts, imagined, strict=True)))

    def real_rows(self, batch: Batch) -> int:
        """How many of a batch's rows are real: its first ones."""
        return round(self.settings.real_fraction * batch.rewards.shape[1])

    def model_loss(self, uniform) -> torch.Tensor:
        """The ensembles' loss, each member on its own rows, from uniforms (learners, batch, members): (learners,)."""
        rows = self.data.training[(uniform * len(self.data.training)).long()]
        rows = rows.transpose(1, 2).flatten(0, 1)  # (learners · members, batch)
        return self.model.loss(self.data.inputs[rows], self.data.targets[rows])

    def update(self, batch: Batch, noise, phase: int) -> dict[str, torch.Tensor]:
        if phase == 0:
            loss = self.model_loss(noise["members"])
            descend(self.model_optimizer, loss)
            return {"model_loss": loss.detach()}
        batch = self.mixed(batch, noise["imagined"])
        return self.improve(batch, self.target(batch, noise), noise["policy"])

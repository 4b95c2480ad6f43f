"""The ensemble of Gaussian one-step models, and the cloned behaviour policy that acts in it."""

from itertools import pairwise

import torch
from torch import nn

from stages.diffusion.normalizers import Gaussian
from stages.policy.networks import Linear

BOUNDS_WEIGHT = 0.01  # of the learned variance bounds in the loss, as in PETS (Chua et al. 2018, arXiv 1805.12114)
LOG_STD = -5.0, 2.0  # limits of the behaviour policy's log standard deviation


class Stack(nn.Module):
    """MLPs with SiLU, one for each member, computed together: (members, batch, in) → (members, batch, out)."""

    def __init__(self, widths: list[int], streams):
        super().__init__()
        self.layers = nn.ModuleList(Linear(i, o, streams) for i, o in pairwise(widths))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = nn.functional.silu(layer(x))
        return self.layers[-1](x)


class OneStep(nn.Module):
    """The ensemble, the behaviour policy and their normalisers in one module.

    Arguments:
        terminal: whether the models predict where the task ends, see `terminals.terminals_learned`. This channel's mean
            is a logit: a Gaussian's variance would vanish in regions where no task ends.
        streams: for each member, the random stream of its initial weights.

    Attributes:
        elites: (E,) indices of the members with the smallest error on held-out episodes.
    """

    def __init__(self, state: int, action: int, terminal: bool, config, streams):
        super().__init__()
        self.terminal = terminal
        dimensions = 1 + terminal + state  # reward, optional terminal, change of the state
        self.split = [1, int(terminal), state]
        self.inputs, self.targets = Gaussian(state + action), Gaussian(dimensions)
        self.dynamics = Stack([state + action, *config.hidden, 2 * dimensions], streams)
        self.behaviour = Stack([state, *config.hidden, 2 * action], streams[:1])
        # Learned bounds of the log variance.
        self.highest = nn.Parameter(torch.full((len(streams), 1, dimensions), 0.5))
        self.lowest = nn.Parameter(torch.full((len(streams), 1, dimensions), -10.0))
        self.register_buffer("elites", torch.arange(config.elites))

    def predict(self, x):
        """Normalised inputs (members, B, S + A) → mean and log variance of normalised targets, (members, B, D) each.

        Learned soft bounds limit the variance (Chua et al. 2018, appendix A.1).
        """
        mean, log_variance = self.dynamics(x).chunk(2, dim=-1)
        log_variance = self.highest - nn.functional.softplus(self.highest - log_variance)
        return mean, self.lowest + nn.functional.softplus(log_variance - self.lowest)

    def act(self, states):
        """States (B, S) → mean and log standard deviation of the behaviour policy's action, (B, A) each."""
        z = (states - self.inputs.mean[: states.shape[1]]) / self.inputs.std[: states.shape[1]]
        mean, log_std = self.behaviour(z[None])[0].chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD)

    def loss(self, states, actions, targets, draws) -> torch.Tensor:
        """Negative log-likelihood of the members, each on its own batch, and of the behaviour policy; () tensor.

        Arguments:
            states: (N, S), actions: (N, A), targets: (N, D), all unnormalised.
            draws: random rows of all members' batches, an `UpdateNoise`.
        """
        rows = draws.rows[draws.starts].view(len(self.highest), -1)
        mean, log_variance = self.predict(self.inputs(torch.cat([states[rows], actions[rows]], dim=-1)))
        losses = (mean - self.targets(targets[rows])).square() * (-log_variance).exp() + log_variance
        if self.terminal:
            ended = nn.functional.binary_cross_entropy_with_logits(
                mean[..., 1], targets[rows][..., 1], reduction="none"
            )
            losses = torch.cat([losses[..., :1], 2 * ended[..., None], losses[..., 2:]], dim=-1)
        dynamics = losses.mean((1, 2)).sum()
        bounds = BOUNDS_WEIGHT * (self.highest.sum() - self.lowest.sum())
        behaviour_mean, log_std = self.act(states[rows[0]])
        behaviour = (0.5 * ((behaviour_mean - actions[rows[0]]) / log_std.exp()).square() + log_std).mean()
        return dynamics + bounds + behaviour

    @torch.no_grad()
    def choose(self, states, actions, targets):
        """Sets `elites` to the members with the smallest mean squared error on these rows, (N, …) each, normalised."""
        x = self.inputs(torch.cat([states, actions], dim=-1)).expand(len(self.highest), -1, -1)
        mean = self.predict(x)[0]
        if self.terminal:
            mean[..., 1] = (mean[..., 1].sigmoid() - self.targets.mean[1]) / self.targets.std[1]
        errors = (mean - self.targets(targets)).square().mean((1, 2))
        self.elites.copy_(errors.argsort()[: len(self.elites)])

    @torch.no_grad()
    def step(self, states, actions, stream: torch.Generator):
        """One step with a random elite for each row, from states (B, S) and actions (B, A).

        Returns:
            rewards (B,); whether the task ended, (B,) bool, or None without a terminal channel; next states (B, S); and
            the uncertainty (B,): the norm of the unnormalised standard deviation of reward and state, maximised over
            all members, elites or not, as in MOPO's code.
        """
        device, count = states.device, len(states)
        x = self.inputs(torch.cat([states, actions], dim=-1)).expand(len(self.highest), -1, -1)
        mean, log_variance = self.predict(x)
        std = (0.5 * log_variance).exp()
        reward_std, _, state_std = (std * self.targets.std).split(self.split, dim=-1)
        uncertainty = torch.cat([reward_std, state_std], dim=-1).norm(dim=-1).amax(0)
        mean, std = mean[self.elites], std[self.elites]
        chosen = torch.randint(len(self.elites), (count,), generator=stream, device=device)
        rows = torch.arange(count, device=device)
        noise = torch.randn(mean.shape[1:], generator=stream, device=device)
        y = self.targets.inverse(mean[chosen, rows] + std[chosen, rows] * noise)
        rewards, _, change = y.split(self.split, dim=-1)
        ended = None
        if self.terminal:
            ended = torch.rand(count, generator=stream, device=device) < mean[chosen, rows][:, 1].sigmoid()
        return rewards[:, 0], ended, states + change, uncertainty

    @torch.no_grad()
    def behave(self, states, stream: torch.Generator):
        """A random action of the behaviour policy within [-1, 1]: (B, S) → (B, A)."""
        mean, log_std = self.act(states)
        noise = torch.randn(mean.shape, generator=stream, device=mean.device)
        return (mean + log_std.exp() * noise).clamp(-1, 1)

"""An ensemble of one-step models, Gaussian or of the mean alone."""

from itertools import pairwise

import torch
from torch import nn

from stages.diffusion.normalizers import Gaussian
from stages.policy.networks import Linear

BOUNDS_WEIGHT = 0.01  # of the learned variance bounds in the loss, as in PETS (Chua et al. 2018, arXiv 1805.12114)


class Stack(nn.Module):
    """MLPs with SiLU, one for each member, computed together: (members, batch, in) → (members, batch, out).

    Arguments:
        streams: for each member, the random stream of its initial weights.
        norm: whether layer normalisation, without weights of its own, comes before each SiLU.
    """

    def __init__(self, widths: list[int], streams, norm: bool = False):
        super().__init__()
        self.layers, self.norm = nn.ModuleList(Linear(i, o, streams) for i, o in pairwise(widths)), norm

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x)
            x = nn.functional.silu(nn.functional.layer_norm(x, x.shape[-1:]) if self.norm else x)
        return self.layers[-1](x)


class ForwardModel(nn.Module):
    """The ensemble and its normalisers; it predicts the reward and the change of the state.

    Arguments:
        terminal: whether the models predict where the task ends, see `terminals.terminals_learned`. This channel's mean
            is a logit: a Gaussian's variance would vanish in regions where no task ends.
        streams: for each member, the random stream of its initial weights.
        elites: number of members whose predictions count.
        gaussian: whether the models predict variances too, with the likelihood as their loss. Otherwise the loss is the
            squared error.
        norm: see `Stack`.

    Attributes:
        elites: (E,) indices of these members.
    """

    def __init__(
        self,
        state: int,
        action: int,
        terminal: bool,
        hidden: list[int],
        streams,
        elites: int,
        gaussian: bool,
        norm: bool,
    ):
        super().__init__()
        self.terminal, self.gaussian = terminal, gaussian
        dimensions = 1 + terminal + state  # reward, optional terminal, change of the state
        self.split = [1, int(terminal), state]
        self.inputs, self.targets = Gaussian(state + action), Gaussian(dimensions)
        self.dynamics = Stack([state + action, *hidden, (1 + gaussian) * dimensions], streams, norm)
        if gaussian:  # learned bounds of the log variance
            self.highest = nn.Parameter(torch.full((len(streams), 1, dimensions), 0.5))
            self.lowest = nn.Parameter(torch.full((len(streams), 1, dimensions), -10.0))
        self.members = len(streams)
        self.register_buffer("elites", torch.arange(elites))

    def predict(self, x):
        """Normalised inputs (members, B, S + A) → mean and log variance of normalised targets, (members, B, D) each.

        Learned soft bounds limit the variance (Chua et al. 2018, appendix A.1). It is None if the models predict none.
        """
        if not self.gaussian:
            return self.dynamics(x), None
        mean, log_variance = self.dynamics(x).chunk(2, dim=-1)
        log_variance = self.highest - nn.functional.softplus(self.highest - log_variance)
        return mean, self.lowest + nn.functional.softplus(log_variance - self.lowest)

    def predict_all(self, states, actions):
        """`predict` of every member at the same unnormalised states (B, S) and actions (B, A)."""
        return self.predict(self.inputs(torch.cat([states, actions], dim=-1)).expand(self.members, -1, -1))

    def loss(self, states, actions, targets, draws) -> torch.Tensor:
        """The members' negative log-likelihood or squared error, each on its own batch, added up; () tensor.

        Arguments:
            states: (N, S), actions: (N, A), targets: (N, D), all unnormalised.
            draws: random rows of all members' batches, an `UpdateNoise`.
        """
        rows = draws.rows[draws.starts].view(self.members, -1)
        mean, log_variance = self.predict(self.inputs(torch.cat([states[rows], actions[rows]], dim=-1)))
        losses = (mean - self.targets(targets[rows])).square()
        if self.gaussian:
            losses = losses * (-log_variance).exp() + log_variance
        if self.terminal:
            ended = nn.functional.binary_cross_entropy_with_logits(
                mean[..., 1], targets[rows][..., 1], reduction="none"
            )
            losses = torch.cat([losses[..., :1], 2 * ended[..., None], losses[..., 2:]], dim=-1)
        loss = losses.mean((1, 2)).sum()
        return loss + BOUNDS_WEIGHT * (self.highest.sum() - self.lowest.sum()) if self.gaussian else loss

    @torch.no_grad()
    def choose(self, states, actions, targets):
        """Sets `elites` to the members with the smallest mean squared error on these rows, (N, …) each, normalised."""
        mean = self.predict_all(states, actions)[0]
        if self.terminal:
            mean[..., 1] = (mean[..., 1].sigmoid() - self.targets.mean[1]) / self.targets.std[1]
        errors = (mean - self.targets(targets)).square().mean((1, 2))
        self.elites.copy_(errors.argsort()[: len(self.elites)])

    @torch.no_grad()
    def expect(self, states, actions):
        """The elites' average prediction from states (B, S) and actions (B, A).

        Returns:
            rewards (B,); whether the task ended, (B,) bool, or None without a terminal channel; next states (B, S); and
            the disagreement (B,): the root mean square, over reward and state, of the elites' standard deviation in
            normalised units; 0 for a single elite.
        """
        mean = self.predict_all(states, actions)[0][self.elites]
        rewards, _, change = self.targets.inverse(mean.mean(0)).split(self.split, dim=-1)
        ended = mean[..., 1].sigmoid().mean(0) > 0.5 if self.terminal else None
        parts = mean.std(0, correction=0).split(self.split, dim=-1)
        disagreement = torch.cat([parts[0], parts[2]], dim=-1).square().mean(-1).sqrt()
        return rewards[:, 0], ended, states + change, disagreement

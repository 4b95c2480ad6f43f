"""An ensemble of one-step models: (state, action) → (reward, next state, end of the task), Gaussian or a mean alone.

`stages/forward_model/` trains one for the methods that make data, `dynamics.py` one for each learner.
"""

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


class Ensemble(nn.Module):
    """Members' networks and normalisers; each member predicts the reward and the change of the state.

    Arguments:
        terminal: whether the models predict where the task ends, see `terminals.terminals_learned`. This channel's mean
            is a logit: a Gaussian's variance would vanish in regions where no task ends.
        streams: for each member, the random stream of its initial weights.
        gaussian: whether the models predict variances too, with the likelihood as their loss. Otherwise the loss is the
            squared error.
        norm: see `Stack`.
    """

    def __init__(
        self,
        state: int,
        action: int,
        terminal: bool,
        hidden: list[int],
        streams,
        gaussian: bool = True,
        norm: bool = False,
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

    def predict(self, x):
        """Normalised inputs (members, B, S + A) → mean and log variance of normalised targets, (members, B, D) each.

        Learned soft bounds limit the variance (Chua et al. 2018, appendix A.1). It is None if the models predict none.
        """
        if not self.gaussian:
            return self.dynamics(x), None
        mean, log_variance = self.dynamics(x).chunk(2, dim=-1)
        log_variance = self.highest - nn.functional.softplus(self.highest - log_variance)
        return mean, self.lowest + nn.functional.softplus(log_variance - self.lowest)

    def losses(self, inputs, targets) -> torch.Tensor:
        """Each member's negative log-likelihood or squared error on its own batch: (members,).

        Arguments:
            inputs: (members, B, S + A), targets: (members, B, D), both unnormalised.
        """
        mean, log_variance = self.predict(self.inputs(inputs))
        losses = (mean - self.targets(targets)).square()
        if self.gaussian:
            losses = losses * (-log_variance).exp() + log_variance
        if self.terminal:
            ended = nn.functional.binary_cross_entropy_with_logits(mean[..., 1], targets[..., 1], reduction="none")
            losses = torch.cat([losses[..., :1], 2 * ended[..., None], losses[..., 2:]], dim=-1)
        return losses.mean((1, 2))

    @torch.no_grad()
    def errors(self, inputs, targets) -> torch.Tensor:
        """Each member's mean squared error, normalised, on the same rows: (N, S + A) and (N, D) → (members,)."""
        mean = self.predict(self.inputs(inputs).expand(self.members, -1, -1))[0]
        if self.terminal:
            mean[..., 1] = (mean[..., 1].sigmoid() - self.targets.mean[1]) / self.targets.std[1]
        return (mean - self.targets(targets)).square().mean((1, 2))

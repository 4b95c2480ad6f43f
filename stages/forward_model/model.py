"""An ensemble of one-step models with its elites, trained on the real data."""

import torch

from stages.policy.ensemble import BOUNDS_WEIGHT, Ensemble


class ForwardModel(Ensemble):
    """The ensemble, and which of its members count; for the other arguments see `Ensemble`.

    Arguments:
        elites: number of members whose predictions count.

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
        super().__init__(state, action, terminal, hidden, streams, gaussian, norm)
        self.register_buffer("elites", torch.arange(elites))

    def predict_all(self, states, actions):
        """`predict` of every member at the same unnormalised states (B, S) and actions (B, A)."""
        return self.predict(self.inputs(torch.cat([states, actions], dim=-1)).expand(self.members, -1, -1))

    def loss(self, states, actions, targets, draws) -> torch.Tensor:
        """The members' losses, each on its own batch, added up; () tensor.

        Arguments:
            states: (N, S), actions: (N, A), targets: (N, D), all unnormalised.
            draws: random rows of all members' batches, an `UpdateNoise`.
        """
        rows = draws.rows[draws.starts].view(self.members, -1)
        loss = self.losses(torch.cat([states[rows], actions[rows]], dim=-1), targets[rows]).sum()
        return loss + BOUNDS_WEIGHT * (self.highest.sum() - self.lowest.sum()) if self.gaussian else loss

    @torch.no_grad()
    def choose(self, states, actions, targets):
        """Sets `elites` to the members with the smallest mean squared error on these rows, (N, …) each, normalised."""
        errors = self.errors(torch.cat([states, actions], dim=-1), targets)
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

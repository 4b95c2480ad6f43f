"""The ensemble of Gaussian one-step models, and the cloned behaviour policy that acts in it."""

import torch

from stages.forward_model.model import ForwardModel
from stages.policy.ensemble import Stack

LOG_STD = -5.0, 2.0  # limits of the behaviour policy's log standard deviation


class OneStep(ForwardModel):
    """The Gaussian ensemble and the behaviour policy in one module; for the arguments see `ForwardModel`.

    Attributes:
        row_weights: (N,) weights of the rows of the data in the behaviour policy's loss, of mean 1, or None: all equal.
    """

    def __init__(self, state: int, action: int, terminal: bool, config, streams):
        super().__init__(state, action, terminal, config.hidden, streams, config.elites, gaussian=True, norm=False)
        self.behaviour = Stack([state, *config.hidden, 2 * action], streams[:1])
        self.row_weights = None

    def act(self, states):
        """States (B, S) → mean and log standard deviation of the behaviour policy's action, (B, A) each."""
        z = (states - self.inputs.mean[: states.shape[1]]) / self.inputs.std[: states.shape[1]]
        mean, log_std = self.behaviour(z[None])[0].chunk(2, dim=-1)
        return mean, log_std.clamp(*LOG_STD)

    def loss(self, states, actions, targets, draws) -> torch.Tensor:
        """`ForwardModel.loss`, plus the behaviour policy's negative log-likelihood on the first member's batch."""
        rows = draws.rows[draws.starts].view(self.members, -1)[0]
        mean, log_std = self.act(states[rows])
        behaviour = 0.5 * ((mean - actions[rows]) / log_std.exp()).square() + log_std
        if self.row_weights is not None:
            behaviour = self.row_weights[rows][:, None] * behaviour
        return super().loss(states, actions, targets, draws) + behaviour.mean()

    @torch.no_grad()
    def step(self, states, actions, stream: torch.Generator):
        """One step with a random elite for each row, from states (B, S) and actions (B, A).

        Returns:
            rewards (B,); whether the task ended, (B,) bool, or None without a terminal channel; next states (B, S); and
            the uncertainty (B,): the norm of the unnormalised standard deviation of reward and state, maximised over
            all members, elites or not, as in MOPO's code.
        """
        device, count = states.device, len(states)
        mean, log_variance = self.predict_all(states, actions)
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

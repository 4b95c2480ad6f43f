"""Ensembles of Gaussian one-step models, one for each learner, in which its policy acts."""

import torch

from stages.policy.ensemble import BOUNDS_WEIGHT, Ensemble

ROWS = 4096  # on which held-out errors are computed at a time


class Dynamics(Ensemble):
    """The ensembles of all learners: member m of learner l is number l · members + m of the stack.

    States are the batches', normalised, and rewards scaled. A target is (reward, optional end, change of the state).

    Arguments:
        terminal: see `Ensemble`.
        settings: `members`, `elites`, `model_hidden` and `weight_decay` of `settings.ModelBased`.
        streams: for each learner, the random stream of its initial weights.

    Attributes:
        elites: (learners, E) indices of the members whose predictions count, within each learner's ensemble.
        units: (1 + S,) what one unit of the scaled reward and of the normalised state is in the data's units.
    """

    def __init__(self, state: int, action: int, terminal: bool, settings, streams):
        members = [stream for stream in streams for _ in range(settings.members)]
        super().__init__(state, action, terminal, settings.model_hidden, members)
        self.shape, self.decay = (len(streams), settings.members), settings.weight_decay
        self.register_buffer("elites", torch.arange(settings.elites).repeat(len(streams), 1))
        self.register_buffer("units", torch.ones(1 + state))

    def loss(self, inputs, targets) -> torch.Tensor:
        """Negative log-likelihoods, variance bounds and weight decay, summed over each learner's members: (learners,).

        Arguments:
            inputs: (learners · members, B, S + A), targets: (learners · members, B, D), both unnormalised.
        """
        bounds = (self.highest - self.lowest).sum((1, 2))
        decay = sum(layer.weight.square().sum((1, 2)) for layer in self.dynamics.layers)
        total = self.losses(inputs, targets) + BOUNDS_WEIGHT * bounds + self.decay / 2 * decay
        return total.view(self.shape).sum(1)

    @torch.no_grad()
    def choose(self, inputs, targets):
        """Sets each learner's `elites` to its members with the smallest mean squared error on these rows, (N, …)."""
        parts = zip(inputs.split(ROWS), targets.split(ROWS), strict=True)
        errors = sum(self.errors(*part) * len(part[0]) for part in parts)
        self.elites.copy_(errors.view(self.shape).argsort(1)[:, : self.elites.shape[1]])

    def predict_all(self, inputs):
        """(learners, B, S + A) unnormalised → mean and std of the normalised targets, (learners, members, B, D)."""
        mean, log_variance = self.predict(self.inputs(inputs).repeat_interleave(self.shape[1], dim=0))
        return (part.view(*self.shape, *part.shape[1:]) for part in (mean, (0.5 * log_variance).exp()))

    def of_elites(self, part):
        """(learners, members, …) → (learners, E, …)."""
        return part[torch.arange(len(part), device=part.device)[:, None], self.elites]

    @torch.no_grad()
    def step(self, inputs, elite, noise, end):
        """One step with a random elite for each row.

        Arguments:
            inputs: (learners, B, S + A), unnormalised.
            elite: (learners, B) which elite, 0 to E - 1; noise: (learners, B, D) standard normal; end: (learners, B)
                uniform.

        Returns:
            rewards (learners, B); whether the task ended, (learners, B) bool, or None if the models do not predict it;
            next states (learners, B, S); and the uncertainty (learners, B): the norm of the standard deviation of
            reward and state in the data's units, maximised over all members, elites or not, as in MOPO's code.
        """
        mean, std = self.predict_all(inputs)
        reward_std, _, state_std = (std * self.targets.std).split(self.split, dim=-1)
        uncertainty = (torch.cat([reward_std, state_std], dim=-1) * self.units).norm(dim=-1).amax(1)
        index = self.elites.gather(1, elite)[:, None, :, None].expand(-1, -1, -1, mean.shape[-1])
        mean, std = (part.gather(1, index)[:, 0] for part in (mean, std))
        rewards, _, change = self.targets.inverse(mean + std * noise).split(self.split, dim=-1)
        ended = end < mean[..., 1].sigmoid() if self.terminal else None
        return rewards[..., 0], ended, inputs[..., : self.split[2]] + change, uncertainty

    @torch.no_grad()
    def next_states(self, inputs, noise):
        """Samples of every elite's next state: (learners, B, S + A) and normals (learners, E, J, B, S) → the latter."""
        mean, std = (self.of_elites(part)[:, :, None, :, -self.split[2] :] for part in self.predict_all(inputs))
        shift, scale = (part[-self.split[2] :] for part in (self.targets.mean, self.targets.std))
        return inputs[:, None, None, :, : self.split[2]] + (mean + std * noise) * scale + shift

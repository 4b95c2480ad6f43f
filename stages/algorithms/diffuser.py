"""Diffuser (Janner et al. 2022, arXiv 2205.09991): plans actions and states together, guided towards a large return.

A value network, trained on noisy plans, says which return a plan leads to; its gradient steers the denoising, and of
several plans the one with the largest value is followed.
"""

import torch

from stages.common.settings import NonNegative, Positive
from stages.diffusion.embedding import features
from stages.diffusion.samplers import ddim
from stages.policy.denoiser import Denoiser, Residual, draws_of_window, leveled
from stages.policy.networks import restored
from stages.policy.planning import Outlook, PlannerLearner, Planning, changes_of
from stages.policy.settings import WHOLE_EPISODES, Planner

REAL_ONLY = WHOLE_EPISODES
columns = Outlook


class Settings(Planner):
    """The settings that the section `diffuser` of params.yaml adds to those of `policy`."""

    candidates: Positive
    guidance: NonNegative
    guided_above: NonNegative


class Value(Residual):
    """V(x, σ; s), the normalised return that a noisy plan x leads to."""

    def __init__(self, state: int, step: int, settings, streams):
        super().__init__(settings.horizon * step + features.width + state, 1, settings, streams)
        self.data = settings.sigma_data

    def forward(self, points, sigma, states) -> torch.Tensor:
        """Noisy plans (learners, batch, H, D), σ (learners, batch), states (learners, batch, S) → (learners, batch)."""
        scaled = points * (sigma.square() + self.data**2).rsqrt()[..., None, None]
        return super().forward(torch.cat([scaled.flatten(-2), features(sigma.log() / 4), states], dim=-1))[..., 0]


class Policy(Planning):
    """Follows the one of `candidates` guided plans that has the largest value."""

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        super().__init__(weights, settings)
        step, streams = weights["planner.leave.bias"].shape[2] // settings.horizon, [torch.Generator()]
        self.planner = restored(Denoiser(self.state, step, step, False, settings, streams), weights, "planner")
        self.value = restored(Value(self.state, step, settings, streams), weights, "value")
        self.sigmas = self.planner.process.sigmas(settings.sampler_steps)
        self.reach = torch.cat([torch.ones(step - self.state), weights["constant.reach"]])
        self.shape, self.noise = (settings.horizon, step), settings.candidates * settings.horizon * step
        guided = int((self.sigmas[:-1] > settings.guided_above).sum()) if settings.guidance else 0
        self.passes = settings.candidates * (settings.sampler_steps + guided + 1) / settings.execute

    def slope(self, points, sigma, states) -> torch.Tensor:
        """The gradient of V by the noisy plans."""
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            return torch.autograd.grad(self.value(points, sigma, states).sum(), points)[0]

    @torch.no_grad()
    def plan(self, states, noise):
        policies, episodes, _ = states.shape
        many = states.repeat_interleave(self.settings.candidates, dim=1)

        def denoise(points, sigma):
            levels = leveled(sigma, many)
            clean = self.planner(points, levels, self.planner.condition(many))
            if self.settings.guidance and sigma > self.settings.guided_above:
                clean = clean + self.settings.guidance * sigma.square() * self.slope(points, levels, many)
            return clean.clamp(-self.reach, self.reach)

        points = self.settings.temperature * self.sigmas[0] * noise.reshape(policies, -1, *self.shape)
        plans = ddim(denoise, points, self.sigmas)
        values = self.value(plans, leveled(self.settings.sigma_min, many), many)
        best = values.view(policies, episodes, -1).argmax(-1)[..., None, None, None]
        plans = plans.view(policies, episodes, -1, *self.shape)
        return plans.gather(2, best.expand(-1, -1, 1, *self.shape))[:, :, 0, :, : -self.state]


class Learner(PlannerLearner):
    """Diffusion models of plans and value networks of all learners. Both take a step in each update.

    For windows x of actions and changes of the state that begin in s, and the discounted return-to-go R,

        EDM's loss of D(x + σ ε, σ; s), the first step weighted by `first_weight`        diffusion
        mean (V(x + σ ε, σ; s) - R)²                                                     value

    Acting, the clean estimate moves by guidance · σ² ∇V: the classifier guidance of Diffuser's eq. 3, written for the
    clean estimate. Differs from the paper: windows hold changes of the state; the first state is a condition of the
    network instead of being overwritten; EDM's noise levels and few DDIM steps with one step of guidance each, where
    theirs are 20 DDPM steps with two; residual MLPs in place of U-Nets. In their plans ends of episodes cost 100; here
    the return-to-go that V learns ends with its episode.
    """

    compiled = "planner_loss", "value_loss"

    def __init__(self, state: int, action: int, streams, settings, device):
        step = action + state
        planner = Denoiser(state, step, step, False, settings, streams)
        value = Value(state, step, settings, streams)
        super().__init__({"planner": planner, "value": value}, ["planner"], settings, device)
        self.draws = draws_of_window(settings.horizon, step)

    def steps(self, batch) -> torch.Tensor:
        return torch.cat([batch.window.actions, changes_of(batch, self.constants["change"])], dim=-1)

    def planner_loss(self, batch, level, uniform, noise) -> torch.Tensor:
        condition, first = self.planner.condition(batch.states), self.settings.first_weight
        return self.planner.loss(self.steps(batch), batch.window.exists, condition, level, uniform, noise, first)

    def value_loss(self, batch, level, uniform, noise) -> torch.Tensor:
        steps, sigma = self.steps(batch), self.planner.process.draw(level, uniform)[..., 0]
        value = self.value(steps + sigma[..., None, None] * noise.view_as(steps), sigma, batch.states)
        return (value - batch.extra["returns"][..., 0]).square().mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        numbers = [noise[name] for name in ("level", "uniform", "noise")]
        losses = {"planner_loss": self.planner_loss(batch, *numbers), "value_loss": self.value_loss(batch, *numbers)}
        return self.step(losses)

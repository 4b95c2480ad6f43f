"""Decision Diffuser (Ajay et al. 2023, arXiv 2211.15657): plans states by diffusion, and infers the action between two.

DAWM's parts used as a policy: a diffusion model of the states to come, given the state at hand and the return to reach,
and an inverse dynamics model. It plans anew at each step.
"""

import torch

from stages.common.settings import Fraction, NonNegative, Probability
from stages.diffusion.guidance import guided
from stages.diffusion.samplers import ddim
from stages.policy.denoiser import Denoiser, draws_of_window, leveled
from stages.policy.draws import Draw
from stages.policy.networks import Mlp, restored
from stages.policy.planning import Outlook, PlannerLearner, Planning, changes_of
from stages.policy.settings import WHOLE_EPISODES, Planner

REAL_ONLY = WHOLE_EPISODES
columns = Outlook


class Settings(Planner):
    """The settings that the section `dd` of params.yaml adds to those of `policy`."""

    guidance: NonNegative
    null_probability: Probability
    target_quantile: Fraction


class Policy(Planning):
    """Plans the states to come, and takes the actions that the inverse model infers between them."""

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        super().__init__(weights, settings)
        actions, streams = weights[f"inverse.layers.{len(settings.hidden)}.weight"].shape[2], [torch.Generator()]
        self.planner = restored(
            Denoiser(self.state, self.state, self.state, True, settings, streams), weights, "planner"
        )
        self.inverse = restored(Mlp([2 * self.state, *settings.hidden, actions], streams), weights, "inverse")
        self.target, self.reach = weights["constant.target"], weights["constant.reach"]
        self.sigmas, self.noise = self.planner.process.sigmas(settings.sampler_steps), settings.horizon * self.state
        evaluations = settings.sampler_steps * (1 if settings.guidance == 1 else 2)
        self.passes = evaluations / settings.execute + 1  # the inverse model's

    def changes(self, states, noise) -> torch.Tensor:
        """The planned changes of the state, (policies, episodes, H, S)."""
        target = self.target.expand(*states.shape[:2], 1)
        conditions = {
            known: self.planner.condition(states, target, torch.full_like(target, float(known)))
            for known in (True, False)
        }

        def denoise(points, sigma, known):
            clean = self.planner(points, leveled(sigma, states), conditions[known])
            return clean.clamp(-self.reach, self.reach)

        points = self.settings.temperature * self.sigmas[0] * noise.unflatten(-1, (self.settings.horizon, self.state))
        return ddim(guided(denoise, self.settings.guidance), points, self.sigmas)

    def plan(self, states, noise):
        changes = self.changes(states, noise)[:, :, : self.settings.execute]
        after = self.states_of(states, changes)
        before = torch.cat([states[:, :, None], after[:, :, :-1]], dim=2)
        pairs = torch.cat([before, changes], dim=-1)
        return self.inverse(pairs.flatten(1, 2)).view(*pairs.shape[:3], -1)


class Learner(PlannerLearner):
    """Diffusion models of states and inverse models of all learners. Both take a step in each update.

    For windows of changes x that begin in s, with returns-to-go R hidden from a share `null_probability`,

        EDM's loss of D(x + σ ε, σ; s, R), the first step weighted by `first_weight`       diffusion
        mean (I(s, s') - a)²                                                               inverse model

    Differs from the paper: windows hold changes of the state, not states, and the first state is a condition of the
    network instead of being overwritten at each noise level, as in the suite's world model; EDM's noise levels and few
    DDIM steps in place of 100 DDPM steps; a residual MLP in place of a U-Net. The return to reach is a quantile of the
    data's returns-to-go, not chosen for each task.
    """

    compiled = "planner_loss", "inverse_loss"

    def __init__(self, state: int, action: int, streams, settings, device):
        planner = Denoiser(state, state, state, True, settings, streams)
        inverse = Mlp([2 * state, *settings.hidden, action], streams)
        super().__init__({"planner": planner, "inverse": inverse}, ["planner"], settings, device)
        self.draws = draws_of_window(settings.horizon, state) | {"shown": Draw("kept", 1, settings.null_probability)}

    def planner_loss(self, batch, level, uniform, noise, shown) -> torch.Tensor:
        condition = self.planner.condition(batch.states, batch.extra["returns"], shown.to(batch.rewards))
        steps = changes_of(batch, self.constants["change"])
        first = self.settings.first_weight
        return self.planner.loss(steps, batch.window.exists, condition, level, uniform, noise, first)

    def inverse_loss(self, batch) -> torch.Tensor:
        change = (batch.next_states - batch.states) / self.constants["change"]
        inferred = self.inverse(torch.cat([batch.states, change], dim=-1))
        return (inferred - batch.actions).square().mean((1, 2))

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        numbers = [noise[name] for name in ("level", "uniform", "noise", "shown")]
        losses = {"planner_loss": self.planner_loss(batch, *numbers), "inverse_loss": self.inverse_loss(batch)}
        return self.step(losses)

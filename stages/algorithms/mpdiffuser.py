"""MPDiffuser (arXiv 2512.08280): a planner and a dynamics model denoise a plan in turns, and a ranker chooses one.

The planner proposes actions and states that lead to a large return; the dynamics model, told the proposed actions,
pulls the states to where these actions lead.
"""

from itertools import pairwise

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from stages.common.settings import Fraction, NonNegative, Positive, Probability
from stages.diffusion.guidance import guided
from stages.policy.denoiser import Denoiser, draws_of_window, leveled
from stages.policy.draws import Draw
from stages.policy.networks import Mlp, restored
from stages.policy.planning import Outlook, PlannerLearner, Planning, changes_of
from stages.policy.settings import WHOLE_EPISODES, Planner

REAL_ONLY = WHOLE_EPISODES
columns = Outlook


class Settings(Planner):
    """The settings that the section `mpdiffuser` of params.yaml adds to those of `policy`."""

    guidance: NonNegative
    null_probability: Probability
    target_quantile: Fraction
    candidates: Positive
    end_penalty: NonNegative


class Policy(Planning):
    """Follows the one of `candidates` plans that the ranker likes best."""

    def __init__(self, weights: dict[str, torch.Tensor], settings):
        super().__init__(weights, settings)
        state, streams = self.state, [torch.Generator()]
        step = weights["planner.leave.bias"].shape[2] // settings.horizon
        self.planner = restored(Denoiser(state, step, step, True, settings, streams), weights, "planner")
        self.dynamics = restored(Denoiser(state, step, state, True, settings, streams), weights, "dynamics")
        self.ranker = restored(Mlp([state + step, *settings.hidden, 2], streams), weights, "ranker")
        self.target, self.sigmas = weights["constant.target"], self.planner.process.sigmas(settings.sampler_steps)
        self.reach = torch.cat([torch.ones(step - state), weights["constant.reach"]])
        self.shape, self.noise = (settings.horizon, step), settings.candidates * settings.horizon * step
        ranked = settings.horizon if settings.candidates > 1 else 0
        evaluations = 2 * settings.sampler_steps * (1 if settings.guidance == 1 else 2)
        self.passes = settings.candidates * (evaluations + ranked) / settings.execute

    def clean(self, network, points, sigma, conditions):
        """The clean estimate of a network's columns, with classifier-free guidance, within the data's range."""

        def denoise(points, sigma, known):
            return network(points, leveled(sigma, conditions[known]), conditions[known])

        clean = guided(denoise, self.settings.guidance)(points, sigma)
        reach = self.reach[-clean.shape[-1] :]
        return clean.clamp(-reach, reach)

    def denoised(self, states, points) -> torch.Tensor:
        """Plans (policies, plans, H, D): at each noise level the dynamics model goes first, then the planner."""
        target = self.target.expand(*states.shape[:2], 1)
        conditions = {
            known: self.planner.condition(states, target, torch.full_like(target, float(known)))
            for known in (True, False)
        }
        for sigma, lower in pairwise(self.sigmas):
            kept = (lower / sigma).square()
            actions, changes = points.split([self.shape[1] - self.state, self.state], dim=-1)
            changes = torch.lerp(self.clean(self.dynamics, points, sigma, conditions), changes, kept)
            points = torch.cat([actions, changes], dim=-1)
            points = torch.lerp(self.clean(self.planner, points, sigma, conditions), points, kept)
        return points

    def ranks(self, states, plans) -> torch.Tensor:
        """(policies, plans): predicted discounted rewards, less the penalty at a plan's first predicted end."""
        actions, changes = plans.split([self.shape[1] - self.state, self.state], dim=-1)
        after = self.states_of(states, changes)
        before = torch.cat([states[:, :, None], after[:, :, :-1]], dim=2)
        inputs = torch.cat([before, changes, actions], dim=-1)
        rewards, ends = self.ranker(inputs.flatten(1, 2)).view(*inputs.shape[:3], 2).unbind(-1)
        ended = (ends > 0).to(rewards).cumsum(-1)
        goes_on, first = ended - (ends > 0).to(rewards) == 0, (ended == 1) & (ends > 0)
        discounts = self.settings.discount ** torch.arange(self.shape[0])
        return (goes_on * (rewards - self.settings.end_penalty * first) * discounts).sum(-1)

    def plan(self, states, noise):
        policies, episodes, _ = states.shape
        many = states.repeat_interleave(self.settings.candidates, dim=1)
        points = self.settings.temperature * self.sigmas[0] * noise.reshape(policies, -1, *self.shape)
        plans = self.denoised(many, points)
        if self.settings.candidates == 1:
            return plans[..., : -self.state]
        best = self.ranks(many, plans).view(policies, episodes, -1).argmax(-1)[..., None, None, None]
        plans = plans.view(policies, episodes, -1, *self.shape)
        return plans.gather(2, best.expand(-1, -1, 1, *self.shape))[:, :, 0, :, : -self.state]


class Learner(PlannerLearner):
    """Planners, dynamics models and rankers of all learners. All take a step in each update.

    For windows x of actions and changes of the state that begin in s, with returns-to-go R hidden from a share
    `null_probability`,

        EDM's loss of P(x + σ ε, σ; s, R), the first step weighted by `first_weight`           planner
        EDM's loss of the states alone, of M(x + σ ε, σ; s, R), with draws of its own           dynamics model
        (r - r̂)² + cross-entropy of the task's end, for s, s' and a                             ranker

    Acting, both models go from each noise level to the next, the dynamics model first, as in the authors' code: the
    posterior's mean, without its noise (theirs is scaled by 0.001). Their dynamics model is conditioned on the return
    as well. Differs from it: windows hold changes of the state; EDM's noise levels, few of them, where theirs are 100;
    residual MLPs in place of U-Nets; the ranker's end is one network with its reward; no warm start of plans. The
    authors' settings for each task are not public.
    """

    compiled = "planner_loss", "dynamics_loss", "ranker_loss"

    def __init__(self, state: int, action: int, streams, settings, device):
        step = action + state
        networks = {
            "planner": Denoiser(state, step, step, True, settings, streams),
            "dynamics": Denoiser(state, step, state, True, settings, streams),
            "ranker": Mlp([state + step, *settings.hidden, 2], streams),
        }
        super().__init__(networks, ["planner", "dynamics"], settings, device)
        shown = Draw("kept", 1, settings.null_probability)
        self.draws = {
            **draws_of_window(settings.horizon, step, "planner "),
            **draws_of_window(settings.horizon, step, "dynamics "),
            "planner shown": shown,
            "dynamics shown": shown,
        }

    def window_loss(self, network, batch, first: float, level, uniform, noise, shown) -> torch.Tensor:
        condition = network.condition(batch.states, batch.extra["returns"], shown.to(batch.rewards))
        steps = torch.cat([batch.window.actions, changes_of(batch, self.constants["change"])], dim=-1)
        return network.loss(steps, batch.window.exists, condition, level, uniform, noise, first)

    def planner_loss(self, batch, *numbers) -> torch.Tensor:
        return self.window_loss(self.planner, batch, self.settings.first_weight, *numbers)

    def dynamics_loss(self, batch, *numbers) -> torch.Tensor:
        return self.window_loss(self.dynamics, batch, 1.0, *numbers)

    def ranker_loss(self, batch) -> torch.Tensor:
        change = (batch.next_states - batch.states) / self.constants["change"]
        reward, end = self.ranker(torch.cat([batch.states, change, batch.actions], dim=-1)).unbind(-1)
        ended = (batch.discounts == 0).to(reward)
        wrong = binary_cross_entropy_with_logits(end, ended, reduction="none")
        return ((reward - batch.rewards).square() + wrong).mean(-1)

    def update(self, batch, noise, phase: int) -> dict[str, torch.Tensor]:
        drawn = {
            name: [noise[f"{name} {part}"] for part in ("level", "uniform", "noise", "shown")]
            for name in ("planner", "dynamics")
        }
        return self.step(
            {
                "planner_loss": self.planner_loss(batch, *drawn["planner"]),
                "dynamics_loss": self.dynamics_loss(batch, *drawn["dynamics"]),
                "ranker_loss": self.ranker_loss(batch),
            }
        )

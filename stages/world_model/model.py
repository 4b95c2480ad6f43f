"""DAWM's world model predicts H rewards and next states from (state, action, return-to-go); arXiv 2509.19538.

No difference from the paper is known, but its settings are unpublished. `presets/paper.yaml` takes those of DWM (arXiv
2402.03570), whose interface is the same. The small preset replaces the U-Net with an MLP, DDPM with EDM and DWM's
sampler with DPM-Solver++, which reach a lower error sooner; docs/world-model.md has the figures.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stages.common.files import atomic
from stages.diffusion.guidance import guided
from stages.diffusion.normalizers import NORMALIZERS
from stages.diffusion.process import process, shaped
from stages.diffusion.samplers import SAMPLERS, temperature_of
from stages.world_model.mlp import MlpDenoiser
from stages.world_model.settings import Diffusion
from stages.world_model.step_normalizer import StepNormalizer
from stages.world_model.unet import UnetDenoiser


@dataclass(frozen=True)
class Condition:
    """The condition of B windows.

    Attributes:
        states: (B, S), normalised; actions: (B, A); returns: (B,), returns-to-go over the task's scale.
        returns_known: (B,), 1, or 0 to hide the return-to-go.
    """

    states: torch.Tensor
    actions: torch.Tensor
    returns: torch.Tensor
    returns_known: torch.Tensor


@dataclass(frozen=True)
class SampledWindows:
    """Sampled windows in unnormalised units.

    Attributes:
        rewards: (B, H); states: (B, H, S), the state after each step.
        terminals: (B, H) bool, None if the model has no terminal channel.
        actions: (B, H, A) within [-1, 1], None if the model has no action channel.
    """

    rewards: torch.Tensor
    states: torch.Tensor
    terminals: torch.Tensor | None
    actions: torch.Tensor | None = None


class WorldModel(nn.Module):
    """A diffusion model of windows (B, H, D); a step holds reward, optional terminal flag and action, and next state.

    With `target: change` a step holds the change of the state instead. Since one step changes the state only a little,
    the same relative error is then a smaller error of the state, and the effect of the action is a larger part of the
    target. Dynamics models commonly predict changes (Nagabandi et al. 2018, arXiv 1708.02596, eq. 1); DWM does not.

    Arguments:
        terminal: whether a step holds a terminal flag.
        joint: whether a step holds its action. DAWM's steps do not; those of its ablation `joint` do.
    """

    def __init__(self, state: int, action: int, horizon: int, terminal: bool, config: Diffusion, joint: bool = False):
        super().__init__()
        self.sizes = {"state": state, "action": action, "horizon": horizon, "terminal": terminal, "joint": joint}
        self.step = 1 + terminal + joint * action + state
        self.config = config
        self.process = process(config)
        self.states = NORMALIZERS[config.normalizer](state)
        self.normalizer = StepNormalizer(state, terminal, config.normalizer, config.reward_normalizer, joint * action)
        denoiser, size = (MlpDenoiser, config.mlp) if config.network == "mlp" else (UnetDenoiser, config.unet)
        self.network = denoiser(horizon, self.step, state, action, size)

    def fit(self, states, steps):
        """Fits the normalisers to states (N, S) and the step that follows each, (N, D)."""
        self.states.fit(states)
        self.normalizer.fit(self.relative(steps[:, None], states)[:, 0])

    def relative(self, steps, states):
        """Replaces the states in windows (B, H, D) by their changes if the target is the change.

        Arguments:
            states: (B, S), the states before the first steps.
        """
        if self.config.target == "state":
            return steps
        before = torch.cat([states[:, None], steps[:, :-1, -states.shape[1] :]], dim=1)
        return torch.cat([steps[..., : -states.shape[1]], steps[..., -states.shape[1] :] - before], dim=-1)

    def absolute(self, steps, states):
        """The inverse of `relative`."""
        if self.config.target == "state":
            return steps
        next_states = states[:, None] + steps[..., -states.shape[1] :].cumsum(1)
        return torch.cat([steps[..., : -states.shape[1]], next_states], dim=-1)

    def condition(self, states, actions, returns, returns_known=None) -> Condition:
        """Builds a condition from unnormalised states (B, S), actions (B, A) and returns (B,)."""
        known = torch.ones_like(returns) if returns_known is None else returns_known
        return Condition(self.states(states), actions, returns, known)

    def loss(self, steps, exists, condition: Condition, normal, uniform, noise) -> torch.Tensor:
        """The weighted squared error of the clean estimate, averaged over existing steps; () tensor.

        Arguments:
            steps: (B, H, D), relative and normalised; exists: (B, H) bool, see `Windows`.
            normal, uniform: (B,) draws that choose the noise levels; noise: (B, H, D) standard normal.
        """
        sigma = self.process.draw(normal, uniform)
        clean = self.process.denoise(self.network, steps + shaped(sigma, steps) * noise, sigma, condition)
        error = (clean - steps).square().mean(-1) * exists
        return (self.process.weight(sigma) * error.sum(1)).sum() / exists.sum()

    @torch.no_grad()
    def sample(self, states, actions, returns, sampler, generator: torch.Generator, given=None, guide=None):
        """Samples windows from `states` (B, S) and first actions (B, A), conditioned on returns-to-go (B,).

        Arguments:
            sampler: the `sampler` section. Its temperature scales all noise of a stochastic sampler, the initial noise
                included (Decision Diffuser's low-temperature sampling); deterministic samplers ignore it.
            given: (steps (B, H, D), σ), windows that sampling begins from: they get noise of level σ, and the sampler's
                levels above it are left out. None: sampling begins from noise alone.
            guide: (normalised clean steps (B, H, D), σ ()) → the same, moved to where they should go; None: nowhere.

        Returns:
            `SampledWindows`.
        """
        conditions = {True: self.condition(states, actions, returns)}
        conditions[False] = replace(conditions[True], returns_known=torch.zeros_like(returns))
        sigmas = self.process.sigmas(sampler.steps, states.device)
        low, high = self.normalizer.bounds()

        def denoise(x, sigma, with_return):
            clean = self.process.denoise(self.network, x, sigma.expand(len(x)), conditions[with_return])
            return clean.clamp(low, high) if self.process.clips else clean

        shape, temperature = (len(states), self.sizes["horizon"], self.step), temperature_of(sampler)

        def noise():
            return temperature * torch.randn(shape, generator=generator, device=states.device)

        start = 0.0
        if given is not None:
            steps, sigma = given
            sigmas = torch.cat([sigmas.new_tensor([sigma]), sigmas[sigmas < sigma]])
            start = self.normalizer(self.relative(steps, states))
        run = partial(SAMPLERS[sampler.method], noise=noise, churn=sampler.churn)
        estimate = guided(denoise, sampler.guidance)
        steered = estimate if guide is None else lambda x, sigma: guide(estimate(x, sigma), sigma)
        z = run(steered, start + sigmas[0] * noise(), sigmas)
        steps = self.absolute(self.normalizer.inverse(z), states)
        rewards, terminals, later_actions, next_states = steps.split(self.normalizer.split, dim=-1)
        ended = terminals[..., 0] > 0.5 if self.sizes["terminal"] else None
        later_actions = later_actions.clamp(-1, 1) if self.sizes["joint"] else None
        return SampledWindows(rewards[..., 0], next_states, ended, later_actions)


def save(models: list[WorldModel], path: Path | str):
    """Saves independently trained models of one shape in one file, with their constructor's arguments."""
    tensors = {
        f"{k}.{name}": value.contiguous()
        for k, model in enumerate(models)
        for name, value in model.state_dict().items()
    }
    arguments = {**models[0].sizes, "generators": len(models), "config": models[0].config.model_dump()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"world_model": json.dumps(arguments)})


def load(path: Path | str, device: torch.device) -> list[WorldModel]:
    """Loads the models that `save` wrote."""
    with safe_open(path, "pt", device=str(device)) as file:
        arguments = json.loads(file.metadata()["world_model"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
    models = []
    for k in range(arguments.pop("generators")):
        model = WorldModel(**{**arguments, "config": Diffusion(**arguments["config"])}).to(device).eval()
        model.load_state_dict(
            {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{k}.")}
        )
        models.append(model)
    return models

"""DAWM's world model: imagines H rewards and next states from (state, action, return-to-go); arXiv 2509.19538.

Differs from the paper in nothing known: its settings are unpublished. `presets/paper.yaml` takes those of DWM (arXiv
2402.03570), whose interface is the same. The small preset replaces the U-Net by an MLP, DDPM by EDM and DWM's sampler
by DPM-Solver++, which reach a lower error sooner; docs/world-model.md has the figures.
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
from stages.common.schema import Diffusion
from stages.diffusion.guidance import guided
from stages.diffusion.mlp import MlpDenoiser
from stages.diffusion.normalizers import NORMALIZERS, StepNormalizer
from stages.diffusion.process import process, shaped
from stages.diffusion.samplers import SAMPLERS
from stages.diffusion.unet import UnetDenoiser


@dataclass(frozen=True)
class Condition:
    """What a window follows from: states (B, S) normalised, actions (B, A), returns (B,), returns_known (B,) 0 or 1."""

    states: torch.Tensor
    actions: torch.Tensor
    returns: torch.Tensor
    returns_known: torch.Tensor


@dataclass(frozen=True)
class Imagined:
    """Windows in the data's units: rewards (B, H) and next states (B, H, S); whether the task ends there, (B, H) bool,
    and the actions, (B, H, A) within [-1, 1], None where the model has no such channel.
    """

    rewards: torch.Tensor
    states: torch.Tensor
    terminals: torch.Tensor | None
    actions: torch.Tensor | None = None


class WorldModel(nn.Module):
    """A denoiser of windows (B, H, D): at each step a reward, perhaps whether the task ends, perhaps the action, and
    the state after it.

    With `target: change` the network sees how the state changed in that step instead. A step changes a state by little,
    so an error of the same share of what is imagined is a smaller error of the state, and what the action did is more
    of it. Dynamics models have long done so (Nagabandi et al. 2018, arXiv 1708.02596, eq. 1); DWM does not.

    Arguments:
        terminal, joint: whether the windows hold whether the task ends, and actions. DAWM's hold no actions; the
            baseline `joint` is the ablation that has them imagined too.
    """

    def __init__(self, state: int, action: int, horizon: int, terminal: bool, config: Diffusion, joint: bool = False):
        super().__init__()
        self.sizes = {"state": state, "action": action, "horizon": horizon, "terminal": terminal, "joint": joint}
        self.step = 1 + terminal + joint * action + state
        self.config = config
        self.process = process(config)
        self.states = NORMALIZERS[config.normalizer](state)
        self.normalizer = StepNormalizer(state, terminal, config.normalizer, config.reward_normalizer, joint * action)
        kind, size = (MlpDenoiser, config.mlp) if config.network == "mlp" else (UnetDenoiser, config.unet)
        self.network = kind(horizon, self.step, state, action, size)

    def fit(self, states, steps):
        """The normalisers' statistics, from all the data: states (N, S) and what follows each, (N, D)."""
        self.states.fit(states)
        self.normalizer.fit(self.relative(steps[:, None], states)[:, 0])

    def relative(self, steps, states):
        """Windows (B, H, D) with the change of the state in place of the state, where the model is of changes.

        Arguments:
            states: (B, S), in which the windows start.
        """
        if self.config.target == "state":
            return steps
        before = torch.cat([states[:, None], steps[:, :-1, -states.shape[1] :]], dim=1)
        return torch.cat([steps[..., : -states.shape[1]], steps[..., -states.shape[1] :] - before], dim=-1)

    def absolute(self, steps, states):
        """The inverse of `relative`."""
        if self.config.target == "state":
            return steps
        following = states[:, None] + steps[..., -states.shape[1] :].cumsum(1)
        return torch.cat([steps[..., : -states.shape[1]], following], dim=-1)

    def condition(self, states, actions, returns, returns_known=None) -> Condition:
        """The same in the data's own units."""
        known = torch.ones_like(returns) if returns_known is None else returns_known
        return Condition(self.states(states), actions, returns, known)

    def loss(self, steps, exists, condition: Condition, normal, uniform, noise) -> torch.Tensor:
        """The weighted squared error of the clean estimate, averaged over the steps that exist; () tensor.

        Arguments:
            steps: (B, H, D) relative and normalised; exists: (B, H) bool.
            normal, uniform: (B,) draws that choose the noise levels; noise: (B, H, D) standard normal.
        """
        sigma = self.process.draw(normal, uniform)
        clean = self.process.denoise(self.network, steps + shaped(sigma, steps) * noise, sigma, condition)
        error = (clean - steps).square().mean(-1) * exists
        return (self.process.weight(sigma) * error.sum(1)).sum() / exists.sum()

    @torch.no_grad()
    def imagine(self, states, actions, returns, sampler, generator: torch.Generator) -> Imagined:
        """Windows that start with `actions` (B, A) in `states` (B, S), asked to reach `returns` (B,).

        Arguments:
            sampler: the `sampler` section. Its temperature scales all noise of a stochastic sampler, that which it
                starts from too (Decision Diffuser's low-temperature sampling); the others start from full noise.
        """
        conditions = {True: self.condition(states, actions, returns)}
        conditions[False] = replace(conditions[True], returns_known=torch.zeros_like(returns))
        sigmas = self.process.sigmas(sampler.steps, states.device)
        low, high = self.normalizer.bounds()

        def denoise(x, sigma, with_return):
            clean = self.process.denoise(self.network, x, sigma.expand(len(x)), conditions[with_return])
            return clean.clamp(low, high) if self.process.clips else clean

        def noise():
            shape = (len(states), self.sizes["horizon"], self.step)
            return temperature * torch.randn(shape, generator=generator, device=states.device)

        stochastic = sampler.method == "ancestral" or (sampler.method == "heun" and sampler.churn.amount > 0)
        temperature = sampler.temperature if stochastic else 1.0
        run = partial(SAMPLERS[sampler.method], noise=noise, churn=sampler.churn)
        z = run(guided(denoise, sampler.guidance), sigmas[0] * noise(), sigmas)
        steps = self.absolute(self.normalizer.inverse(z), states)
        rewards, terminals, own, following = steps.split(self.normalizer.split, dim=-1)
        ends = terminals[..., 0] > 0.5 if self.sizes["terminal"] else None
        return Imagined(rewards[..., 0], following, ends, own.clamp(-1, 1) if self.sizes["joint"] else None)


def save(models: list[WorldModel], path: Path | str):
    """Independently trained models of one shape, with what it takes to build them again, in one file."""
    tensors = {
        f"{k}.{name}": value.contiguous()
        for k, model in enumerate(models)
        for name, value in model.state_dict().items()
    }
    built = {**models[0].sizes, "generators": len(models), "config": models[0].config.model_dump()}
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"world_model": json.dumps(built)})


def load(path: Path | str, device: torch.device) -> list[WorldModel]:
    """What `save` wrote."""
    with safe_open(path, "pt", device=str(device)) as file:
        built = json.loads(file.metadata()["world_model"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, the file is no mapping
    models = []
    for k in range(built.pop("generators")):
        model = WorldModel(**{**built, "config": Diffusion(**built["config"])}).to(device).eval()
        model.load_state_dict(
            {name.partition(".")[2]: value for name, value in tensors.items() if name.startswith(f"{k}.")}
        )
        models.append(model)
    return models

"""DAWM's world model: imagines H rewards and next states from (state, action, return-to-go); arXiv 2509.19538.

Differs from the paper in nothing known: its settings are unpublished. `presets/paper.yaml` takes those of DWM (arXiv
2402.03570), whose interface is the same, but for rewards: they pass the states' normaliser, where DWM scales them to
[-1, 1]. The small preset replaces the U-Net by an MLP and DDPM by EDM, which reach a lower error sooner.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stages.common.files import atomic
from stages.common.schema import Diffusion
from stages.diffusion.guidance import guided
from stages.diffusion.mlp import MlpDenoiser
from stages.diffusion.normalizers import NORMALIZERS
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


class WorldModel(nn.Module):
    """A denoiser of windows (B, H, 1 + S), a reward and the state after it at each step."""

    def __init__(self, state: int, action: int, horizon: int, config: Diffusion):
        super().__init__()
        self.sizes = {"state": state, "action": action, "horizon": horizon}
        self.config = config
        self.process = process(config)
        self.normalizer = NORMALIZERS[config.normalizer](1 + state)
        kind, size = (MlpDenoiser, config.mlp) if config.network == "mlp" else (UnetDenoiser, config.unet)
        self.network = kind(horizon, 1 + state, state, action, size)

    def condition(self, states, actions, returns, returns_known=None) -> Condition:
        """The same in the data's own units."""
        rewards = states.new_zeros(len(states), 1)
        states = self.normalizer(torch.cat([rewards, states], dim=1))[:, 1:]
        return Condition(states, actions, returns, torch.ones_like(returns) if returns_known is None else returns_known)

    def loss(self, steps, exists, condition: Condition, normal, uniform, noise) -> torch.Tensor:
        """The weighted squared error of the clean estimate, averaged over the steps that exist; () tensor.

        Arguments:
            steps: (B, H, 1 + S) normalised; exists: (B, H) bool.
            normal, uniform: (B,) draws that choose the noise levels; noise: (B, H, 1 + S) standard normal.
        """
        sigma = self.process.draw(normal, uniform)
        clean = self.process.denoise(self.network, steps + shaped(sigma, steps) * noise, sigma, condition)
        error = (clean - steps).square().mean(-1) * exists
        return (self.process.weight(sigma) * error.sum(1)).sum() / exists.sum()

    @torch.no_grad()
    def imagine(self, states, actions, returns, sampler, generator: torch.Generator):
        """Windows that start with `actions` (B, A) in `states` (B, S), asked to reach `returns` (B,).

        Arguments:
            sampler: the `sampler` section. Its temperature scales the noise that an ancestral sampler starts from and
                adds (Decision Diffuser's low-temperature sampling); the deterministic one starts from full noise.

        Returns:
            rewards (B, H) and next states (B, H, S), in the data's units.
        """
        conditions = {True: self.condition(states, actions, returns)}
        conditions[False] = replace(conditions[True], returns_known=torch.zeros_like(returns))
        sigmas = self.process.sigmas(sampler.steps, states.device)

        def denoise(x, sigma, with_return):
            clean = self.process.denoise(self.network, x, sigma.expand(len(x)), conditions[with_return])
            return clean.clamp(self.normalizer.low, self.normalizer.high) if self.process.clips else clean

        ancestral = sampler.method == "ancestral"
        shape = (len(states), self.sizes["horizon"], 1 + self.sizes["state"])
        noises = torch.randn(1 + ancestral * sampler.steps, *shape, generator=generator, device=states.device)
        if ancestral:
            noises *= sampler.temperature
        x = SAMPLERS[sampler.method](guided(denoise, sampler.guidance), sigmas[0] * noises[0], sigmas, noises[1:])
        steps = self.normalizer.inverse(x)
        return steps[..., 0], steps[..., 1:]


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

"""The section `diffusion` of params.yaml: the world model's network, noise process and training."""

from typing import Literal

from pydantic import model_validator

from stages.common.settings import Positive, Probability, Section, Widths
from stages.diffusion.settings import Ddpm, Edm, Flow, Normalizer, Trained

GROUPS = 8  # groups of channels in the U-Net's normalisation


class Mlp(Section):
    """Size of the residual MLP, `mlp.py`."""

    width: Positive
    blocks: Positive


class Unet(Section):
    """Size of the temporal U-Net, `unet.py`."""

    width: Positive
    multipliers: Widths
    kernel: Positive
    embedding: Positive

    @property
    def widths(self) -> list[int]:
        """The number of channels of each level."""
        return [self.width * multiplier for multiplier in self.multipliers]

    @model_validator(mode="after")
    def fits(self):
        if any(width % GROUPS for width in self.widths):
            raise ValueError(f"width × multipliers = {self.widths} must be multiples of {GROUPS}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel = {self.kernel} must be odd")
        return self


class Diffusion(Trained):
    """The section `diffusion`."""

    network: Literal["mlp", "unet"]
    mlp: Mlp
    unet: Unet
    process: Literal["edm", "ddpm", "flow"]
    edm: Edm
    ddpm: Ddpm
    flow: Flow
    target: Literal["state", "change"]
    normalizer: Normalizer
    reward_normalizer: Normalizer
    null_probability: Probability
    held_out: Probability

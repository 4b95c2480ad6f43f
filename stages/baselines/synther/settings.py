"""Record of the section `synther` of params.yaml."""

from typing import Literal

from stages.common.settings import Fraction, Positive, Section, Shared
from stages.diffusion.settings import Edm, Flow, Trained, UnconditionalSampler


class Denoiser(Trained):
    width: Positive
    blocks: Positive
    embedding: Positive
    process: Literal["edm", "flow"]
    edm: Edm
    flow: Flow


class Settings(Section):
    denoiser: Denoiser
    sampler: UnconditionalSampler
    sample_batch: Positive
    transitions: Shared
    real_fraction: Fraction

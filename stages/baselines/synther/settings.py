"""Record of the section `synther` of params.yaml."""

from stages.common.settings import Fraction, Positive, Section, Shared
from stages.diffusion.settings import Edm, Trained, UnconditionalSampler


class Denoiser(Trained):
    width: Positive
    blocks: Positive
    embedding: Positive
    edm: Edm


class Settings(Section):
    denoiser: Denoiser
    sampler: UnconditionalSampler
    sample_batch: Positive
    transitions: Shared
    real_fraction: Fraction

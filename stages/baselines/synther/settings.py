"""The section `synther` of params.yaml."""

from stages.common.algorithm_settings import Fraction, Positive, Section
from stages.common.world_model_settings import Edm, PlainSampler, Shared, Trained


class Denoiser(Trained):
    width: Positive
    blocks: Positive
    embedding: Positive
    edm: Edm


class Settings(Section):
    denoiser: Denoiser
    sampler: PlainSampler
    sample_batch: Positive
    transitions: Shared
    real_fraction: Fraction

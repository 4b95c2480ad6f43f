"""Settings that all generators share: training, noise process and sampler."""

from typing import Literal

from pydantic import model_validator

from stages.common.settings import NonNegative, Positive, Probability, Rate, Section, Shared

Normalizer = Literal["gaussian", "minmax", "cdf"]


class Trained(Section):
    """How a generator's network is trained."""

    steps: Shared
    batch: Shared
    learning_rate: Rate
    schedule: Literal["constant", "cosine"]
    ema: Probability
    ema_every: Positive
    compile: Literal["auto"] | bool
    precision: Literal["auto", "float32", "bfloat16"]


class Edm(Section):
    """Noise levels of EDM (Karras et al. 2022, arXiv 2206.00364, table 1)."""

    sigma_min: Rate
    sigma_max: Rate
    sigma_data: Rate
    rho: Rate
    log_mean: float
    log_std: Rate

    @model_validator(mode="after")
    def levels_rise(self):
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min = {self.sigma_min:g} must lie below sigma_max = {self.sigma_max:g}")
        return self


class Ddpm(Section):
    """The number of noise levels of a DDPM, and the target of its network."""

    levels: Positive
    prediction: Literal["noise", "clean", "velocity"]


class Flow(Section):
    """Times of flow matching's training: uniform, or with a normal logit of that mean and standard deviation."""

    times: Literal["uniform", "logit-normal"]
    mean: float
    std: Rate


class Churn(Section):
    """The noise that the Heun sampler adds at each step: Karras et al.'s S_churn, S_min, S_max and S_noise."""

    amount: NonNegative
    low: NonNegative
    high: NonNegative
    noise: NonNegative


class UnconditionalSampler(Section):
    """A sampler without guidance."""

    method: Literal["ddim", "ancestral", "heun", "midpoint", "dpm-solver"]
    steps: Positive
    temperature: NonNegative
    churn: Churn


class Sampler(UnconditionalSampler):
    """The section `sampler`: how the world model is sampled."""

    guidance: NonNegative

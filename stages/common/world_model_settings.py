"""What params.yaml says about the world model, the inverse model, and what is made and measured with them."""

from typing import Annotated, Literal

from pydantic import Field

from stages.common.algorithm_settings import Fraction, NotNegative, Positive, Rate, Section, Widths

Count = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Quantile(Section):
    quantile: Fraction


class Mlp(Section):
    width: Positive
    blocks: Positive


class Unet(Section):
    width: Positive
    multipliers: Widths
    kernel: Positive
    embedding: Positive


class Edm(Section):
    sigma_min: Rate
    sigma_max: Rate
    sigma_data: Rate
    rho: Rate
    log_mean: float
    log_std: Rate


class Ddpm(Section):
    levels: Positive
    prediction: Literal["noise", "clean", "velocity"]


Normalizer = Literal["gaussian", "minmax", "cdf"]


class Diffusion(Section):
    network: Literal["mlp", "unet"]
    mlp: Mlp
    unet: Unet
    process: Literal["edm", "ddpm"]
    edm: Edm
    ddpm: Ddpm
    target: Literal["state", "change"]
    normalizer: Normalizer
    reward_normalizer: Normalizer
    steps: Positive
    batch: Positive
    learning_rate: Rate
    schedule: Literal["constant", "cosine"]
    ema: Probability
    ema_every: Positive
    null_probability: Probability
    held_out: Probability
    compile: Literal["auto"] | bool
    precision: Literal["auto", "float32", "bfloat16"]


class Churn(Section):
    amount: NotNegative
    low: NotNegative
    high: NotNegative
    noise: NotNegative


class Sampler(Section):
    method: Literal["ddim", "ancestral", "heun", "dpm-solver"]
    steps: Positive
    guidance: NotNegative
    temperature: NotNegative
    churn: Churn


class Idm(Section):
    head: Literal["mean", "gaussian"]
    hidden: Widths
    steps: Positive
    batch: Positive
    learning_rate: Rate
    held_out: Annotated[float, Field(gt=0, lt=1)]


class Augment(Section):
    transitions: Positive
    batch: Positive
    starts: Literal["uniform", "return-weighted"]
    start_temperature: Rate
    margin: NotNegative
    max_drop: Fraction


class Fidelity(Section):
    transitions: Positive
    neighbours: Annotated[int, Field(ge=2)]
    starts: Positive
    asked: Annotated[list[Fraction], Field(min_length=3)]

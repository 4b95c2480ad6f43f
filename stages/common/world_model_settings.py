"""What params.yaml says about generators: their budget, the world model, the inverse model, and what is made and
measured with them.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from stages.common.algorithm_settings import Fraction, NotNegative, Positive, Rate, Section, Widths

Count = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


def own_or_shared(value):
    if value != "shared" and (type(value) is not int or value < 1):
        raise ValueError("should be a whole number above 0, or shared")
    return value


Shared = Annotated[Any, AfterValidator(own_or_shared)]  # a number, or "shared": what `Budget` says under the same name


class Budget(Section):
    """What every generator may spend, so that they compare; see `shared`."""

    steps: Positive
    batch: Positive
    transitions: Positive


def shared(section: Section, budget: Budget) -> Section:
    """The section and those within it, with the budget's number wherever one says "shared"."""
    own = {key: getattr(budget, key) for key, value in section if value == "shared"}
    inner = {key: shared(value, budget) for key, value in section if isinstance(value, Section)}
    return section.model_copy(update=own | inner)


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


class Diffusion(Trained):
    network: Literal["mlp", "unet"]
    mlp: Mlp
    unet: Unet
    process: Literal["edm", "ddpm"]
    edm: Edm
    ddpm: Ddpm
    target: Literal["state", "change"]
    normalizer: Normalizer
    reward_normalizer: Normalizer
    null_probability: Probability
    held_out: Probability


class Churn(Section):
    amount: NotNegative
    low: NotNegative
    high: NotNegative
    noise: NotNegative


class PlainSampler(Section):
    method: Literal["ddim", "ancestral", "heun", "dpm-solver"]
    steps: Positive
    temperature: NotNegative
    churn: Churn


class Sampler(PlainSampler):
    guidance: NotNegative


class Idm(Section):
    head: Literal["mean", "gaussian"]
    hidden: Widths
    steps: Shared
    batch: Shared
    learning_rate: Rate
    held_out: Annotated[float, Field(gt=0, lt=1)]


class Augment(Section):
    transitions: Shared
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

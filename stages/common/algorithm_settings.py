"""What params.yaml says about the algorithms: a section each, changes of `policy`, exceptions by data set."""

import re
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Widths = Annotated[list[Positive], Field(min_length=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Learning(Section):
    """What all algorithms have, and each may have otherwise."""

    hidden: Widths
    batch: Positive
    learning_rate: Rate
    normalize_states: bool
    reward_scale: Rate | Literal["returns"]
    reward_shift: float
    lambda_return: Fraction


class Policy(Learning):
    steps: Positive
    compile: Literal["auto"] | bool
    max_q: Rate


class Td3bcSettings(Section):
    alpha: Rate
    policy_noise: NotNegative
    noise_clip: NotNegative
    policy_delay: Positive
    tau: Fraction


class IqlSettings(Section):
    expectile: Annotated[float, Field(gt=0, lt=1)]
    beta: NotNegative
    max_weight: Rate
    tau: Fraction
    deterministic_actor: bool


class BcSettings(Section):
    pass


class Bc10Settings(Section):
    fraction: Annotated[float, Field(gt=0, le=1)]


class RebracSettings(Section):
    critic_learning_rate: Rate
    actor_bc: NotNegative
    critic_bc: NotNegative
    policy_noise: NotNegative
    noise_clip: NotNegative
    policy_delay: Positive
    tau: Fraction


def optional(name: str, *records: type[Section]) -> type[Section]:
    """A record with the fields of those, none of which must be there."""
    fields = {key: field for record in records for key, field in record.model_fields.items()}
    return create_model(
        name, __base__=Section, **{key: (field.rebuild_annotation(), None) for key, field in fields.items()}
    )


def section(settings: type[Section]) -> type[Section]:
    """An algorithm's section: its settings, those of `Learning`'s that it has otherwise, its exceptions by data set."""
    name = settings.__name__.removesuffix("Settings")
    changes = optional(f"{name}Changes", settings, Learning)
    return create_model(
        name, __base__=(settings, optional(f"{name}Learning", Learning)), exceptions=(dict[str, changes], ...)
    )


Td3bc, Iql, Bc, Bc10, Rebrac = map(section, (Td3bcSettings, IqlSettings, BcSettings, Bc10Settings, RebracSettings))


def fits(pattern: str, dataset: str) -> bool:
    """Whether an exception's pattern is for that data set; it is written without D4RL's version."""
    return fnmatchcase(re.sub(r"-v\d+$", "", dataset), pattern)


def settings_for(policy: Policy, own: Section, dataset: str) -> SimpleNamespace:
    """All settings of an algorithm on a data set, in one flat record.

    `policy` holds for everyone; what the algorithm's own section says goes before it; and what the exceptions say whose
    pattern fits the data set's name, without D4RL's version, goes before that, the later before the earlier.
    """
    fitting = [changes for pattern, changes in own.exceptions.items() if fits(pattern, dataset)]
    records = [policy.model_dump(), own.model_dump(exclude={"exceptions"}, exclude_unset=True)]
    records += [changes.model_dump(exclude_unset=True) for changes in fitting]
    return SimpleNamespace(**{key: value for record in records for key, value in record.items()})

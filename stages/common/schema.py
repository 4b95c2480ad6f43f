"""What params.yaml may hold, as typed records: every key, its type and its bounds. No key has a default.

A baseline that has settings brings their record along, `Settings` in its folder's `settings.py`; their section has the
baseline's name.
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, create_model, field_validator

from stages.common.algorithm_settings import (
    Bc,
    Bc10,
    Fraction,
    Iql,
    Policy,
    Positive,
    Rebrac,
    Section,
    Td3bc,
)
from stages.common.tasks import EPISODE_LIMIT, check_dataset
from stages.common.world_model_settings import Augment, Budget, Count, Diffusion, Fidelity, Idm, Quantile, Sampler

STAGES = Path(__file__).resolve().parents[1]


class Local(Section):
    transitions: Positive | Literal["d4rl"]


class D4rl(Section):
    directory: Annotated[str, Field(min_length=1)]


class Evaluate(Section):
    every: Positive
    episodes: Positive
    curve_episodes: Count


class Report(Section):
    resamples: Positive
    confidence: Annotated[float, Field(gt=0, lt=1)]


def shelf(folder: str) -> list[str]:
    """The names on a shelf of `stages/`: its Python files, or its folders that hold a dvc.yaml."""
    files = {path.stem for path in (STAGES / folder).glob("[a-z]*.py")}
    return sorted(files | {path.parent.name for path in (STAGES / folder).glob("*/dvc.yaml")})


def one_of(folder: str, *more: str):
    def check(name: str) -> str:
        allowed = [*more, *shelf(folder)]
        if name not in allowed:
            raise ValueError(f"is not known; allowed: {', '.join(allowed)}")
        return name

    return AfterValidator(check)


def distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("names one thing twice")
    return names


Names = Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]


def axis(check: AfterValidator):
    """A list of distinct names, each checked: an axis of the grid."""
    return Annotated[list[Annotated[str, check]], Field(min_length=1), AfterValidator(distinct)]


class Common(Section):
    """params.yaml without the baselines' sections."""

    source: Literal["local", "d4rl", "minari"]
    datasets: Names
    methods: axis(one_of("baselines", "real", "dawm"))
    algorithms: axis(one_of("algorithms"))
    seeds: Positive
    generators: Positive
    horizon: Annotated[int, Field(ge=1, le=EPISODE_LIMIT)]
    target_return: float | Quantile
    real_fraction: Fraction
    discount: Annotated[float, Field(gt=0, lt=1)]
    device: Literal["auto", "cpu", "cuda"]
    threads: Positive
    local: Local
    d4rl: D4rl
    budget: Budget
    diffusion: Diffusion
    sampler: Sampler
    idm: Idm
    augment: Augment
    policy: Policy
    td3bc: Td3bc
    iql: Iql
    bc: Bc
    bc10: Bc10
    rebrac: Rebrac
    evaluate: Evaluate
    fidelity: Fidelity
    report: Report

    @field_validator("datasets")
    @classmethod
    def of_the_source(cls, datasets: list[str], info: ValidationInfo):
        for name in datasets if "source" in info.data else ():  # where the source is wrong, that is what is said
            try:
                check_dataset(name, info.data["source"])
            except ValueError as error:
                raise ValueError(f"{name!r} {error}") from None
        return datasets


def baselines() -> dict[str, tuple]:
    """The baselines' own sections: name → (record, required)."""
    names = sorted(path.parent.name for path in (STAGES / "baselines").glob("*/settings.py"))
    return {name: (import_module(f"stages.baselines.{name}.settings").Settings, ...) for name in names}


Params = create_model("Params", __base__=Common, __doc__="The whole of params.yaml.", **baselines())

"""The whole of params.yaml as one record: root keys and all sections, those of algorithms and baselines included.

The stage `check` validates the baselines' sections too, but does not depend on their `settings.py` in dvc.yaml. So a
changed record of a baseline re-runs that baseline alone, which validates its own section again.
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, create_model, field_validator, model_validator

from stages.check import algorithms, consistency
from stages.common.settings import Budget, Root, distinct
from stages.data.settings import D4rl, Local
from stages.diffusion.settings import Sampler
from stages.evaluate.settings import Evaluate
from stages.fidelity.settings import Fidelity
from stages.idm.settings import Idm
from stages.policy.settings import Policy
from stages.report.settings import Report
from stages.synthetic_data.settings import Augment
from stages.tasks.tasks import EPISODE_LIMIT, check_dataset
from stages.world_model.settings import Diffusion

BASELINES = Path(__file__).resolve().parents[1] / "baselines"


def methods() -> list[str]:
    return ["real", "dawm", *sorted(path.parent.name for path in BASELINES.glob("*/dvc.yaml"))]


def one_of(allowed: list[str]):
    def check(name: str) -> str:
        if name not in allowed:
            raise ValueError(f"is not known; allowed: {', '.join(allowed)}")
        return name

    return AfterValidator(check)


def axis(allowed: list[str]):
    """The type of a list of distinct names, each of them among `allowed`."""
    return Annotated[list[Annotated[str, one_of(allowed)]], Field(min_length=1), AfterValidator(distinct)]


class Common(Root):
    """params.yaml without the sections of algorithms and baselines."""

    methods: axis(methods())
    algorithms: axis(algorithms.names())
    local: Local
    d4rl: D4rl
    budget: Budget
    diffusion: Diffusion
    sampler: Sampler
    idm: Idm
    augment: Augment
    policy: Policy
    evaluate: Evaluate
    fidelity: Fidelity
    report: Report

    @field_validator("datasets")
    @classmethod
    def datasets_of_source(cls, datasets: list[str], info: ValidationInfo):
        for name in datasets if "source" in info.data else ():  # an invalid source is reported separately
            try:
                check_dataset(name, info.data["source"])
            except ValueError as error:
                raise ValueError(f"{name!r} {error}") from None
        return datasets

    @field_validator("horizon")
    @classmethod
    def fits_episode(cls, horizon: int):
        if horizon > EPISODE_LIMIT:
            raise ValueError(f"exceeds the longest episode, {EPISODE_LIMIT} steps")
        return horizon

    @model_validator(mode="after")
    def consistent(self):
        consistency.check(self)
        return self


def sections() -> dict[str, tuple]:
    """Sections of algorithms and baselines: name → (record, ...), where ... marks a required field."""
    records = {name: algorithms.section_record(name) for name in algorithms.names()}
    for path in sorted(BASELINES.glob("*/settings.py")):
        records[path.parent.name] = import_module(f"stages.baselines.{path.parent.name}.settings").Settings
    return {name: (record, ...) for name, record in records.items()}


Params = create_model("Params", __base__=Common, __doc__="The whole of params.yaml.", **sections())

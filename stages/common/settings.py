"""Typed records of params.yaml: the root keys, the shared budget, and field types for the records of sections.

A section's record is in the package that reads it (`stages/<package>/settings.py`), an algorithm's in its own file.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Widths = Annotated[list[Positive], Field(min_length=1)]


class Section(BaseModel):
    """A record without defaults; it rejects unknown keys, NaN, infinity and values of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("contains a name twice")
    return names


Names = Annotated[list[str], Field(min_length=1), AfterValidator(distinct)]


def own_or_shared(value):
    if value != "shared" and (type(value) is not int or value < 1):
        raise ValueError("should be a whole number above 0, or shared")
    return value


Shared = Annotated[Any, AfterValidator(own_or_shared)]  # a number, or "shared": the budget's number


class Quantile(Section):
    """A target return, as a quantile of the data's returns-to-go."""

    quantile: Fraction


class Root(Section):
    """The keys of params.yaml outside any section."""

    source: Literal["local", "d4rl", "minari"]
    datasets: Names
    methods: Names
    algorithms: Names
    seeds: Positive
    generators: Annotated[int, Field(ge=1, le=127)]  # their index is stored as int8
    horizon: Positive
    target_return: float | Quantile
    real_fraction: Fraction
    terminals: Literal["rule", "model"]
    discount: Annotated[float, Field(gt=0, lt=1)]
    device: Literal["auto", "cpu", "cuda"]
    threads: Positive


def root(*names: str) -> dict[str, Any]:
    """The types of these root keys, for a stage's `READS`."""
    return {name: Root.model_fields[name].rebuild_annotation() for name in names}


class Budget(Section):
    """The training and sampling budget of every generator, so that methods compare at equal cost; see `shared`."""

    steps: Positive
    batch: Positive
    transitions: Positive


def budget(*names: str) -> dict[str, Any]:
    """The types of these keys of the budget, for a stage's `READS`."""
    return {f"budget.{name}": Positive for name in names}


def shared(section: Section, budget) -> Section:
    """Replaces "shared" by the budget's number of the same name, in the section and in sections within it.

    Arguments:
        budget: a `Budget`, or the part of it that a stage declares.
    """
    replaced = {key: getattr(budget, key) for key, value in section if value == "shared"}
    inner = {key: shared(value, budget) for key, value in section if isinstance(value, Section)}
    return section.model_copy(update=replaced | inner)

"""Reads params.yaml. The code holds no defaults: every value of a run is in that file.

A stage names the keys that it reads, with their types, and gets no others:

    READS = root("generators", "device") | budget("steps", "batch") | {"idm": Idm, "augment.margin": NonNegative}
    params = load(READS)

`tests/test_declarations.py` compares each stage's READS with its `params:` in dvc.yaml, so no stage can depend on a
key that DVC does not track.
"""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from stages.common.settings import Section, shared

PATH = Path("params.yaml")


class BadParameters(SystemExit):
    """Ends the stage before any work, with one line for each invalid key."""


class UniqueKeys(yaml.SafeLoader):
    """A YAML loader that rejects a key that appears twice in a mapping; PyYAML silently keeps the last."""

    def construct_mapping(self, node, deep=False):
        keys = []  # a list, since YAML's keys may be unhashable; PyYAML then rejects them below
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"{key} appears twice", key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def read(path: Path = PATH) -> dict[str, Any]:
    """Reads the file's content, without checking values.

    Raises:
        BadParameters: if the file is missing, is not valid YAML, holds no keys, or repeats a key.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)
    except FileNotFoundError:
        raise BadParameters(f"{path}: not found; run from the project's root") from None
    except yaml.YAMLError as error:
        raise BadParameters(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise BadParameters(f"{path}: holds no keys")
    return content


def key_of(fault: dict, content) -> str:
    """The key `section.key` of a pydantic error, without the type names that pydantic adds for members of a union."""
    keys = []
    for part in fault["loc"]:
        inside = part in content if isinstance(content, dict) else isinstance(content, list)
        if inside or (fault["type"] == "missing" and part == fault["loc"][-1]):
            keys.append(str(part))
        content = content[part] if inside else content
    return ".".join(keys)


def validate(record: type[BaseModel], content: dict, path: Path = PATH):
    """Converts the content to the record.

    A validator of a whole section, which compares several of its keys, raises a message that begins with a key.

    Raises:
        BadParameters: naming the file, the key, its value and what is allowed.
    """
    try:
        return record.model_validate(content)
    except ValidationError as error:
        lines: dict[str, list[str]] = {}  # each line's beginning → messages
        for fault in error.errors():
            key, message = key_of(fault, content), fault["msg"].removeprefix("Value error, ")
            if fault["type"] == "value_error" and isinstance(fault["input"], dict):
                start = f"{key}." if key else ""
            else:
                start = f"{key}: " if fault["type"] == "missing" else f"{key} = {fault['input']!r:.80}: "
            lines.setdefault(f"{path}: {start}", []).append(message)
        raise BadParameters("\n".join(start + ", or ".join(messages) for start, messages in lines.items())) from None


class Selected(BaseModel):
    """A part of params.yaml; its other keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def record_of(reads: dict[str, Any]) -> type[Selected]:
    """A record type with a field for each key; a `section.key` becomes a field of a nested record."""
    fields = {key: (kind, ...) for key, kind in reads.items() if "." not in key}
    nested: dict[str, dict] = {}
    for key, kind in reads.items():
        if "." in key:
            section, _, inner = key.partition(".")
            nested.setdefault(section, {})[inner] = kind
    fields |= {section: (record_of(inner), ...) for section, inner in nested.items()}
    return create_model("Params", __base__=Selected, **fields)


def fill(record: BaseModel, budget: BaseModel) -> BaseModel:
    """Replaces "shared" by the budget's numbers in every section of the record."""
    filled = {}
    for key, value in record:
        if isinstance(value, Selected):
            filled[key] = fill(value, budget)
        elif isinstance(value, Section):
            filled[key] = shared(value, budget)
    return record.model_copy(update=filled)


def load(reads: dict[str, Any]) -> Selected:
    """Loads and checks the keys of params.yaml in `reads`, and no others.

    If keys of `budget` are among them, their numbers replace "shared" in the sections.

    Arguments:
        reads: `key` or `section.key` → its type.
    """
    params = validate(record_of(reads), read())
    return fill(params, params.budget) if hasattr(params, "budget") else params

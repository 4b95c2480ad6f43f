"""Settings of the algorithms: an algorithm's own section, what it overrides of `policy`, its exceptions by data set."""

import ast
from pathlib import Path

from pydantic import create_model

from stages.common.params import Selected
from stages.common.settings import Section
from stages.policy.settings import Learning, Policy
from stages.tasks.tasks import matches

ALGORITHMS = Path(__file__).resolve().parents[1] / "algorithms"


def names() -> list[str]:
    """Names of all algorithms: one file each."""
    return sorted(path.stem for path in ALGORITHMS.glob("[a-z]*.py"))


def defined(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef)):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def definition(algorithm: str, name: str):
    """What an algorithm's file defines under that name; None if nothing.

    Importing the file would import torch, which takes longer than the whole check. So only the statements that define
    the name, and the names that these use, are executed.
    """
    path = ALGORITHMS / f"{algorithm}.py"
    statements = ast.parse(path.read_text(encoding="utf-8")).body
    names, needed = {name}, set()
    while further := [node for node in statements if node not in needed and defined(node) & names]:
        needed.update(further)
        names |= {node.id for statement in further for node in ast.walk(statement) if isinstance(node, ast.Name)}
    namespace = {"__name__": f"stages.algorithms.{algorithm}"}
    exec(compile(ast.Module([node for node in statements if node in needed], []), str(path), "exec"), namespace)
    return namespace.get(name)


def settings_record(algorithm: str) -> type[Section]:
    """The record `Settings` of an algorithm's file.

    Raises:
        SystemExit: if the file defines no `Settings`.
    """
    record = definition(algorithm, "Settings")
    if record is None:
        path = ALGORITHMS / f"{algorithm}.py"
        raise SystemExit(f"{path}: defines no class Settings, the record of the section {algorithm} of params.yaml")
    return record


def real_only(algorithm: str) -> str | None:
    """Why the algorithm learns from the real data alone, its file's `REAL_ONLY`; None if it takes any data."""
    return definition(algorithm, "REAL_ONLY")


def optional(name: str, *records: type[Section]) -> type[Section]:
    """A record with the fields of all `records`, each of them optional."""
    fields = {key: field for record in records for key, field in record.model_fields.items()}
    return create_model(
        name, __base__=Section, **{key: (field.rebuild_annotation(), None) for key, field in fields.items()}
    )


def section_record(name: str) -> type[Section]:
    """The record of an algorithm's section: its `Settings`, optional fields of `Learning`, exceptions by data set."""
    settings, title = settings_record(name), name.title()
    changes = optional(f"{title}Exception", settings, Learning)
    bases = (settings, optional(f"{title}Learning", Learning))
    return create_model(title, __base__=bases, exceptions=(dict[str, changes], ...))


def resolve(policy: Policy, section: Section, dataset: str) -> dict:
    """All settings of an algorithm on a data set, as a flat dict.

    The algorithm's section overrides `policy`. Exceptions whose pattern matches the data set's name override both; of
    several, the last one wins.
    """
    matching = [changes for pattern, changes in section.exceptions.items() if matches(pattern, dataset)]
    records = [policy.model_dump(), section.model_dump(exclude={"exceptions"}, exclude_unset=True)]
    records += [changes.model_dump(exclude_unset=True) for changes in matching]
    return {key: value for record in records for key, value in record.items()}


def resolved(params: Selected | Section) -> dict[tuple[str, str], dict]:
    """Settings of every (dataset, algorithm) of the grid."""
    return {
        (dataset, algorithm): resolve(params.policy, getattr(params, algorithm), dataset)
        for dataset in params.datasets
        for algorithm in params.algorithms
    }

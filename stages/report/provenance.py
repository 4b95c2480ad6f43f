"""Where each number is from: the stages behind it as dvc.lock records them, and what is known of how they ran here.

The lock files say which stage made a file, from which inputs, with which parameters and code, all by md5. Revision,
package versions and machine are noted when a stage runs (`stages/common/cost.py`), under the md5 of what it made; of a
file that was made elsewhere they are not known.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from stages.common.cost import digest, timing
from stages.report.costs import seconds
from stages.report.scores import AVERAGE, Scores
from stages.report.table import origin
from stages.report.words import label, number, rows, sentence

NOT_SEEN = "not seen here"
CHECKS = "data/checked"  # of every stage's parameters, before all others


@dataclass(frozen=True)
class Stage:
    """One run of a stage: its name for DVC, its outputs' md5 by path, and its entry in the lock file."""

    name: str
    outputs: dict[str, str]
    entry: dict

    @property
    def inputs(self) -> dict[str, str]:
        """path → md5, code included."""
        return {dep["path"]: dep.get("md5", "") for dep in self.entry.get("deps", [])}

    @cached_property
    def record(self) -> dict | None:
        """What was noted when it ran; None where nobody saw."""
        return next(filter(None, map(timing, self.outputs.values())), None)


def locked() -> dict[str, Stage]:
    """path of an output → the stage that made it, of all lock files."""
    found = {}
    for path in (Path("dvc.lock"), *sorted(Path("stages/baselines").glob("*/dvc.lock"))):
        if not path.exists():
            continue
        prefix = "" if path.parent == Path() else f"{path.parent.as_posix()}/dvc.yaml:"
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for name, entry in content["stages"].items():
            outputs = {out["path"]: out.get("md5", "") for out in entry.get("outs", [])}
            found |= dict.fromkeys(outputs, Stage(prefix + name, outputs, entry))
    return found


def lineage(path: str, stages: dict[str, Stage]) -> list[Stage]:
    """The stages behind a file, the first first and its own last; empty where no lock file knows it."""
    found: dict[str, Stage] = {}

    def visit(path: str):
        stage = stages.get(path)
        if stage is None or path == CHECKS or stage.name in found:
            return
        for before in stage.inputs:
            visit(before)
        found[stage.name] = stage

    visit(path)
    return list(found.values())


def anchor(key: str) -> str:
    """Of the page, for a record's key."""
    return "from-" + re.sub(r"[^\w.]+", "-", key)


def stage_line(stage: Stage) -> dict:
    record = stage.record
    return {
        "name": stage.name,
        "outputs": list(stage.outputs.items()),
        "code": [(path, md5) for path, md5 in stage.inputs.items() if path.startswith("stages/")],
        "revision": (record or {}).get("revision") or NOT_SEEN,
        "seconds": seconds(record["seconds"]) if record else NOT_SEEN,
        "parameters": rows(stage.entry.get("params", {}).get("params.yaml", {})),
    }


def ran_on(stages: list[Stage]) -> list[str]:
    """Machines and package versions, each once."""
    told = []
    for stage in stages:
        record = stage.record or {}
        if record:
            packages = ", ".join(f"{name} {version}" for name, version in record.get("packages", {}).items())
            told.append(" · ".join(filter(None, (record["machine"], packages))))
    return list(dict.fromkeys(told)) or [NOT_SEEN]


def record(key: str, title: str, path: str, stages: dict[str, Stage], facts: list[str]) -> dict:
    """Of one file: what the page shows of it."""
    found = lineage(path, stages)
    notes = list(facts)
    if not found:
        notes.append(f"No lock file knows {path}: it was not made by DVC.")
    elif not Path(path).exists():
        notes.append(f"{path} is not here any more; this is of the file that was collected.")
    elif digest(path) != found[-1].outputs[path]:
        notes.append(f"{path} is not the file that dvc.lock records; dvc repro would make it anew.")
    return {
        "key": key,
        "anchor": anchor(key),
        "title": title,
        "notes": notes,
        "stages": [stage_line(stage) for stage in found],
        "ran_on": ran_on(found),
        "parts": [],
        "command": f"dvc repro {found[-1].name}" if found else "dvc repro",
    }


def seeds(cell: dict, values) -> str:
    """Every seed's score, and its generator where there are several."""
    generators = [seed["generator"] for seed in cell["seeds"]]
    several = len(set(generators)) > 1
    told = [
        f"{number(value)}{f' (generator {generator})' if several else ''}"
        for value, generator in zip(values, generators, strict=True)
    ]
    return f"Seeds: {', '.join(told)}."


def records(scores: Scores) -> list[dict]:
    """One for every key that tables lead to: cells, what methods made, data sets, and averages."""
    stages, found = locked(), []
    for dataset, content in scores.collected.items():
        folder = f"results/{dataset}"
        found.append(record(origin(dataset), f"The data of {dataset}", f"{folder}/data.json", stages, []))
        for method in scores.methods:
            title = f"{sentence(label(method))} on {dataset}, fidelity and cost"
            path = f"{folder}/fidelity-{method}.json"
            found.append(record(origin(dataset, method), title, path, stages, []))
        for cell in content["cells"]:
            names = (dataset, cell["method"], cell["algorithm"])
            title = f"{sentence(label(names[1]))} × {label(names[2])} on {dataset}"
            facts = [seeds(cell, scores.runs[names].values)]
            found.append(record(origin(*names), title, f"{folder}/{names[1]}-{names[2]}.json", stages, facts))
    if AVERAGE in scores.datasets:
        keys = [(), *((method, algorithm) for method in scores.methods for algorithm in scores.algorithms)]
        for names in keys:
            shown = " × ".join(map(label, names)) or "The data"
            parts = [(dataset, anchor(origin(dataset, *names))) for dataset in scores.collected]
            key = origin(AVERAGE, *names)
            common = {"key": key, "anchor": anchor(key), "title": f"{sentence(shown)}, average over data sets"}
            blank = {"notes": [], "stages": [], "ran_on": [], "command": ""}
            found.append({**common, **blank, "parts": parts})
    return found

"""Provenance of each number: the stages behind it as dvc.lock records them, and how they ran on this machine.

The lock files record which stage made a file, from which inputs, parameters and code, all by md5. Revision, package
versions and machine are recorded when a stage runs (`stages/common/timing.py`), under the md5 of its output; for a file
made elsewhere they are unknown.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

from stages.common.timing import digest, timing
from stages.report.statistics.scores import AVERAGE, Scores
from stages.report.style.words import label, number, rows, sentence
from stages.report.tables.ablations import FOLDER, Ablation
from stages.report.tables.costs import seconds
from stages.report.tables.table import origin

NOT_RECORDED = "not recorded on this machine"
CHECKS = "data/checked"  # output of the parameter check, which precedes every stage
SETTINGS = "data/settings/"  # of each algorithm on each data set, resolved by the same stage


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
        """What was recorded when the stage ran; None if it was not."""
        return next(filter(None, map(timing, self.outputs.values())), None)


def locked() -> dict[str, Stage]:
    """path of an output → the stage that made it, from all lock files."""
    made_by = {}
    for path in (Path("dvc.lock"), *sorted(Path("stages/baselines").glob("*/dvc.lock"))):
        if not path.exists():
            continue
        prefix = "" if path.parent == Path() else f"{path.parent.as_posix()}/dvc.yaml:"
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for name, entry in content["stages"].items():
            outputs = {out["path"]: out.get("md5", "") for out in entry.get("outs", [])}
            made_by |= dict.fromkeys(outputs, Stage(prefix + name, outputs, entry))
    return made_by


def lineage(path: str, stages: dict[str, Stage]) -> list[Stage]:
    """The stages behind a file, in execution order; empty if no lock file holds it."""
    ordered: dict[str, Stage] = {}

    def visit(path: str):
        stage = stages.get(path)
        if stage is None or path == CHECKS or stage.name in ordered:
            return
        for before in stage.inputs:
            visit(before)
        ordered[stage.name] = stage

    visit(path)
    return list(ordered.values())


def anchor(key: str) -> str:
    """The page's anchor for a record's key."""
    return "from-" + re.sub(r"[^\w.]+", "-", key)


def resolved_settings(stage: Stage) -> dict:
    """The algorithm's settings that a policy was trained with, if they still lie in data/settings; empty otherwise."""
    settings = {}
    for path, md5 in stage.inputs.items():
        if path.startswith(SETTINGS) and Path(path).exists() and digest(path) == md5:
            settings |= {Path(path).stem: json.loads(Path(path).read_text(encoding="utf-8"))}
    return settings


def stage_line(stage: Stage) -> dict:
    record = stage.record
    return {
        "name": stage.name,
        "outputs": list(stage.outputs.items()),
        "code": [(path, md5) for path, md5 in stage.inputs.items() if path.startswith("stages/")],
        "revision": (record or {}).get("revision") or NOT_RECORDED,
        "seconds": seconds(record["seconds"]) if record else NOT_RECORDED,
        "parameters": rows(stage.entry.get("params", {}).get("params.yaml", {}) | resolved_settings(stage)),
    }


def ran_on(stages: list[Stage]) -> list[str]:
    """Machines and package versions, without repeats."""
    lines = []
    for stage in stages:
        record = stage.record or {}
        if record:
            packages = ", ".join(f"{name} {version}" for name, version in record.get("packages", {}).items())
            lines.append(" · ".join(filter(None, (record["machine"], packages))))
    return list(dict.fromkeys(lines)) or [NOT_RECORDED]


def blank(key: str, title: str) -> dict:
    """The page's record of what no single stage made."""
    empty = {"notes": [], "stages": [], "ran_on": [], "parts": [], "command": ""}
    return {"key": key, "anchor": anchor(key), "title": title, **empty}


def record(key: str, title: str, path: str, stages: dict[str, Stage], facts: list[str]) -> dict:
    """The page's record of one file."""
    behind = lineage(path, stages)
    notes = list(facts)
    if not behind:
        notes.append(f"No lock file lists {path}: DVC did not make it.")
    elif not Path(path).exists():
        notes.append(f"{path} no longer exists; this record is of the file that was collected.")
    elif digest(path) != behind[-1].outputs[path]:
        notes.append(f"{path} differs from the file in dvc.lock; dvc repro would make it again.")
    return blank(key, title) | {
        "notes": notes,
        "stages": [stage_line(stage) for stage in behind],
        "ran_on": ran_on(behind),
        "command": f"dvc repro {behind[-1].name}" if behind else "dvc repro",
    }


def seeds(cell: dict, values) -> str:
    """Every seed's score, with its generator if there are several."""
    generators = [seed["generator"] for seed in cell["seeds"]]
    several = len(set(generators)) > 1
    scores = [
        f"{number(value)}{f' (generator {generator})' if several else ''}"
        for value, generator in zip(values, generators, strict=True)
    ]
    return f"Seeds: {', '.join(scores)}."


def ablation_records(ablations: list[Ablation]) -> list[dict]:
    """A record for every ablation: how it was run, and the file with its numbers."""
    entries = []
    for each in ablations:
        path = f"{FOLDER.as_posix()}/{each.name}.csv"
        made = f"{path}, md5 {digest(path)}, written by `python -m ablations {each.param}`."
        entries.append(blank(each.origin, f"Ablation of {each.param}") | {"notes": [*each.about, made]})
    return entries


def records(scores: Scores) -> list[dict]:
    """A record for every key that tables link to: cells, training sets, data sets and averages."""
    stages, entries = locked(), []
    for dataset, content in scores.collected.items():
        folder = f"results/{dataset}"
        entries.append(record(origin(dataset), f"The data of {dataset}", f"{folder}/data.json", stages, []))
        for method in scores.methods:
            title = f"{sentence(label(method))} on {dataset}, fidelity and cost"
            path = f"{folder}/fidelity-{method}.json"
            entries.append(record(origin(dataset, method), title, path, stages, []))
        for cell in content["cells"]:
            names = (dataset, cell["method"], cell["algorithm"])
            title = f"{sentence(label(names[1]))} × {label(names[2])} on {dataset}"
            facts = [seeds(cell, scores.runs[names].values)]
            entries.append(record(origin(*names), title, f"{folder}/{names[1]}-{names[2]}.json", stages, facts))
    if AVERAGE in scores.datasets:
        keys = [(), *((name, algorithm) for name in scores.methods for algorithm in scores.algorithms_with(name))]
        for names in keys:
            shown = " × ".join(map(label, names)) or "The data"
            parts = [(dataset, anchor(origin(dataset, *names))) for dataset in scores.collected]
            key = origin(AVERAGE, *names)
            entries.append(blank(key, f"{sentence(shown)}, average over data sets") | {"parts": parts})
    return entries

"""What each method took to make: training, sampling, network evaluations and parameters, as one table.

The seconds are not of the pipeline's results, which have equal bytes for equal inputs; they are looked up beside it.
"""

from stages.common.cost import timing
from stages.report.scores import Scores
from stages.report.words import label, listed, sentence

COLUMNS = {  # heading: what it means
    "training, s": "seconds that its networks took to train, of all generators",
    "sampling, s": "seconds that its transitions took to make",
    "evaluations": "network evaluations for one transition, on average; a sample of a batch counts once",
    "parameters": "of one generator's networks",
    "transitions": "that were made, of all generators",
}


def seconds(found: list[dict | None]) -> str:
    """The sum of the timings; unknown where one is."""
    if None in found:
        return "–"
    total = sum(timing["seconds"] for timing in found)
    return f"{total:,.0f}" if total >= 10 or not found else f"{total:.1f}"


def timings(cost: dict) -> tuple[list, list]:
    """Those of the trainings, and of the sampling."""
    made = [cost["sampled"], *filter(None, [cost["source"]])]
    return [timing(digest) for digest in cost["trained"]], [timing(digest) for digest in made]


def cells(cost: dict) -> list[str]:
    """Texts in the order of `COLUMNS`."""
    training, sampling = timings(cost)
    counted = [f"{cost['evaluations']:.3g}", f"{cost['parameters']:,}", f"{cost['transitions']:,}"]
    return [seconds(training), seconds(sampling), *counted]


def costs(scores: Scores) -> dict[str, dict[str, dict]]:
    """dataset → method → its record, for methods that make anything."""
    return {
        dataset: {
            method: record["cost"] for method in scores.methods if (record := content["fidelity"][method])["cost"]
        }
        for dataset, content in scores.collected.items()
    }


def groups(scores: Scores) -> list[dict]:
    """[{dataset, rows: [{method, cells}]}]; empty where nothing was made."""
    return [
        {
            "dataset": dataset,
            "rows": [{"method": sentence(label(method)), "cells": cells(cost)} for method, cost in records.items()],
        }
        for dataset, records in costs(scores).items()
        if records
    ]


def notes(scores: Scores) -> list[str]:
    """What the columns mean, and whose seconds these are."""
    records = [cost for methods in costs(scores).values() for cost in methods.values()]
    found = [timing for cost in records for part in timings(cost) for timing in part]
    machines = sorted({timing["machine"] for timing in found if timing})
    said = [f"{heading}: {meaning}." for heading, meaning in COLUMNS.items()]
    if machines:
        said.append(
            f"Measured on {listed(machines)}, when each stage last ran there, whatever else did; of a stage that went"
            " on from a checkpoint, its last part."
        )
    if None in found:
        said.append("–: not seen on this machine.")
    return said


def markdown(scores: Scores) -> str:
    lines = [f"| data set | method | {' | '.join(COLUMNS)} |", f"|:--|:--|{'--:|' * len(COLUMNS)}"]
    for group in groups(scores):
        lines += [f"| {group['dataset']} | {row['method']} | {' | '.join(row['cells'])} |" for row in group["rows"]]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(scores))]) + "\n"

"""What each method took to make: training, sampling, network evaluations and parameters, as one table.

The seconds are not of the pipeline's results, which have equal bytes for equal inputs; they are looked up beside it.
"""

import pandas as pd

from stages.common.cost import timing
from stages.report.scores import Scores
from stages.report.table import Cell, Group, Row, Table, origin
from stages.report.words import label, listed, sentence

COLUMNS = {  # heading: what it means
    "training, s": "seconds that its networks took to train, of all generators",
    "sampling, s": "seconds that its transitions took to make",
    "evaluations": "network evaluations for one transition, on average; a sample of a batch counts once",
    "parameters": "of one generator's networks",
    "transitions": "that were made, of all generators",
}


def seconds(value: float | None) -> str:
    """Unknown where one of the timings is."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


FORMS = (seconds, seconds, "{:.3g}".format, "{:,}".format, "{:,}".format)


def timings(cost: dict) -> tuple[list, list]:
    """Those of the trainings, and of the sampling."""
    made = [cost["sampled"], *filter(None, [cost["source"]])]
    return [timing(digest) for digest in cost["trained"]], [timing(digest) for digest in made]


def seconds_of(cost: dict) -> tuple[float | None, float | None]:
    """Of the trainings, and of the sampling; None where one was not seen."""
    return tuple(None if None in found else sum(each["seconds"] for each in found) for found in timings(cost))


def row(cost: dict) -> dict[str, float | None]:
    """Numbers in the order of `COLUMNS`."""
    return dict(
        zip(COLUMNS, (*seconds_of(cost), cost["evaluations"], cost["parameters"], cost["transitions"]), strict=True)
    )


def costs(scores: Scores) -> dict[str, dict[str, dict]]:
    """dataset → method → its record, for methods that make anything."""
    return {
        dataset: {
            method: record["cost"] for method in scores.methods if (record := content["fidelity"][method])["cost"]
        }
        for dataset, content in scores.collected.items()
    }


def making(scores: Scores) -> dict[str, float]:
    """Method → seconds that its transitions took, training included, on all data sets; without those not seen here."""
    found: dict[str, list] = {}
    for records in costs(scores).values():
        for method, cost in records.items():
            found.setdefault(method, []).extend(seconds_of(cost))
    return {method: sum(took) for method, took in found.items() if None not in took and sum(took) > 0}


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


def table(scores: Scores) -> Table | None:
    """None where nothing was made."""
    found = {dataset: records for dataset, records in costs(scores).items() if records}
    if not found:
        return None
    groups, lines = [], []
    for dataset, records in found.items():
        rows = []
        for method, cost in records.items():
            numbers, where = row(cost), origin(dataset, method)
            lines.append({"dataset": dataset, "method": method, **numbers})
            cells = [Cell(form(value), origin=where) for form, value in zip(FORMS, numbers.values(), strict=True)]
            rows.append(Row(sentence(label(method)), cells, method))
        groups.append(Group(dataset, rows, dataset))
    return Table("costs", "Cost", list(COLUMNS), groups, notes(scores), pd.DataFrame(lines))

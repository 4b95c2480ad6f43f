"""The cost table: training and sampling time, network evaluations and parameters of each method's data.

The pipeline's results have equal bytes for equal inputs, so they hold no seconds; those are read from the timings that
the stages leave beside them (`stages/common/timing.py`).
"""

import pandas as pd

from stages.common.timing import timing
from stages.report.statistics.scores import Scores
from stages.report.style.words import label, listed, sentence
from stages.report.tables.table import Cell, Group, Row, Table, origin

COLUMNS = {  # heading → its meaning
    "training, s": "seconds spent on training the networks of all generators",
    "sampling, s": "seconds spent on sampling the transitions",
    "evaluations": "average network evaluations per transition; each row of a batch counts as one",
    "parameters": "number of weights in one generator's networks",
    "transitions": "number of synthetic transitions, of all generators",
}


def seconds(value: float | None) -> str:
    """Seconds as text, a dash if they are not known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


FORMS = (seconds, seconds, "{:.3g}".format, "{:,}".format, "{:,}".format)


def timings(cost: dict) -> tuple[list, list]:
    """Timing records of the trainings, and those of the sampling; None in place of each that was not recorded."""
    sampled = [cost["sampled"], *filter(None, [cost["source"]])]
    return [timing(digest) for digest in cost["trained"]], [timing(digest) for digest in sampled]


def seconds_of(cost: dict) -> tuple[float | None, float | None]:
    """Seconds of the trainings, and of the sampling; None if one of them was not recorded."""
    return tuple(None if None in records else sum(each["seconds"] for each in records) for records in timings(cost))


def row(cost: dict) -> dict[str, float | None]:
    """heading → number, in the order of `COLUMNS`."""
    return dict(
        zip(COLUMNS, (*seconds_of(cost), cost["evaluations"], cost["parameters"], cost["transitions"]), strict=True)
    )


def costs(scores: Scores) -> dict[str, dict[str, dict]]:
    """dataset → method → its cost record, for methods with synthetic data."""
    return {
        dataset: {method: record["cost"] for method, record in content["fidelity"].items() if record["cost"]}
        for dataset, content in scores.collected.items()
    }


def making(scores: Scores) -> dict[str, float]:
    """Method → seconds of training and sampling on all data sets, for methods whose times were all recorded."""
    spent: dict[str, list] = {}
    for records in costs(scores).values():
        for method, cost in records.items():
            spent.setdefault(method, []).extend(seconds_of(cost))
    return {method: sum(times) for method, times in spent.items() if None not in times and sum(times) > 0}


def notes(scores: Scores) -> list[str]:
    """The meaning of the columns, and the machines that the seconds were measured on."""
    records = [cost for methods in costs(scores).values() for cost in methods.values()]
    times = [record for cost in records for part in timings(cost) for record in part]
    return [*(f"{heading}: {meaning}." for heading, meaning in COLUMNS.items()), *measured(times)]


def measured(records: list[dict | None]) -> list[str]:
    """The machines of timing records, and what a missing one is shown as."""
    machines, sentences = sorted({record["machine"] for record in records if record}), []
    if machines:
        sentences.append(
            f"Measured on {listed(machines)}, in the last run of each stage there; other work may have run at"
            " the same time, and a stage that resumed from a checkpoint counts only its last part."
        )
    if None in records:
        sentences.append("–: not recorded on this machine.")
    return sentences


def table(scores: Scores) -> Table | None:
    """A row for each method with synthetic data; None if no method has any."""
    all_costs = {dataset: records for dataset, records in costs(scores).items() if records}
    if not all_costs:
        return None
    groups, lines = [], []
    for dataset, records in all_costs.items():
        rows = []
        for method, cost in records.items():
            numbers, key = row(cost), origin(dataset, method)
            lines.append({"dataset": dataset, "method": method, **numbers})
            cells = [Cell(form(value), origin=key) for form, value in zip(FORMS, numbers.values(), strict=True)]
            rows.append(Row(sentence(label(method)), cells, method))
        groups.append(Group(dataset, rows, dataset))
    return Table("costs", "Cost", list(COLUMNS), groups, notes(scores), pd.DataFrame(lines))

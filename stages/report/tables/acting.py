"""The table of what acting costs: network passes for one action, and seconds for one episode.

Passes are in the results. Seconds are not, since results have equal bytes for equal inputs; they are read from the
timings of the evaluation, under the md5 of its result file (`stages/common/timing.py`).
"""

import pandas as pd

from stages.common.timing import timing
from stages.report.statistics.scores import Scores
from stages.report.style.words import label, sentence
from stages.report.tables.costs import measured
from stages.report.tables.notes import absent
from stages.report.tables.table import NOT_APPLICABLE, Cell, Group, Row, Table, origin

PASSES = "network passes for one action"


def played(cell: dict) -> int:
    """Number of episodes that a cell's evaluation played, those of the learning curve included."""
    last = [seed["scores"] for seed in cell["seeds"]]
    return sum(len(scores) for point in (last, *(point["scores"] for point in cell["curve"])) for scores in point)


def for_one(cell: dict) -> float | None:
    """Seconds for one episode; None if the evaluation was not timed on this machine."""
    record = timing(cell["md5"])
    return record and record["seconds"] / played(cell)


def seconds(value: float | None) -> str:
    """Seconds with two digits, a dash if they are not known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def table(scores: Scores) -> Table:
    """For each data set a row of passes and a row of seconds for each method, with a column for each algorithm."""
    groups, lines, records = [], [], []
    for dataset, content in scores.collected.items():
        cells = {(cell["method"], cell["algorithm"]): cell for cell in content["cells"]}
        passes = {algorithm: f"{cell['passes']:.4g}" for (_, algorithm), cell in cells.items()}
        first = [Cell(passes[name]) if name in passes else NOT_APPLICABLE for name in scores.algorithms]
        rows = [Row(sentence(PASSES), first)]
        for method in scores.methods:
            texts = {name: Cell(scores.shown(dataset, method, name)) for name in scores.algorithms}
            for algorithm in scores.algorithms_with(method, dataset=dataset):
                cell = cells[method, algorithm]
                took = for_one(cell)
                texts[algorithm] = Cell(seconds(took), origin=origin(dataset, method, algorithm))
                names = {"dataset": dataset, "method": method, "algorithm": algorithm}
                lines.append({**names, "passes": cell["passes"], "seconds_for_one_episode": took})
                records.append(timing(cell["md5"]))
            rows.append(Row(sentence(label(method)), list(texts.values()), method))
        groups.append(Group(dataset, rows, dataset))
    notes = [
        f"{sentence(PASSES)}: those of critics that choose it count too, twin critics as one.",
        "Rows of methods: seconds for one episode, the time of the evaluation divided by all episodes that it played."
        " Episodes are played side by side, so this is the amortised time on that machine, with the simulator.",
        *measured(records),
        *absent(scores),
    ]
    columns, frame = list(map(label, scores.algorithms)), pd.DataFrame(lines)
    return Table("acting", "Cost of acting", columns, groups, notes, frame, algorithms=scores.algorithms)

"""The tables of scores and of differences from real data."""

import pandas as pd

from stages.report.statistics.bootstrap import Estimate, difference
from stages.report.statistics.scores import AVERAGE, Scores
from stages.report.style.words import BEHAVIOUR, bracket, label, number, percent, sentence, spread
from stages.report.tables.notes import absent, notes, points, verdict
from stages.report.tables.table import Cell, Group, Row, Table, origin, tone


def heading(dataset: str) -> str:
    return sentence(dataset) if dataset == AVERAGE else dataset


def best(scores: Scores, dataset: str, algorithm: str) -> Estimate | None:
    """The cell with the largest mean; None with a single method."""
    column = [scores.cells[dataset, method, algorithm] for method in scores.methods_with(algorithm, dataset)]
    return max(column, key=lambda cell: cell.mean) if len(column) > 1 else None


def mark(scores: Scores, dataset: str, method: str, algorithm: str) -> str:
    """`best` if the cell is the best of its column as printed, `tied` if their difference may be 0, else empty."""
    cell, top = scores.cells[dataset, method, algorithm], best(scores, dataset, algorithm)
    if top is None:
        return ""
    if round(cell.mean, 1) == round(top.mean, 1):
        return "best"
    return "tied" if difference(top, cell, scores.confidence).excludes_zero is False else ""


def score_table(scores: Scores) -> Table:
    """A group of rows for each data set, a column for each algorithm."""
    groups, lines = [], []
    for dataset in scores.datasets:
        rows = []
        for method in scores.methods:
            cells = []
            for algorithm in scores.algorithms:
                if (dataset, method, algorithm) not in scores.cells:
                    cells.append(Cell(scores.shown(dataset, method, algorithm)))
                    continue
                cell, kind = scores.cells[dataset, method, algorithm], mark(scores, dataset, method, algorithm)
                key = origin(dataset, method, algorithm)
                cells.append(Cell(number(cell.mean), spread(cell), bracket(cell), kind, origin=key))
                numbers = {"mean": cell.mean, "std": cell.std, "low": cell.low, "high": cell.high}
                names = {"dataset": dataset, "method": method, "algorithm": algorithm}
                lines.append({**names, **numbers, "seeds": len(cell.values), "mark": kind})
            rows.append(Row(sentence(label(method)), cells, method))
        behaviour = Cell(number(scores.behaviour[dataset]), origin=origin(dataset))
        rows.append(Row(sentence(BEHAVIOUR), [behaviour] * len(scores.algorithms)))
        groups.append(Group(heading(dataset), rows, dataset))
    marks = []
    if len(scores.methods) > 1:
        marks = [
            "Bold: best of the column. Italic or underlined: the interval of the difference from the best includes 0."
        ]
    columns = list(map(label, scores.algorithms))
    return Table(
        "scores", "Scores", columns, groups, [*notes(scores), *marks], pd.DataFrame(lines), algorithms=scores.algorithms
    )


def gain_cell(scores: Scores, *names: str) -> Cell:
    """The cell of a difference from real data; `names` are data set, method and algorithm."""
    gain = scores.differences.get(names)
    if gain is None:
        dataset, method, algorithm = names
        return Cell(scores.shown(dataset, "real" if names in scores.cells else method, algorithm))
    under = " ".join(filter(None, (bracket(gain), verdict(gain))))
    return Cell(number(gain.mean, sign=True), under=under, tone=tone(gain.low, gain.high, 0), origin=origin(*names))


def difference_table(scores: Scores) -> Table | None:
    """Each method minus real data with the same algorithm; None if the grid has nothing to compare."""
    if not scores.differences:
        return None
    groups = []
    for dataset in scores.datasets:
        rows = [
            Row(
                sentence(label(method)),
                [gain_cell(scores, dataset, method, algorithm) for algorithm in scores.algorithms],
                method,
            )
            for method in scores.methods
            if method != "real"
        ]
        groups.append(Group(heading(dataset), rows, dataset))
    shown = [f"{sentence(points(scores))}, method minus real data with the same algorithm."]
    if any(gain.low is not None for gain in scores.differences.values()):
        share = percent(round(1 - scores.confidence, 4))
        shown.append(
            f"Brackets: {percent(scores.confidence)} interval of the difference, both sides resampled independently."
            f" Without any true difference, about {share} of the intervals would exclude 0 by chance."
        )
    shown += absent(scores)
    frame = pd.DataFrame(
        [
            {"dataset": dataset, "method": method, "algorithm": algorithm, "difference": gain.mean, "low": gain.low}
            | {"high": gain.high}
            for (dataset, method, algorithm), gain in scores.differences.items()
        ]
    )
    columns = list(map(label, scores.algorithms))
    title = "Difference from real data alone"
    return Table("differences", title, columns, groups, shown, frame, algorithms=scores.algorithms)

"""The tables of scores and of differences to real data."""

import pandas as pd

from stages.report.notes import notes, points, verdict
from stages.report.scores import AVERAGE, Scores
from stages.report.statistics import Estimate, difference
from stages.report.table import Cell, Group, Row, Table, origin, tone
from stages.report.words import BEHAVIOUR, bracket, label, number, percent, sentence, spread


def heading(dataset: str) -> str:
    return sentence(dataset) if dataset == AVERAGE else dataset


def best(scores: Scores, dataset: str, algorithm: str) -> Estimate | None:
    """The cell with the largest mean; None where there is nothing to compare."""
    column = [scores.cells[dataset, method, algorithm] for method in scores.methods]
    return max(column, key=lambda cell: cell.mean) if len(column) > 1 else None


def mark(scores: Scores, dataset: str, method: str, algorithm: str) -> str:
    """Whether a cell is the best of its column as it is printed, or tied with it: their difference may be none."""
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
                found, kind = scores.cells[dataset, method, algorithm], mark(scores, dataset, method, algorithm)
                where = origin(dataset, method, algorithm)
                cells.append(Cell(number(found.mean), spread(found), bracket(found), kind, origin=where))
                numbers = {"mean": found.mean, "std": found.std, "low": found.low, "high": found.high}
                names = {"dataset": dataset, "method": method, "algorithm": algorithm}
                lines.append({**names, **numbers, "seeds": len(found.values), "mark": kind})
            rows.append(Row(sentence(label(method)), cells, method))
        behaviour = Cell(number(scores.behaviour[dataset]), origin=origin(dataset))
        rows.append(Row(sentence(BEHAVIOUR), [behaviour] * len(scores.algorithms)))
        groups.append(Group(heading(dataset), rows, dataset))
    marks = []
    if len(scores.methods) > 1:
        marks = [
            "Bold: the best of a column. Slanted or underlined: the interval of its difference to the best includes 0."
        ]
    shown = [*notes(scores), *marks]
    columns = list(map(label, scores.algorithms))
    return Table("scores", "Scores", columns, groups, shown, pd.DataFrame(lines), algorithms=scores.algorithms)


def gain_cell(gain: Estimate, where: str = "") -> Cell:
    under = " ".join(filter(None, (bracket(gain), verdict(gain))))
    return Cell(number(gain.mean, sign=True), under=under, tone=tone(gain.low, gain.high, 0), origin=where)


def difference_table(scores: Scores) -> Table | None:
    """Each method minus real data with the same algorithm; None where the grid has nothing to compare."""
    if not scores.differences:
        return None
    groups = []
    for dataset in scores.datasets:
        rows = [
            Row(
                sentence(label(method)),
                [
                    gain_cell(scores.differences[dataset, method, algorithm], origin(dataset, method, algorithm))
                    for algorithm in scores.algorithms
                ],
                method,
            )
            for method in scores.methods
            if method != "real"
        ]
        groups.append(Group(heading(dataset), rows, dataset))
    shown = [f"{sentence(points(scores))}, method minus real data with the same algorithm."]
    if any(gain.low is not None for gain in scores.differences.values()):
        of = f"{percent(scores.confidence)} interval of the difference"
        chance = f"by chance alone about {percent(round(1 - scores.confidence, 4))} of them would"
        shown.append(
            f"Brackets: {of}, both sides resampled independently. Where many are looked at, {chance} exclude 0."
        )
    frame = pd.DataFrame(
        [
            {"dataset": dataset, "method": method, "algorithm": algorithm, "difference": gain.mean, "low": gain.low}
            | {"high": gain.high}
            for (dataset, method, algorithm), gain in scores.differences.items()
        ]
    )
    columns = list(map(label, scores.algorithms))
    title = "Difference to real data alone"
    return Table("differences", title, columns, groups, shown, frame, algorithms=scores.algorithms)

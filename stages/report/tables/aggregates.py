"""The tables over all data sets: aggregate metrics of Agarwal et al., and probabilities of improvement."""

import numpy as np
import pandas as pd

from stages.report.statistics.aggregates import EXPERT, METRICS, aggregate, improvement, profile
from stages.report.statistics.scores import Scores
from stages.report.style.words import bracket, label, number, percent, plural, sentence, share
from stages.report.tables.headline import subject
from stages.report.tables.notes import absent
from stages.report.tables.table import Cell, Group, Row, Table, origin, tone

NO_INTERVAL = "no interval"
THRESHOLDS = 101  # number of thresholds in a performance profile


def aggregates(scores: Scores) -> pd.DataFrame:
    """A row for each algorithm, method and metric: point, low, high; empty if data sets have no common scale."""
    if scores.raw:
        return pd.DataFrame()
    return pd.DataFrame(
        [
            {"algorithm": algorithm, "method": method, "metric": name}
            | vars(aggregate(metric, [scores.runs[d, method, algorithm] for d in scores.collected], scores.confidence))
            for algorithm in scores.algorithms
            for method in scores.methods_with(algorithm)
            for name, metric in METRICS.items()
        ]
    )


def aggregate_cell(row, form, key: str, even: float | None = None) -> Cell:
    """The cell of a row with `point`, `low` and `high`.

    Arguments:
        form: writes a number.
        key: the cell's `origin`.
        even: the value of no difference, if the cell is to be coloured.
    """
    interval = bracket(row, form)
    colour = tone(row.low, row.high, even) if interval and even is not None else ""
    return Cell(form(row.point), under=interval or NO_INTERVAL, tone=colour, origin=key)


def unknown(groups: list[Group]) -> list[str]:
    """A note if a cell has no interval."""
    cells = [cell for group in groups for row in group.rows for cell in row.cells]
    return ["No interval: too few seeds or generators."] if any(cell.under == NO_INTERVAL for cell in cells) else []


def aggregate_table(scores: Scores, frame: pd.DataFrame) -> Table | None:
    """A group of rows for each algorithm, a column for each metric; `frame` comes from `aggregates`."""
    if frame.empty:
        return None
    groups = []
    for algorithm in scores.algorithms:
        rows = []
        for method in scores.methods:
            part = frame[(frame["algorithm"] == algorithm) & (frame["method"] == method)]
            key = origin(scores.headline, method, algorithm)
            cells = [aggregate_cell(metric, number, key) for metric in part.itertuples()]
            missing = [Cell(scores.shown(scores.headline, method, algorithm))] * len(METRICS)
            rows.append(Row(sentence(label(method)), cells or missing, method))
        groups.append(Group(label(algorithm), rows, algorithm=algorithm))
    shown = [
        f"Over {plural(len(scores.collected), 'data set')}, as defined by Agarwal et al. 2021. IQM: mean of the"
        " middle half of all runs. Median, mean: of the data sets' means. Optimality gap: average shortfall"
        f" of the runs from {EXPERT:g}; less is better.",
        f"Brackets: {percent(scores.confidence)} interval, stratified bootstrap over seeds.",
        *unknown(groups),
        *absent(scores),
    ]
    return Table("aggregates", "Aggregates", list(METRICS), groups, shown, frame, over="algorithm")


def improvements(scores: Scores) -> pd.DataFrame:
    """A row for each algorithm and ordered pair of methods: the probability that the first improves on the second."""
    rows = []
    for algorithm in scores.algorithms:
        methods = scores.methods_with(algorithm)
        runs = {name: [scores.runs[d, name, algorithm] for d in scores.collected] for name in methods}
        for first in methods:
            for second in methods:
                if first != second:
                    names = {"algorithm": algorithm, "method": first, "over": second}
                    rows.append(names | vars(improvement(runs[first], runs[second], scores.confidence)))
    return pd.DataFrame(rows)


def without(scores: Scores, algorithm: str, *methods: str) -> tuple[str, str]:
    """The first of the methods without scores with the algorithm, and the algorithm."""
    return next(method for method in methods if method not in scores.methods_with(algorithm)), algorithm


def improvement_table(scores: Scores, frame: pd.DataFrame) -> Table | None:
    """The headline's method compared with each other method; `frame` comes from `improvements`."""
    method = subject(scores)
    if method is None or frame.empty:
        return None
    rows = []
    for other in scores.methods:
        part = frame[(frame["method"] == method) & (frame["over"] == other)]
        found = {row.algorithm: row for row in part.itertuples()}
        if not found:
            continue
        cells = [
            aggregate_cell(found[algorithm], share, origin(scores.headline, other, algorithm), 0.5)
            if algorithm in found
            else Cell(scores.shown(scores.headline, *without(scores, algorithm, method, other)))
            for algorithm in scores.algorithms
        ]
        rows.append(Row(sentence(label(other)), cells, other))
    shown = [
        f"Probability that a run of {label(method)} scores above a run of the row's method on the same data set, ties"
        f" counted as half, averaged over {plural(len(scores.collected), 'data set')} (Agarwal et al. 2021)."
        " 0.5 means no difference.",
        "If all seeds of one method score above all seeds of the other, so do all resamples, and the interval"
        " understates the uncertainty.",
        *unknown([Group("", rows)]),
        *absent(scores),
    ]
    title = f"Probability that {label(method)} improves on each method"
    columns = list(map(label, scores.algorithms))
    return Table("improvement", title, columns, [Group("", rows)], shown, frame, "over", algorithms=scores.algorithms)


def profiles(scores: Scores) -> pd.DataFrame:
    """A row for each algorithm, method and threshold: share of runs above it, low, high.

    Empty if data sets have no common scale.
    """
    if scores.raw:
        return pd.DataFrame()
    values = np.concatenate([run.values for run in scores.runs.values()])
    thresholds = np.linspace(np.floor(min(values.min(), 0)), np.ceil(values.max()), THRESHOLDS)
    parts = []
    for algorithm in scores.algorithms:
        for method in scores.methods_with(algorithm):
            runs = [scores.runs[dataset, method, algorithm] for dataset in scores.collected]
            point, low, high = profile(runs, thresholds, scores.confidence)
            shares = {"threshold": thresholds, "share": point, "low": low, "high": high}
            parts.append(pd.DataFrame({"algorithm": algorithm, "method": method, **shares}))
    return pd.concat(parts, ignore_index=True).astype({"low": float, "high": float})

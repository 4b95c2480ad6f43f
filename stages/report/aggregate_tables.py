"""The tables over all data sets: Agarwal et al.'s aggregates, and probabilities of improvement."""

import numpy as np
import pandas as pd

from stages.report.aggregates import EXPERT, METRICS, aggregate, improvement, profile
from stages.report.notes import TOO_FEW, subject
from stages.report.scores import Scores
from stages.report.table import Cell, Group, Row, Table, origin, tone
from stages.report.words import bracket, label, number, percent, plural, sentence, share

THRESHOLDS = 101  # of the performance profiles


def aggregates(scores: Scores) -> pd.DataFrame:
    """A row for each algorithm, method and metric: point, low, high; empty where data sets have no common scale."""
    if scores.raw:
        return pd.DataFrame()
    return pd.DataFrame(
        [
            {"algorithm": algorithm, "method": method, "metric": name}
            | vars(aggregate(metric, [scores.runs[d, method, algorithm] for d in scores.collected], scores.confidence))
            for algorithm in scores.algorithms
            for method in scores.methods
            for name, metric in METRICS.items()
        ]
    )


def aggregate_cell(found, form, where: str, even: float | None = None) -> Cell:
    """Of a point with or without an interval; `form` writes a number."""
    interval = bracket(found, form)
    colour = tone(found.low, found.high, even) if interval and even is not None else ""
    return Cell(form(found.point), under=interval or TOO_FEW, tone=colour, origin=where)


def aggregate_table(scores: Scores, frame: pd.DataFrame) -> Table | None:
    """A group of rows for each algorithm, a column for each metric; `frame` is of `aggregates`."""
    if frame.empty:
        return None
    groups = []
    for algorithm in scores.algorithms:
        rows = []
        for method in scores.methods:
            part = frame[(frame["algorithm"] == algorithm) & (frame["method"] == method)]
            where = origin(scores.headline, method, algorithm)
            rows.append(
                Row(
                    sentence(label(method)),
                    [aggregate_cell(found, number, where) for found in part.itertuples()],
                    method,
                )
            )
        groups.append(Group(label(algorithm), rows, algorithm=algorithm))
    shown = [
        f"Over {plural(len(scores.collected), 'data set')}, as Agarwal et al. 2021 define them. IQM: mean of the middle"
        " half of all runs. Median, mean: of the data sets' means. Optimality gap: by how much runs fall short of"
        f" {EXPERT:g} on average; less is better.",
        f"Brackets: {percent(scores.confidence)} interval, stratified bootstrap over seeds.",
    ]
    return Table("aggregates", "Aggregates", list(METRICS), groups, shown, frame, over="algorithm")


def improvements(scores: Scores) -> pd.DataFrame:
    """A row for each algorithm and ordered pair of methods: the probability that the first improves on the second."""
    found = []
    for algorithm in scores.algorithms:
        runs = {name: [scores.runs[d, name, algorithm] for d in scores.collected] for name in scores.methods}
        for first in scores.methods:
            for second in scores.methods:
                if first != second:
                    names = {"algorithm": algorithm, "method": first, "over": second}
                    found.append(names | vars(improvement(runs[first], runs[second], scores.confidence)))
    return pd.DataFrame(found)


def improvement_table(scores: Scores, frame: pd.DataFrame) -> Table | None:
    """The headline's method over each other; `frame` is of `improvements`."""
    method = subject(scores)
    if method is None or frame.empty:
        return None
    rows = []
    for other in scores.methods:
        part = frame[(frame["method"] == method) & (frame["over"] == other)]
        where = origin(scores.headline, other, "")
        cells = [aggregate_cell(found, share, where + found.algorithm, 0.5) for found in part.itertuples()]
        rows += [Row(sentence(label(other)), cells, other)] if cells else []
    shown = [
        f"Probability that a run of {label(method)} scores above a run of the row's method on the same data set, a tie"
        f" counting half, averaged over {plural(len(scores.collected), 'data set')} (Agarwal et al. 2021)."
        " 0.5 is no difference.",
        "Where all seeds of one method are above all of another's, resamples agree too, and the interval shows less"
        " doubt than there is.",
    ]
    title = f"Probability that {label(method)} improves"
    columns = list(map(label, scores.algorithms))
    return Table("improvement", title, columns, [Group("", rows)], shown, frame, "over", algorithms=scores.algorithms)


def profiles(scores: Scores) -> pd.DataFrame:
    """A row for each algorithm, method and threshold: share of runs above it, low, high; empty without common scale."""
    if scores.raw:
        return pd.DataFrame()
    every = np.concatenate([run.values for run in scores.runs.values()])
    thresholds = np.linspace(np.floor(min(every.min(), 0)), np.ceil(every.max()), THRESHOLDS)
    parts = []
    for algorithm in scores.algorithms:
        for method in scores.methods:
            runs = [scores.runs[dataset, method, algorithm] for dataset in scores.collected]
            point, low, high = profile(runs, thresholds, scores.confidence)
            shares = {"threshold": thresholds, "share": point, "low": low, "high": high}
            parts.append(pd.DataFrame({"algorithm": algorithm, "method": method, **shares}))
    return pd.concat(parts, ignore_index=True).astype({"low": float, "high": float})

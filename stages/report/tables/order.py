"""Do the algorithms order the methods alike? The subject's place among the methods, and rank correlations."""

import numpy as np
import pandas as pd

from stages.report.statistics.aggregates import bounded
from stages.report.statistics.scores import AVERAGE, Scores
from stages.report.style.words import CONTROLS, bracket, label, percent
from stages.report.tables.gains import LEAST_POINTS, signed
from stages.report.tables.headline import subject
from stages.report.tables.scores import heading
from stages.report.tables.table import Cell, Group, Row, Table, origin, tone


def means(scores: Scores, dataset: str, methods: list[str], algorithm: str) -> np.ndarray:
    """(methods, 1 + resamples): mean score over seeds and data sets, then the same of each bootstrap sample."""
    shares = []
    for method in methods:
        runs = [scores.runs[name, method, algorithm] for name in scores.within(dataset)]
        shares.append(np.mean([[run.values.mean(), *run.resamples.means(run.values)] for run in runs], axis=0))
    return np.array(shares)


def places(values: np.ndarray) -> np.ndarray:
    """Place of each row in each column, the largest value first; level rows share the middle of theirs."""
    above = (values[None] > values[:, None]).sum(1)
    level = (values[None] == values[:, None]).sum(1)
    return above + (level + 1) / 2


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of the rows, in each column; NaN where all are level."""
    one, other = (places(values) - (len(values) + 1) / 2 for values in (first, second))
    with np.errstate(invalid="ignore"):
        return (one * other).sum(0) / np.sqrt((one**2).sum(0) * (other**2).sum(0))


def order(scores: Scores) -> pd.DataFrame:
    """A row for each data set and algorithm that orders at least `LEAST_POINTS` methods.

    Columns: `place` of the subject with `place_low` and `place_high`, `methods` (their number), `correlation` with the
    order by the grid's first algorithm, `low` and `high`.
    """
    method, first, lines = subject(scores), scores.algorithms[0], []
    for dataset in scores.datasets:
        held = {name: scores.methods_with(name, dataset) for name in scores.algorithms}
        for algorithm in scores.algorithms:
            common = [each for each in held[algorithm] if each in held[first] and each not in CONTROLS]
            if method not in common or len(common) < LEAST_POINTS:
                continue
            strata = [
                scores.runs[name, each, algorithm].resamples for name in scores.within(dataset) for each in common
            ]
            values, others = (means(scores, dataset, common, name) for name in (algorithm, first))
            own, alike = places(values)[common.index(method)], correlation(values, others)
            place = bounded(own[0], own[1:], strata, scores.confidence)
            line = {"dataset": dataset, "algorithm": algorithm, "methods": len(common)}
            line |= {"place": place.point, "place_low": place.low, "place_high": place.high}
            rank = bounded(alike[0], alike[1:][~np.isnan(alike[1:])], strata, scores.confidence)
            lines.append(line | {"correlation": rank.point, "low": rank.low, "high": rank.high})
    frame = pd.DataFrame(lines)
    return frame.astype({name: float for name in frame if name not in ("dataset", "algorithm", "methods")})


def table(scores: Scores) -> Table | None:
    """A group of rows for each data set, a row for each algorithm; None with one algorithm or too few methods."""
    if len(scores.algorithms) < 2 or (frame := order(scores)).empty:
        return None
    method, first, groups = subject(scores), scores.algorithms[0], []
    for dataset, part in frame.groupby("dataset", sort=False):
        rows = []
        for row in part.itertuples():
            ends = "" if np.isnan(row.place_low) else f"[{row.place_low:.0f}, {row.place_high:.0f}]"
            key = origin(dataset, method, row.algorithm)
            alike = Cell("–")
            if row.algorithm != first:
                alike = Cell(signed(row.correlation), under=bracket(row, signed), tone=tone(row.low, row.high, 0))
            place = Cell(f"{row.place:.0f}", f"of {row.methods}", ends, origin=key)
            rows.append(Row(label(row.algorithm), [place, alike]))
        groups.append(Group(heading(dataset), rows, "" if dataset == AVERAGE else dataset))
    notes = [
        f"Place of {label(method)} among the methods by mean score, controls left out; 1 is the best.",
        f"Rank correlation (Spearman) with the order by {label(first)}: 1 where both order the methods alike.",
        f"Brackets: {percent(scores.confidence)} interval, stratified bootstrap over seeds. Chance blurs the order of"
        " methods that are close, so a correlation understates how alike the orders are.",
    ]
    columns = [f"place of {label(method)}", f"rank correlation with {label(first)}"]
    return Table("order", "Order of the methods", columns, groups, notes, frame, "algorithm")

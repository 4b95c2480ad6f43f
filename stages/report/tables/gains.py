"""What goes with a method's gain: the difference from real data beside the fidelity of the method's transitions."""

import numpy as np
import pandas as pd

from stages.report.statistics.scores import Scores
from stages.report.style.words import label, sentence, share
from stages.report.tables.fidelity import short
from stages.report.tables.notes import absent
from stages.report.tables.scores import gain_cell
from stages.report.tables.table import Cell, Group, Row, Table, origin

MEASURES = {  # column → (heading, meaning)
    "error": ("next-state error", "median error of the next state by the simulator, in standard deviations"),
    "novelty": (
        "action novelty",
        "median distance of an action from those of the real data in similar states, in standard deviations, less that"
        " of held-out real actions",
    ),
}
LEAST_POINTS = 4  # of a rank correlation
LEAST_ERROR = 1e-3  # smaller errors are drawn here, so that the others stay apart on a logarithmic axis


def drawn(measure: str, value: float) -> float:
    """Where a chart draws the value of a measure."""
    return max(value, LEAST_ERROR) if measure == "error" else value


def measures(record: dict) -> dict[str, float | None]:
    """The two measures of one method's fidelity record; None if the simulator could not check it."""
    novelty = record["coverage"]["action_novelty"]
    physics = record["physics"]
    return {"error": physics and physics["overall"]["median"], "novelty": novelty["measured"] - novelty["floor"]}


def gains(scores: Scores) -> pd.DataFrame:
    """A row for each cell of a method that adds data: its measures, and its difference from real data with interval."""
    rows = []
    for dataset, content in scores.collected.items():
        for method in scores.methods:
            for algorithm in scores.algorithms:
                gain = scores.differences.get((dataset, method, algorithm))
                if gain is None:
                    continue
                names = {"dataset": dataset, "method": method, "algorithm": algorithm}
                numbers = {"difference": gain.mean, "low": gain.low, "high": gain.high}
                rows.append(names | measures(content["fidelity"][method]) | numbers)
    columns = ["dataset", "method", "algorithm", *MEASURES, "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(columns[3:], float))


def signed(value: float, form=share) -> str:
    """A number with a true minus sign, and no negative zero."""
    return form(round(value, 4) + 0.0).replace("-", "−")


def correlations(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[float, int]]:
    """(algorithm, measure) → Spearman's rank correlation of measure and difference, and the number of points.

    Pairs with fewer than `LEAST_POINTS` points, or whose measure or difference does not vary, are left out.
    """
    result = {}
    for algorithm, part in frame.groupby("algorithm", sort=False):
        for measure in MEASURES:
            known = part.dropna(subset=[measure, "difference"])
            if len(known) >= LEAST_POINTS and known[measure].nunique() > 1 and known["difference"].nunique() > 1:
                ranks = known[[measure, "difference"]].rank()
                result[algorithm, measure] = float(ranks.corr().iloc[0, 1]), len(known)
    return result


def correlation_notes(frame: pd.DataFrame) -> list[str]:
    """The rank correlations as sentences, one for each measure."""
    pairs, sentences = correlations(frame), []
    within = [correlations(part) for _, part in frame.groupby("dataset")]
    for measure, (heading, _) in MEASURES.items():
        parts = []
        for (algorithm, name), (value, count) in pairs.items():
            if name == measure:
                each = [found[algorithm, name][0] for found in within if (algorithm, name) in found]
                average = (
                    f"; {signed(np.mean(each))} within a data set, averaged over {len(each)}" if len(each) > 1 else ""
                )
                parts.append(f"{signed(value)} with {label(algorithm)} ({count} points{average})")
        if parts:
            sentences.append(f"Rank correlation of {heading} and difference: {', '.join(parts)}.")
    return sentences


def table(scores: Scores, frame: pd.DataFrame) -> Table | None:
    """A row for each method; `frame` comes from `gains`. None if the grid has nothing to compare."""
    if frame.empty:
        return None
    groups = []
    for dataset, part in frame.groupby("dataset", sort=False):
        rows = []
        for method, cells in part.groupby("method", sort=False):
            values = [cells[measure].iloc[0] for measure in MEASURES]
            texts = [
                Cell("–" if np.isnan(value) else signed(value, short), origin=origin(dataset, method))
                for value in values
            ]
            differences = [gain_cell(scores, dataset, method, algorithm) for algorithm in scores.algorithms]
            rows.append(Row(sentence(label(method)), texts + differences, method))
        groups.append(Group(dataset, rows, dataset))
    columns = [heading for heading, _ in MEASURES.values()] + list(map(label, scores.algorithms))
    notes = [f"{sentence(heading)}: {meaning}." for heading, meaning in MEASURES.values()]
    notes += ["The other columns are the method's score minus that of real data.", *correlation_notes(frame)]
    notes += absent(scores)
    return Table(
        "gains",
        "Gain and fidelity",
        columns,
        groups,
        notes,
        frame,
        algorithms=[*[""] * len(MEASURES), *scores.algorithms],
    )

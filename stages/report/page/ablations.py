"""The page's ablations, each with the same parts as the main comparison: differences as dots and as a table, scores."""

from dataclasses import replace

import pandas as pd

from stages.report.page.overview import tall
from stages.report.page.page import Section
from stages.report.page.panel import Panel, compact
from stages.report.statistics.scores import Scores
from stages.report.style.words import bracket, label, number
from stages.report.tables.ablations import (
    DIFFERENCE_NOTE,
    NOTE,
    Ablation,
    difference_table,
    differences,
    gain,
    parts,
    score_table,
)


def panels(ablation: Ablation, scores: Scores) -> list[Panel]:
    """For each data set and algorithm: a row for each difference from real data."""
    frame, shown = differences(ablation.frame), []
    several = frame["dataset"].nunique() > 1
    pairs = frame[["dataset", "algorithm"]].drop_duplicates().itertuples(index=False)
    ordered = pd.concat([part for *_, part in parts(frame)]) if len(frame) else frame
    for dataset, algorithm in pairs:
        rows = []
        for _, row in ordered[(ordered["dataset"] == dataset) & (ordered["algorithm"] == algorithm)].iterrows():
            estimate = gain(row)
            texts = {"mean": number(row["score"]), "difference": number(estimate.mean, sign=True)}
            numbers = {"value": estimate.mean, "low": estimate.low, "high": estimate.high}
            names = {"method": label(row["method"]), "setting": str(row["value"])}
            rows.append(compact({**names, **numbers, **texts, "interval": bracket(estimate) or None}))
        title = f"{dataset} · {label(algorithm)}" if several else label(algorithm)
        alt = (
            f"Differences from real data with {label(algorithm)} on {dataset}, a dot for each method at each value of"
            f" {ablation.param}."
        )
        filtered = {
            "dataset": dataset if dataset in scores.collected else "",
            "algorithm": algorithm if algorithm in scores.algorithms else "",
        }
        shown.append(Panel("ablations", title, alt, rows, tall(rows, "setting"), **filtered))
    return shown


def part(ablation: Ablation, scores: Scores) -> Section:
    """One ablation's charts and tables, without the notes that all ablations share."""
    gains, numbers = difference_table(ablation), score_table(ablation)
    own = [line for line in numbers.notes if line != NOTE]
    tables = [replace(numbers, title="Scores, fidelity and cost", notes=own)]
    if gains:
        tables.insert(0, replace(gains, title="Difference from real data", notes=[]))
    caption = f"Method minus real data at the same value of {ablation.param}, in points; lines are intervals."
    charts = [("Difference from real data", caption, panels(ablation, scores))]
    return Section(ablation.title, ablation.param, tables, charts)


def section(ablations: list[Ablation], scores: Scores) -> Section:
    """All ablations, each in a part of its own that folds."""
    return Section(
        "ablations", "Ablations", text=f"{DIFFERENCE_NOTE} {NOTE}", parts=[part(each, scores) for each in ablations]
    )

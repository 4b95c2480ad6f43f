"""Data of the page's charts: rows for each panel, with alternative text."""

import pandas as pd

from stages.report.page.panel import Panel, compact
from stages.report.statistics.scores import Scores
from stages.report.style.words import bracket, label, listed, mean_text, number, share
from stages.report.tables.costs import making
from stages.report.tables.fidelity import error_curves
from stages.report.tables.gains import MEASURES, drawn


def named(values) -> str:
    return ", ".join(map(number, values))


def scores(scored: Scores) -> list[Panel]:
    """For each data set: a row for each cell, and one for each seed."""
    panels = []
    for dataset in scored.collected:
        rows, words = [], []
        for method in scored.methods:
            for algorithm in scored.algorithms_with(method, dataset=dataset):
                cell = scored.cells[dataset, method, algorithm]
                names = {"method": label(method), "algorithm": label(algorithm)}
                mean = mean_text(cell)
                texts = {"mean": mean, "interval": bracket(cell) or None, "seeds": named(cell.values)}
                rows.append(compact({**names, "value": cell.mean, "low": cell.low, "high": cell.high, **texts}))
                rows += [compact({**names, "seed": k, "value": float(value)}) for k, value in enumerate(cell.values)]
                words.append(f"{label(method)} with {label(algorithm)} {mean}")
        alt = f"Bar chart of scores on {dataset}: {listed(words)}."
        panels.append(Panel("scores", dataset, alt, rows, {"behaviour": scored.behaviour[dataset]}, dataset))
    return panels


def curves(scored: Scores, frame: pd.DataFrame) -> list[Panel]:
    """For each data set and algorithm; `frame` is of `grid.curve_frame`."""
    panels = []
    for (dataset, algorithm), part in frame.groupby(["dataset", "algorithm"], sort=False):
        rows = []
        for (method, step), seeds in part.groupby(["method", "step"], sort=False)["score"]:
            mean, std = seeds.mean(), seeds.std() if len(seeds) > 1 else 0.0
            texts = {"mean": number(mean), "seeds": named(seeds)}
            bounds = {"low": mean - std, "high": mean + std}
            rows.append(compact({"method": label(method), "step": int(step), "value": mean, **bounds, **texts}))
        title = f"{dataset} · {label(algorithm)}"
        methods = listed(map(label, scored.methods_with(algorithm, dataset)))
        alt = f"Learning curves of {methods} with {label(algorithm)} on {dataset}."
        behaviour = {"behaviour": scored.behaviour[dataset]}
        panels.append(Panel("curves", title, alt, rows, behaviour, dataset, algorithm))
    return panels


def profiles(scored: Scores, frame: pd.DataFrame) -> list[Panel]:
    """For each algorithm; `frame` is of `tables.aggregates.profiles`."""
    panels = []
    for algorithm in scored.algorithms_with() if len(frame) else ():
        rows = [
            compact(
                {
                    "method": label(row.method),
                    "threshold": float(row.threshold),
                    "share": float(row.share),
                    "low": row.low,
                    "high": row.high,
                    "interval": bracket(row, share) or None,
                }
            )
            for row in frame[frame["algorithm"] == algorithm].itertuples()
        ]
        alt = f"Performance profiles of {listed(map(label, scored.methods_with(algorithm)))} with {label(algorithm)}."
        panels.append(Panel("profiles", label(algorithm), alt, rows, algorithm=algorithm))
    return panels


def improvements(scored: Scores, frame: pd.DataFrame) -> list[Panel]:
    """For each algorithm; `frame` is of `tables.aggregates.improvements`."""
    panels = []
    for algorithm in dict.fromkeys(frame["algorithm"]) if len(frame) else ():
        rows = [
            compact(
                {
                    "method": label(row.method),
                    "over": label(row.over),
                    "value": float(row.point),
                    "probability": share(row.point),
                    "interval": bracket(row, share) or None,
                }
            )
            for row in frame[frame["algorithm"] == algorithm].itertuples()
        ]
        alt = f"Probability that a run of each method scores above one of each other, with {label(algorithm)}."
        columns = len({row["over"] for row in rows})
        panels.append(Panel("improvements", label(algorithm), alt, rows, algorithm=algorithm, columns=columns))
    return panels


def fidelity(scored: Scores) -> list[Panel]:
    """For each data set that the simulator can check."""
    panels = []
    for dataset, errors in error_curves(scored).items():
        rows = [
            compact({"method": label(method), "step": k + 1, "statistic": name, "value": float(error[key])})
            for method, steps in errors.items()
            for k, error in enumerate(steps)
            for key, name in (("median", "median"), ("p90", "90th percentile"))
        ]
        alt = f"Error of the next state against the step of the window for {listed(map(label, errors))} on {dataset}."
        panels.append(Panel("fidelity", dataset, alt, rows, dataset=dataset))
    return panels


def steering(scored: Scores) -> list[Panel]:
    """For each data set's world model."""
    panels = []
    for dataset, content in scored.collected.items():
        record = content["phases"].get("steering")
        if record:
            reached = record["reached"]
            columns = (record["asked"], reached["mean"], reached["p10"], reached["p90"])
            rows = [
                {"method": label("dawm"), "asked": asked, "mean": mean, "p10": low, "p90": high}
                for asked, mean, low, high in sorted(zip(*columns, strict=True))
            ]
            alt = f"Return-to-go reached against the condition on {dataset}."
            panels.append(Panel("steering", dataset, alt, rows, {"start": record["start"]}, dataset))
    return panels


def costs(scored: Scores) -> list[Panel]:
    """For each algorithm, if the methods' times were recorded."""
    seconds_by_method, panels = making(scored), []
    for algorithm in scored.algorithms:
        rows, drawn_methods = [], [name for name in seconds_by_method if name in scored.methods_with(algorithm)]
        for method in drawn_methods:
            cell, seconds = scored.cells[scored.headline, method, algorithm], seconds_by_method[method]
            texts = {"mean": mean_text(cell), "interval": bracket(cell) or None}
            names = {"method": label(method), "seconds": round(seconds, 1)}
            rows.append(compact({**names, "value": cell.mean, "low": cell.low, "high": cell.high, **texts}))
        if not rows:
            continue
        methods = listed(map(label, drawn_methods))
        alt = f"Score with {label(algorithm)} against the seconds that the data of {methods} took."
        real = (
            {"real": scored.cells[scored.headline, "real", algorithm].mean}
            if "real" in scored.methods_with(algorithm)
            else {}
        )
        panels.append(Panel("costs", label(algorithm), alt, rows, real, algorithm=algorithm))
    return panels


def gains(scored: Scores, frame: pd.DataFrame) -> list[Panel]:
    """For each algorithm and measure of fidelity; `frame` is of `tables.gains.gains`."""
    panels = []
    for algorithm in scored.algorithms:
        for measure, (heading, _) in MEASURES.items():
            rows = []
            for row in frame[(frame["algorithm"] == algorithm) & frame[measure].notna()].itertuples():
                value = getattr(row, measure)
                names = {"method": label(row.method), "dataset": row.dataset, "text": f"{value:.2g}"}
                texts = {"difference": number(row.difference, sign=True), "interval": bracket(row) or None}
                numbers = {"measure": drawn(measure, value), "value": row.difference, "low": row.low, "high": row.high}
                rows.append(compact({**names, **numbers, **texts}))
            if rows:
                title = f"{label(algorithm)} · {heading}"
                alt = f"Difference from real data with {label(algorithm)} against {heading}, a point for each method."
                panels.append(Panel(f"{measure}_gains", title, alt, rows, algorithm=algorithm))
    return panels

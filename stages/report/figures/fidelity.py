"""Two figures of imagined windows: next-state error by step, and return conditioning."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import NullLocator

from stages.report.statistics.scores import Scores
from stages.report.style.colours import GREY
from stages.report.style.figures import panels, save, style
from stages.report.style.words import label
from stages.report.tables.fidelity import error_curves


def errors(scores: Scores, path: Path):
    """Next-state error against h for every method, median and 90th percentile; no figure if nothing was measured."""
    palette = style(scores.methods)
    measured = error_curves(scores)
    if not measured:
        return
    figure, axes = panels(len(measured), 2.9)
    for axis, (dataset, records) in zip(axes, measured.items(), strict=True):
        for method, overall in records.items():
            steps = np.arange(1, len(overall) + 1)
            colour, look = palette[label(method)], {"markersize": 3.5, "markeredgewidth": 0, "linewidth": 1.6}
            axis.plot(steps, [error["median"] for error in overall], color=colour, marker="o", **look)
            axis.plot(steps, [error["p90"] for error in overall], color=colour, linestyle=(0, (2, 2)), linewidth=1.2)
        axis.set_yscale("log")
        low, high = axis.get_ylim()
        if high > 100 * low:  # unlabelled minor ticks would take longer to draw than everything else
            axis.yaxis.set_minor_locator(NullLocator())
        axis.set(title=dataset, xlabel="step h of the window", ylabel="error of the next state, in std")
        axis.set_xticks(np.arange(1, max(map(len, records.values())) + 1))
        axis.grid(visible=False, axis="x")
    shown = [
        name for name in palette if any(label(method) == name for records in measured.values() for method in records)
    ]
    handles = [plt.Line2D([], [], color=palette[name], linewidth=2) for name in shown]
    handles += [plt.Line2D([], [], color=GREY, linewidth=1.2, linestyle=line) for line in ("-", (0, (2, 2)))]
    save(figure, path, handles, [*shown, "median", "90th percentile"])


def steering(scores: Scores, path: Path):
    """Return-to-go reached against the condition, for each data set's world model; no figure if there is none."""
    palette = style(scores.methods)
    records = {dataset: content["phases"].get("steering") for dataset, content in scores.collected.items()}
    records = {dataset: record for dataset, record in records.items() if record}
    if not records:
        return
    colour = palette[label("dawm")]
    figure, axes = panels(len(records), 2.9)
    for axis, (dataset, record) in zip(axes, records.items(), strict=True):
        order = np.argsort(record["asked"])
        asked, mean, low, high = (
            np.array(values)[order] for values in (record["asked"], *map(record["reached"].get, ("mean", "p10", "p90")))
        )
        axis.plot(asked, asked, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        axis.axhline(record["start"], color=GREY, linewidth=0.8)
        axis.fill_between(asked, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.plot(asked, mean, color=colour, marker="o", markersize=4, markeredgewidth=0, linewidth=1.6)
        axis.set(title=dataset, xlabel="return-to-go conditioned on", ylabel="reached")
        axis.grid(visible=False, axis="x")
    handles = [
        plt.Line2D([], [], color=colour, marker="o", markersize=4, linewidth=1.6),
        plt.Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1),
        plt.Line2D([], [], color=GREY, linewidth=0.8),
    ]
    save(figure, path, handles, ["DAWM, mean and 10th to 90th percentile", "reached = condition", "starts in the data"])

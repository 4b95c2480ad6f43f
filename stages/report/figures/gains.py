"""Gain over real data against next-state error and action novelty: a point for each method and data set."""

from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt

from stages.report.statistics.scores import Scores
from stages.report.style.colours import GREY, LINE
from stages.report.style.figures import panels, save, style
from stages.report.style.words import label
from stages.report.tables.gains import MEASURES, drawn

MARKERS = "osD^vP*X<"  # of the data sets, in order


def gains(frame: pd.DataFrame, scores: Scores, path: Path):
    """A row of panels for each algorithm, one for each measure; no figure if there is nothing to show."""
    shown = [measure for measure in MEASURES if frame[measure].notna().any()]
    if not shown:
        return
    palette, datasets = style(scores.methods), list(scores.collected)
    markers = {dataset: MARKERS[k % len(MARKERS)] for k, dataset in enumerate(datasets)}
    algorithms = list(dict.fromkeys(frame["algorithm"]))
    figure, axes = panels(len(algorithms) * len(shown), 2.9, wide=len(shown))
    places = [(algorithm, measure) for algorithm in algorithms for measure in shown]
    for axis, (algorithm, measure) in zip(axes, places, strict=True):
        part = frame[(frame["algorithm"] == algorithm) & frame[measure].notna()]
        for row in part.itertuples():
            x, colour = drawn(measure, getattr(row, measure)), palette[label(row.method)]
            if row.low == row.low:  # not NaN
                axis.vlines(x, row.low, row.high, color=colour, linewidth=1.2, alpha=0.7)
            axis.plot(x, row.difference, color=colour, marker=markers[row.dataset], markersize=6, markeredgewidth=0)
        axis.axhline(0, color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        if measure == "error":
            axis.set_xscale("log")
        else:
            axis.axvline(0, color=LINE, linewidth=0.7)  # keeps 0 in sight, so that small differences look small
        axis.margins(x=0.1)
        axis.grid(visible=True, axis="x", color=LINE, linewidth=0.7)
        axis.set(title=label(algorithm), xlabel=MEASURES[measure][0], ylabel="difference from real data")
    present = [method for method in scores.methods if method in set(frame["method"])]
    colours = [palette[label(method)] for method in present]
    handles = [plt.Line2D([], [], color=colour, marker="o", linewidth=0, markeredgewidth=0) for colour in colours]
    names = list(map(label, present))
    if len(datasets) > 1:
        handles += [plt.Line2D([], [], color=GREY, marker=markers[name], linewidth=0) for name in datasets]
        names += datasets
    save(figure, path, handles, names)

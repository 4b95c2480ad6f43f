"""Performance profiles, the matrix of improvements, and cost against score."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogFormatter

from stages.report.statistics.scores import Scores
from stages.report.style.colours import GREY, LINE
from stages.report.style.figures import panels, save, style
from stages.report.style.words import label
from stages.report.tables.costs import making


def profiles(frame: pd.DataFrame, scores: Scores, path: Path):
    """A panel for each algorithm: share of runs above each score, with bands; no figure without a common scale."""
    if frame.empty:
        return
    palette, algorithms = style(scores.methods), scores.algorithms_with()
    figure, axes = panels(len(algorithms), 2.9)
    for axis, algorithm in zip(axes, algorithms, strict=True):
        for method, part in frame[frame["algorithm"] == algorithm].groupby("method", sort=False):
            colour = palette[label(method)]
            axis.step(part["threshold"], part["share"], where="post", color=colour, linewidth=1.6)
            if part["low"].notna().all():
                axis.fill_between(
                    part["threshold"], part["low"], part["high"], step="post", color=colour, alpha=0.12, lw=0
                )
        axis.set(title=label(algorithm), xlabel="normalised score", ylabel="share of runs above it", ylim=(-0.02, 1.02))
    handles = [plt.Line2D([], [], color=colour, linewidth=2) for colour in palette.values()]
    save(figure, path, handles, list(palette))


def improvements(frame: pd.DataFrame, scores: Scores, path: Path):
    """A matrix for each algorithm: the probability that the row's method scores above the column's."""
    if frame.empty:
        return
    style(scores.methods)
    names = list(map(label, scores.methods))
    algorithms = list(dict.fromkeys(frame["algorithm"]))
    figure, axes = panels(len(algorithms), 1.4 + 0.36 * len(names))
    for axis, algorithm in zip(axes, algorithms, strict=True):
        part = frame[frame["algorithm"] == algorithm]
        table = part.assign(method=part["method"].map(label), over=part["over"].map(label))
        table = table.pivot(index="method", columns="over", values="point").reindex(index=names, columns=names)
        look = {"cmap": "PuOr", "vmin": 0, "vmax": 1, "cbar": False, "linewidths": 1, "linecolor": "white"}
        sns.heatmap(table, annot=True, fmt=".2f", annot_kws={"size": 8.5}, **look, ax=axis)
        axis.set(title=label(algorithm), xlabel="… above a run of", ylabel="a run of …")
        axis.tick_params(axis="x", rotation=40)
        plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")
        axis.tick_params(axis="y", rotation=0)
        axis.grid(visible=False)
    save(figure, path, [], [])


def cost_against_score(scores: Scores, path: Path):
    """A panel for each algorithm, a point for each method that generates data; no figure if times were not recorded."""
    took = making(scores)
    algorithms = [name for name in scores.algorithms if set(took) & set(scores.methods_with(name))]
    if not took or not algorithms:
        return
    palette = style(scores.methods)
    figure, axes = panels(len(algorithms), 2.9)
    for axis, algorithm in zip(axes, algorithms, strict=True):
        for method, total in took.items():
            cell, colour = scores.cells.get((scores.headline, method, algorithm)), palette[label(method)]
            if cell is None:
                continue
            if cell.low is not None:
                axis.vlines(total, cell.low, cell.high, color=colour, linewidth=1.4)
            axis.plot(total, cell.mean, color=colour, marker="o", markersize=6, markeredgewidth=0)
        if "real" in scores.methods_with(algorithm):
            axis.axhline(scores.cells[scores.headline, "real", algorithm].mean, color=GREY, linestyle=(0, (4, 3)), lw=1)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:,g}"))
        axis.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
        axis.margins(x=0.15)
        axis.grid(visible=True, axis="x", color=LINE, linewidth=0.7)
        axis.set(title=label(algorithm), xlabel="seconds to make the data, training included", ylabel="score")
    handles = [
        plt.Line2D([], [], color=palette[label(name)], marker="o", markersize=6, linewidth=0, markeredgewidth=0)
        for name in took
    ]
    names = list(map(label, took))
    if "real" in scores.methods:
        handles.append(plt.Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1))
        names.append(label("real"))
    save(figure, path, handles, names)

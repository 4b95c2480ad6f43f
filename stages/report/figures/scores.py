"""Learning curves and score bars."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stages.report.statistics.scores import Scores
from stages.report.style.colours import GREY, INK
from stages.report.style.figures import panels, save, style
from stages.report.style.words import label


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(method=frame["method"].map(label), algorithm=frame["algorithm"].map(label))


def scale(scores: Scores, dataset: str) -> str:
    return "return" if dataset in scores.raw else "normalised score"


def learning_curves(curves: pd.DataFrame, scores: Scores, path: Path):
    """A row of panels for each data set, a panel for each algorithm: means over seeds, bands of one deviation."""
    palette, datasets = style(scores.methods), list(scores.collected)
    algorithms = [name for name in scores.algorithms if (curves["algorithm"] == name).any()]
    shape = (len(datasets), len(algorithms))
    size = (max(3.1 * shape[1], 9.3), 2.6 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, sharey="row", sharex=True)
    frame = labelled(curves)
    for row, dataset in zip(axes, datasets, strict=True):
        for axis, algorithm in zip(row, algorithms, strict=True):
            part = frame[(frame["dataset"] == dataset) & (frame["algorithm"] == label(algorithm))]
            columns = {"x": "step", "y": "score", "hue": "method", "hue_order": list(palette), "palette": palette}
            look = {
                "marker": "o",
                "markersize": 3.5,
                "markeredgewidth": 0,
                "linewidth": 1.6,
                "err_kws": {"linewidth": 0, "alpha": 0.2 if len(palette) <= 4 else 0.1},
            }
            sns.lineplot(part, **columns, **look, errorbar="sd", legend=False, ax=axis)
            axis.axhline(scores.behaviour[dataset], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
            heading = f"{dataset}\n" if axis is row[0] else ""
            axis.set(title=heading + label(algorithm), xlabel="training step", ylabel=scale(scores, dataset))
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step else "0"))
            axis.grid(visible=False, axis="x")
    handles = [plt.Line2D([], [], color=colour, linewidth=2) for colour in palette.values()]
    handles.append(plt.Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1))
    save(figure, path, handles, [*palette, "average of the data"])


def score_bars(episodes: pd.DataFrame, scores: Scores, path: Path):
    """A panel for each data set: a bar for each cell's mean, a point for each seed, a line for the interval."""
    palette = style(scores.methods)
    datasets = list(scores.collected)
    figure, axes = panels(len(datasets), 2.8)
    seeds = episodes.groupby(["dataset", "method", "algorithm", "seed"], sort=False)["score"].mean().reset_index()
    frame = labelled(seeds)
    columns = {"x": "algorithm", "y": "score", "hue": "method", "hue_order": list(palette), "palette": palette}
    look = {
        "alpha": 0.75,
        "width": 0.72,
        "gap": 0.08,
        "saturation": 1,
        "linewidth": 0,
        "errorbar": None,
        "legend": False,
    }
    for axis, dataset in zip(axes, datasets, strict=True):
        part = frame[frame["dataset"] == dataset]
        sns.barplot(part, **columns, **look, order=list(map(label, scores.algorithms_with())), ax=axis)
        for method, container in zip(scores.methods, list(axis.containers), strict=True):
            for algorithm, bar in zip(scores.algorithms_with(method, dataset=dataset), container, strict=True):
                cell = scores.cells[dataset, method, algorithm]
                x = [bar.get_x() + 0.35 * bar.get_width()] * len(cell.values)
                axis.scatter(x, cell.values, s=9, color=INK, alpha=0.6, linewidth=0, zorder=5)
                if cell.low is not None:
                    axis.vlines(
                        bar.get_x() + 0.6 * bar.get_width(), cell.low, cell.high, color=INK, linewidth=1.6, zorder=5
                    )
        axis.axhline(scores.behaviour[dataset], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        axis.set(title=dataset, xlabel="", ylabel=scale(scores, dataset))
        axis.grid(visible=False, axis="x")
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour, alpha=0.75, linewidth=0) for colour in palette.values()]
    handles.append(plt.Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1))
    save(figure, path, handles, [*palette, "average of the data"])

"""Learning curves and score bars, as PNG files with the same bytes for the same numbers."""

from pathlib import Path

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from stages.common.files import atomic
from stages.report.scores import Scores
from stages.report.words import label

matplotlib.use("Agg")  # no display is needed, and every machine draws alike

INK, GREY, LINE = "#22262b", "#6b7280", "#e3e5e8"


def style(methods: list[str]) -> dict[str, tuple]:
    """Sets the look of every figure; label of a method → its colour, safe for colour-blind readers."""
    rc = {
        "font.size": 9,
        "legend.fontsize": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.labelcolor": GREY,
        "axes.edgecolor": LINE,
        "axes.titlecolor": INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "grid.color": LINE,
        "grid.linewidth": 0.7,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "legend.frameon": False,
        "figure.dpi": 150,
    }
    sns.set_theme(style="whitegrid", font="DejaVu Sans", rc=rc)
    return dict(zip(map(label, methods), sns.color_palette("colorblind", len(methods)), strict=True))


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(method=frame["method"].map(label), algorithm=frame["algorithm"].map(label))


def scale(scores: Scores, dataset: str) -> str:
    return "return" if dataset in scores.raw else "normalised score"


def head(figure: Figure, handles: list, labels: list[str]) -> float:
    """One legend above all panels, in as many columns as fit; the height that it takes, in inches."""
    for columns in range(len(labels), 0, -1):
        place = {"loc": "upper left", "bbox_to_anchor": (0.005, 1), "ncol": columns, "columnspacing": 1.6}
        legend = figure.legend(handles, labels, **place)
        if legend.get_window_extent().width < 0.99 * figure.bbox.width or columns == 1:
            return 0.42 + 0.2 * (-(-len(labels) // columns) - 1)
        legend.remove()


def save(figure: Figure, path: Path, handles: list, labels: list[str]):
    """With a legend; no program version in the file, which would change its bytes."""
    own, above = figure.get_figheight(), head(figure, handles, labels)
    figure.set_figheight(own + above)
    figure.tight_layout(rect=(0, 0, 1, own / (own + above)), w_pad=2, h_pad=2)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, metadata={"Software": None})
    plt.close(figure)


def banded(scores: Scores) -> bool:
    """Whether the learning curves have bands: those of many methods would hide each other."""
    return len(scores.methods) <= 4


def learning_curves(curves: pd.DataFrame, scores: Scores, path: Path):
    """A row of panels for each data set, a panel for each algorithm: means over seeds, with bands where `banded`."""
    palette = style(scores.methods)
    datasets = list(scores.collected)
    shape = (len(datasets), len(scores.algorithms))
    size = (max(3.1 * shape[1], 9.3), 2.6 * shape[0])
    figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, sharey="row", sharex=True)
    frame = labelled(curves)
    for row, dataset in zip(axes, datasets, strict=True):
        for axis, algorithm in zip(row, scores.algorithms, strict=True):
            part = frame[(frame["dataset"] == dataset) & (frame["algorithm"] == label(algorithm))]
            columns = {"x": "step", "y": "score", "hue": "method", "hue_order": list(palette), "palette": palette}
            look = {
                "marker": "o",
                "markersize": 3.5,
                "markeredgewidth": 0,
                "linewidth": 1.6,
                "err_kws": {"linewidth": 0},
            }
            sns.lineplot(part, **columns, **look, errorbar="sd" if banded(scores) else None, legend=False, ax=axis)
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
    columns = min(len(datasets), 2)
    rows = -(-len(datasets) // columns)
    width = 9.3
    figure, axes = plt.subplots(rows, columns, figsize=(width, 2.8 * rows), squeeze=False, sharey=not scores.raw)
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
    for axis, dataset in zip(axes.flat, datasets, strict=False):
        part = frame[frame["dataset"] == dataset]
        sns.barplot(part, **columns, **look, order=list(map(label, scores.algorithms)), ax=axis)
        for method, container in zip(scores.methods, list(axis.containers), strict=True):
            for algorithm, bar in zip(scores.algorithms, container, strict=True):
                cell = scores.cells[dataset, method, algorithm]
                place = [bar.get_x() + 0.35 * bar.get_width()] * len(cell.values)
                axis.scatter(place, cell.values, s=9, color=INK, alpha=0.6, linewidth=0, zorder=5)
                if cell.low is not None:
                    axis.vlines(
                        bar.get_x() + 0.6 * bar.get_width(), cell.low, cell.high, color=INK, linewidth=1.6, zorder=5
                    )
        axis.axhline(scores.behaviour[dataset], color=GREY, linestyle=(0, (4, 3)), linewidth=1)
        axis.set(title=dataset, xlabel="", ylabel=scale(scores, dataset))
        axis.grid(visible=False, axis="x")
    for axis in axes.flat[len(datasets) :]:
        axis.remove()
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour, alpha=0.75, linewidth=0) for colour in palette.values()]
    handles.append(plt.Line2D([], [], color=GREY, linestyle=(0, (4, 3)), linewidth=1))
    save(figure, path, handles, [*palette, "average of the data"])

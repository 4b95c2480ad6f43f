"""The data card's figure: returns, lengths, actions and observations, and the training behind local data."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from stages.report.style.colours import GREY, INK
from stages.report.style.figures import save, style

OURS, THEIRS = "this data set", "D4RL's own"


def histogram(axis: Axes, values: np.ndarray, mean: float, colour, title: str, label: str):
    """Counts of episodes; a line marks the mean of the whole ones."""
    axis.hist(values, bins=40, color=colour, alpha=0.75, linewidth=0)
    axis.axvline(mean, color=INK, linewidth=1.2)
    axis.set(title=title, xlabel=label, ylabel="episodes")
    axis.margins(x=0.02)


def actions(axis: Axes, values: np.ndarray, colour):
    """A violin for each dimension; what lies at ±1 is saturated."""
    parts = axis.violinplot(values[:: max(len(values) // 20_000, 1)], showextrema=False, widths=0.85)
    for body in parts["bodies"]:
        body.set(facecolor=colour, alpha=0.75, linewidth=0)
    axis.set(title="Actions", xlabel="dimension", ylabel="action", ylim=(-1.05, 1.05))
    axis.set_xticks(np.arange(1, values.shape[1] + 1), np.arange(values.shape[1]))
    if values.shape[1] > 12:
        axis.set_xticks([])


def observations(axis: Axes, ours: np.ndarray, theirs: np.ndarray | None, colours, title: str):
    """A point for each dimension, D4RL's beside it; on a scale that shows small and large ones."""
    dimensions = np.arange(len(ours))
    axis.scatter(dimensions, ours, s=18, color=colours[0], zorder=3, linewidth=0)
    if theirs is not None:
        axis.scatter(dimensions, theirs, s=34, facecolor="none", edgecolor=colours[1], linewidth=1.2, zorder=2)
    axis.set_yscale("symlog", linthresh=0.1)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set(title=title, xlabel="dimension", ylabel=title.split()[-1])


def training(axis: Axes, card, colour):
    """The behaviour policies' training; marks where the data's snapshots were taken."""
    for run, line in zip(card.trainings.values(), ("-", ":", "--"), strict=False):
        axis.plot(run.curve["step"], run.curve["return"], color=GREY, linewidth=1, linestyle=line)
        for step in run.snapshots:
            axis.axvline(step, ymax=0.06, color=colour, linewidth=2)
    axis.set(title="Training of the behaviour", xlabel="step, marks at the snapshots used", ylabel="return")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step / 1000:g}k" if step else "0"))


def draw(card, path: Path):
    """Six panels, without the last two where there is nothing to draw.

    Arguments:
        card: a `card.Card`.
    """
    colours = list(style([OURS, THEIRS]).values())
    figure, axes = plt.subplots(2, 3, figsize=(9.3, 5.4))
    limit = f"steps, at most {card.task.episode_limit:,}"
    histogram(axes[0, 0], card.returns, card.facts["return_mean"], colours[0], "Returns", "undiscounted return")
    histogram(axes[0, 1], card.lengths, card.facts["length_mean"], colours[0], "Lengths", limit)
    actions(axes[0, 2], card.data.actions, colours[0])
    theirs = card.theirs or (None, None)
    observations(axes[1, 0], card.ours[0], theirs[0], colours, "Observations: mean")
    observations(axes[1, 1], card.ours[1], theirs[1], colours, "Observations: std")
    if not card.trainings:
        axes[1, 2].remove()
    else:
        training(axes[1, 2], card, colours[0])
    for axis in figure.axes:
        axis.grid(visible=False, axis="x")
    handles = [plt.Line2D([], [], color=colours[0], marker="o", linewidth=0, markersize=5)]
    labels = [OURS]
    if card.theirs is not None:
        handles.append(plt.Line2D([], [], color=colours[1], marker="o", fillstyle="none", linewidth=0, markersize=6))
        labels.append(THEIRS)
    handles.append(plt.Line2D([], [], color=INK, linewidth=1.2))
    save(figure, path, handles, [*labels, "mean of whole episodes"])

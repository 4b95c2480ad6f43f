"""An ablation as a figure: for each data set, scores, fidelity and cost against the value."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from stages.report.style.colours import GREY
from stages.report.style.figures import save, style
from stages.report.style.words import label

LINES = ("-", (0, (2, 2)), (0, (5, 1, 1, 1)), (0, (1, 1)))


def draw(table: pd.DataFrame, param: str, path: Path):
    """Colours are algorithms, lines methods: the first is solid, real data dashed."""
    style([])
    datasets, values = list(dict.fromkeys(table["dataset"])), list(dict.fromkeys(table["value"]))
    algorithms = list(dict.fromkeys(table["algorithm"]))
    methods = sorted(dict.fromkeys(table["method"]), key=lambda method: method == "real")
    colours = dict(zip(algorithms, sns.color_palette("colorblind", len(algorithms)), strict=True))
    lines = dict(zip(methods, (LINES * len(methods))[: len(methods)], strict=True))
    position = {value: k for k, value in enumerate(values)}
    figure, axes = plt.subplots(len(datasets), 3, figsize=(9.3, 2.8 * len(datasets) + 0.42), squeeze=False)
    marks = {"marker": "o", "markersize": 4, "markeredgewidth": 0, "linewidth": 1.6}
    for row, dataset in zip(axes, datasets, strict=True):
        score, fidelity, cost = row
        own = table[table["dataset"] == dataset]
        for (method, algorithm), part in own.groupby(["method", "algorithm"], sort=False):
            shift = 0.06 * (algorithms.index(algorithm) - (len(algorithms) - 1) / 2)
            x = part["value"].map(position) + shift
            score.plot(x, part["score"], color=colours[algorithm], linestyle=lines[method], **marks)
            if method != "real" and part["low"].notna().all():
                score.vlines(x, part["low"], part["high"], color=colours[algorithm], linewidth=1)
        for method in methods:
            part = own[own["method"] == method].drop_duplicates("value")  # the same with every algorithm
            x = part["value"].map(position)
            for column, alpha in (("error_median", 1.0), ("error_p90", 0.5)):
                if method != "real" and part[column].notna().any():
                    fidelity.plot(x, part[column], color=GREY, alpha=alpha, linestyle=lines[method], **marks)
            if part["seconds_making"].notna().any():
                cost.plot(x, part["seconds_making"], color=GREY, linestyle=lines[method], **marks)
        score.set(title=dataset, ylabel="score")
        fidelity.set(title="Next-state error", ylabel="median, pale: 90th percentile")
        if fidelity.lines:
            fidelity.set_yscale("log")
        cost.set(title="Generation time", ylabel="seconds")
        cost.set_ylim(0, 1.1 * max(own["seconds_making"].max(), 1) if own["seconds_making"].notna().any() else 1)
        for axis in row:
            axis.set_xticks(range(len(values)), values)
            axis.set(xlabel=param, xlim=(-0.4, len(values) - 0.6))
            axis.grid(visible=False, axis="x")
    handles = [plt.Line2D([], [], color=colour, linewidth=2) for colour in colours.values()]
    handles += [plt.Line2D([], [], color=GREY, linewidth=1.4, linestyle=line) for line in lines.values()]
    save(figure, path, handles, [*map(label, algorithms), *map(label, methods)])

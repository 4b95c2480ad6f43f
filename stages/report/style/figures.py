"""The look of all figures, and how they are saved: the same bytes for the same numbers."""

import io
from pathlib import Path

import matplotlib
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from stages.common.files import atomic
from stages.report.style.colours import GREY, INK, LINE, palette

COLOURS = 256
matplotlib.use("Agg")  # no display is needed, and every machine draws alike


def style(methods: list[str]) -> dict[str, str]:
    """Sets the look of every figure; returns the methods' `palette`."""
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
        "svg.hashsalt": "the same names in each file",
    }
    sns.set_theme(style="whitegrid", font="DejaVu Sans", rc=rc)
    return palette(methods)


def head(figure: Figure, handles: list, labels: list[str]) -> float:
    """One legend above all panels, in as many columns as fit; the height that it takes, in inches."""
    for columns in range(len(labels), 0, -1):
        options = {"loc": "upper left", "bbox_to_anchor": (0.005, 1), "ncol": columns, "columnspacing": 1.6}
        legend = figure.legend(handles, labels, **options)
        if legend.get_window_extent().width < 0.99 * figure.bbox.width or columns == 1:
            return 0.42 + 0.2 * (-(-len(labels) // columns) - 1)
        legend.remove()


def panels(count: int, height: float, wide: int = 2):
    """A figure of `count` panels, at most `wide` in a row of that height in inches: the figure and its axes."""
    columns = min(count, wide)
    rows = -(-count // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(9.3, height * rows), squeeze=False)
    for axis in axes.flat[count:]:
        axis.remove()
    return figure, list(axes.flat[:count])


def save(figure: Figure, path: Path, handles: list, labels: list[str]):
    """Saves PNG and SVG with a legend, without times and program versions, which would change the bytes.

    Arguments:
        path: of the PNG.
    """
    own, above = figure.get_figheight(), head(figure, handles, labels) if labels else 0
    figure.set_figheight(own + above)
    figure.tight_layout(rect=(0, 0, 1, own / (own + above)), w_pad=2, h_pad=2)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150, metadata={"Software": None})
    with atomic(path) as temporary:  # in as many colours as a chart has, which takes a third of the bytes
        Image.open(drawn).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
            temporary, "png", optimize=True
        )
    with atomic(path.with_suffix(".svg")) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)

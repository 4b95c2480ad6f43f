"""Colours of methods, and of other elements. The page's own, light and dark, are in `page/page.css`."""

from itertools import cycle

from stages.report.style.words import label

INK, GREY, LINE = "#22262b", "#6b7280", "#e3e5e8"
METHODS = (  # seaborn's "colorblind" palette, and four of Paul Tol's "muted" one
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"),
    *("#332288", "#117733", "#882255", "#44aa99"),
)


def palette(methods: list[str]) -> dict[str, str]:
    """Label of a method → its colour, the same on the page and in the figures; from the fifteenth on they repeat."""
    return dict(zip(map(label, methods), cycle(METHODS), strict=False))

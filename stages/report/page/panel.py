"""One chart of the page: its rows, alternative text and place in the filter."""

from dataclasses import dataclass, field

import numpy as np

AXIS = 40  # height in pixels of an axis with labels and title


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        kind: of `charts.KINDS`.
        title: over it.
        alt: alternative text.
        rows: its data.
        values: of the chart's signals; and "height" in pixels, if it is not `vega.HEIGHT`.
        dataset, algorithm: names by which the page filters; empty if the panel covers all.
        columns: of a matrix of numbers; the panel scrolls if they do not fit. 0 for other charts.
    """

    kind: str
    title: str
    alt: str
    rows: list[dict]
    values: dict = field(default_factory=dict)
    dataset: str = ""
    algorithm: str = ""
    columns: int = 0

    @property
    def least_width(self) -> int:
        """In pixels, so that the numbers of a matrix beside its row labels do not overlap; 0 for other charts."""
        return 180 + 32 * self.columns if self.columns else 0

    @property
    def style(self) -> str:
        """The chart's size in CSS, so that the page does not move when it is drawn."""
        height = self.values.get("height")
        least = {"width": self.least_width, "height": height and height + AXIS}
        return "; ".join(f"min-{side}: {size}px" for side, size in least.items() if size)

    @property
    def content(self) -> dict:
        """What the page's script needs; rows are lists in the order of `keys`, which halves a large page."""
        keys = list(dict.fromkeys(key for row in self.rows for key in row))
        rows = [[row.get(key) for key in keys] for row in self.rows]
        return {"kind": self.kind, "alt": self.alt, "keys": keys, "rows": rows, "values": self.values}


def compact(record: dict) -> dict:
    """Drops unknown values and rounds floats to five digits."""
    return {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in record.items()
        if value is not None and not (isinstance(value, float) and np.isnan(value))
    }

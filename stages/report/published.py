"""Published scores beside measured ones: the rows of `published_scores.csv`, for runs on D4RL's own files alone.

A column holds one source's numbers under one protocol, so that no row of the table mixes two.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.report.scores import Scores
from stages.report.table import Cell, Group, Row, Table, origin
from stages.report.words import label, mean_text, sentence

OURS = {"bc-10": "bc10"}  # algorithms that the file names otherwise
MEASURED = "measured"


@dataclass(frozen=True)
class Published:
    """A row of published_scores.csv; `algorithm` is empty where a method has none, `std` None where none is given."""

    dataset: str
    method: str
    algorithm: str
    mean: float
    std: float | None
    protocol: str
    source: str

    @property
    def column(self) -> tuple[str, str]:
        return self.protocol, self.source


def read() -> list[Published]:
    """All published scores, algorithms named as they are here."""
    with Path(__file__).with_name("published_scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Published(
            dataset=row["dataset"],
            method=row["method"],
            algorithm=OURS.get(row["algorithm"], row["algorithm"]),
            mean=float(row["mean"]),
            std=float(row["std"]) if row["std"] else None,
            protocol=row["protocol"],
            source=row["source"],
        )
        for row in rows
    ]


def shown(scores: Scores) -> list[Published]:
    """For each data set the grid's cells, then methods without an algorithm; none where the data are not D4RL's."""
    published, found = read(), []
    for dataset, content in scores.collected.items():
        if content["data"]["source"] != "d4rl":  # the same name may stand for other data
            continue
        rows = [row for row in published if row.dataset == dataset]
        cells = [(method, algorithm) for method in scores.methods for algorithm in scores.algorithms]
        found += [row for cell in cells for row in rows if (row.method, row.algorithm) == cell]
        found += [row for row in rows if not row.algorithm]
    return found


def marks(rows: list[Published]) -> dict[tuple[str, str], str]:
    """(protocol, source) → the short mark that heads its column, in order of first appearance."""
    return {column: f"[{k}]" for k, column in enumerate(dict.fromkeys(row.column for row in rows), 1)}


def notes(scores: Scores) -> list[str]:
    """What each mark stands for, and what the columns cannot say."""
    return [
        *(f"{mark} {source}: {protocol}." for (protocol, source), mark in marks(shown(scores)).items()),
        f"{sentence(MEASURED)}: this run's normalised score, as in the table of scores; the last checkpoint.",
        "Protocols differ from column to column: a “best over …” figure is not comparable with a last checkpoint's.",
        "±: as each source gives it, where it gives one. –: not measured here, or not known from that source.",
    ]


def table(scores: Scores) -> Table | None:
    """Measured and published scores side by side; None where the file has nothing on these data."""
    rows = shown(scores)
    if not rows:
        return None
    heads = marks(rows)
    columns = [MEASURED, *heads.values()]
    lines: dict[str, dict[tuple, dict[str, Cell]]] = {}
    frame = []
    for row in rows:
        names = (row.method, row.algorithm)
        place = lines.setdefault(row.dataset, {})
        if names not in place:
            cell = scores.cells.get((row.dataset, *names))
            ours = Cell(mean_text(cell), origin=origin(row.dataset, *names)) if cell else Cell("–")
            place[names] = {**dict.fromkeys(columns, Cell("–")), MEASURED: ours}
            if cell:
                frame.append(
                    {**vars(row), "mean": cell.mean, "std": cell.std, "protocol": MEASURED, "source": MEASURED}
                )
        place[names][heads[row.column]] = Cell(mean_text(row))
        frame.append(vars(row))
    groups = [
        Group(
            dataset,
            [
                Row(sentence(" × ".join(label(name) for name in names if name)), list(cells.values()), names[0])
                for names, cells in found.items()
            ],
            dataset,
        )
        for dataset, found in lines.items()
    ]
    return Table("published", "Published scores", columns, groups, notes(scores), pd.DataFrame(frame))

"""Published scores beside measured ones: the rows of `published_scores.csv`, for runs on D4RL's own files only.

A column holds the numbers of one source under one protocol, so no column mixes two. A published method stands in one
row with a measured one only if both are the same method; notes say how the implementations differ. DWM's one-step model
is a single Gaussian network and not the ensemble of the baseline `onestep`, so it has a name and a row of its own.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from stages.report.statistics.scores import Scores
from stages.report.style.words import label, mean_text, sentence
from stages.report.tables.table import Cell, Group, Row, Table, origin

OURS = {"bc-10": "bc10"}  # an algorithm's name in the file → its name here
UNMEASURED = ("one-step-gaussian",)  # published methods with a policy algorithm that have no counterpart here
DIFFERENCES = {  # method → how what was published differs from what is measured here
    "real": "published policies were trained with their source's networks, updates and batches (those of the thesis are"
    " its author's re-runs), measured ones with those of params.yaml",
    "dwm": "DWM's authors sample new futures at every critic update and report the best of several horizons and target"
    " returns; here the futures are sampled once, before the policies train, for one horizon and one target return",
    "synther": "the published numbers are of a re-implementation by DWM's authors, with DWM's normaliser and noise"
    " levels (5 in training, 3 in sampling); the measured method follows SynthER's paper",
    "one-step-gaussian": "a single network with a Gaussian output; the baseline “one-step model” is an ensemble in the"
    " manner of MOPO",
}
MEASURED = "measured"


@dataclass(frozen=True)
class Published:
    """A row of published_scores.csv; `algorithm` is empty if the method has none, `std` is None if none is given."""

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
    """All published scores, with the algorithms' names of this project."""
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
    """The rows to show of each data set: the grid's cells, then `UNMEASURED` methods, then those without an algorithm.

    A data set that is not D4RL's own file has none, since its name may stand for other data.
    """
    published, chosen = read(), []
    for dataset, content in scores.collected.items():
        if content["data"]["source"] != "d4rl":
            continue
        rows = [row for row in published if row.dataset == dataset]
        methods = (*scores.methods, *UNMEASURED)
        cells = [(method, algorithm) for method in methods for algorithm in scores.algorithms]
        chosen += [row for cell in cells for row in rows if (row.method, row.algorithm) == cell]
        chosen += [row for row in rows if not row.algorithm]
    return chosen


def marks(rows: list[Published]) -> dict[tuple[str, str], str]:
    """(protocol, source) → the short mark that heads its column, in order of first appearance."""
    return {column: f"[{k}]" for k, column in enumerate(dict.fromkeys(row.column for row in rows), 1)}


def notes(scores: Scores) -> list[str]:
    """The meaning of each mark, and how published and measured numbers differ."""
    rows = shown(scores)
    methods = dict.fromkeys(row.method for row in rows)
    return [
        *(f"{mark} {source}: {protocol}." for (protocol, source), mark in marks(rows).items()),
        f"{sentence(MEASURED)}: the normalised score of this run's last checkpoint, as in the table of scores.",
        "Protocols differ from column to column: a “best over …” number is not comparable with a last checkpoint's.",
        *(f"{sentence(label(name))}: {DIFFERENCES[name]}." for name in methods if name in DIFFERENCES),
        "±: as given by the source, if it gives one. –: not measured in this run, or not given by that source.",
    ]


def table(scores: Scores) -> Table | None:
    """Measured and published scores side by side; None if nothing is published on these data."""
    rows = shown(scores)
    if not rows:
        return None
    heads = marks(rows)
    columns = [MEASURED, *heads.values()]
    lines: dict[str, dict[tuple, dict[str, Cell]]] = {}
    frame = []
    for row in rows:
        names = (row.method, row.algorithm)
        of_dataset = lines.setdefault(row.dataset, {})
        if names not in of_dataset:
            cell = scores.cells.get((row.dataset, *names))
            measured = Cell(mean_text(cell), origin=origin(row.dataset, *names)) if cell else Cell("–")
            of_dataset[names] = {**dict.fromkeys(columns, Cell("–")), MEASURED: measured}
            if cell:
                frame.append(
                    {**vars(row), "mean": cell.mean, "std": cell.std, "protocol": MEASURED, "source": MEASURED}
                )
        of_dataset[names][heads[row.column]] = Cell(mean_text(row))
        frame.append(vars(row))
    groups = [
        Group(
            dataset,
            [
                Row(sentence(" × ".join(label(name) for name in names if name)), list(cells.values()), names[0])
                for names, cells in of_dataset.items()
            ],
            dataset,
        )
        for dataset, of_dataset in lines.items()
    ]
    return Table("published", "Published scores", columns, groups, notes(scores), pd.DataFrame(frame))

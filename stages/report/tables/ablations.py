"""Tables of the ablations, from the numbers that `python -m ablations` leaves in `results/ablations/`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.files import write_json, write_text
from stages.report.style.words import bracket, label, number
from stages.report.tables.fidelity import short
from stages.report.tables.table import Cell, Group, Row, Table

FOLDER = Path("results/ablations")
NOTE = (
    "Scores: mean over seeds [bootstrap interval]. Error: of the next state against the simulator, in standard"
    " deviations of the real data. Spread: standard deviation of imagined actions relative to real ones, averaged over"
    " dimensions and steps. Steering: rank correlation of the return-to-go conditioned on and the one reached, beyond"
    " what the start predicts. Generation time: seconds spent on training the method's generators and sampling its"
    " transitions. Seconds are those of each stage's last run on the machine that ran the ablation."
)


@dataclass(frozen=True)
class Ablation:
    """Results of one parameter at several values.

    Attributes:
        about: sentences on how it was run.
        frame: a row for each value, data set, method and algorithm.
    """

    param: str
    about: list[str]
    frame: pd.DataFrame

    @property
    def name(self) -> str:
        """Stem of its files in results/ablations/."""
        return re.sub(r"[^\w.-]+", "-", self.param)

    @property
    def title(self) -> str:
        """Stem of its table and figure in reports/."""
        return f"ablation-{self.name}"


def save(ablation: Ablation):
    """Writes the numbers and the sentences to `FOLDER`."""
    table = ablation.frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(FOLDER / f"{ablation.name}.csv", table)
    write_json(FOLDER / f"{ablation.name}.json", {"param": ablation.param, "about": ablation.about})


def read() -> list[Ablation]:
    """All ablations in `FOLDER`, sorted by name."""
    ablations = []
    for path in sorted(FOLDER.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        frame = pd.read_csv(path.with_name(f"{path.stem}.csv"), dtype={"value": str})
        ablations.append(Ablation(record["param"], record["about"], frame))
    return ablations


def whole(value: float | None) -> str:
    """A rounded number, a dash for None."""
    return "–" if value is None else f"{value:,.0f}"


TIMES = ["seconds_making", "seconds_policy"]
MEASURES = {  # heading → column and its number format
    "error, median": ("error_median", short),
    "90th": ("error_p90", short),
    "last step": ("error_last_step", short),
    "spread": ("action_spread", short),
    "steering": ("steering", short),
    "generation, s": ("seconds_making", whole),
}


def score(cell: pd.Series) -> Cell:
    return Cell(number(cell["score"]), under=bracket(cell))


def table(ablation: Ablation) -> Table:
    """A group for each data set and method, a row for each value; a single row if the parameter changes nothing."""
    frame = ablation.frame
    algorithms = list(dict.fromkeys(frame["algorithm"]))
    measures = {heading: kind for heading, kind in MEASURES.items() if frame[kind[0]].notna().any()}
    timed, groups = frame["seconds_policy"].notna().any(), []
    for (dataset, method), part in frame.groupby(["dataset", "method"], sort=False):
        unchanged = len(part.drop(columns=["value", *TIMES]).drop_duplicates()) == part["algorithm"].nunique()
        if unchanged and part["value"].nunique() > 1:
            part = part.drop_duplicates("algorithm").assign(value="every value")
        rows = []
        for value, group in part.groupby("value", sort=False):
            cells = group.set_index("algorithm").astype(object).replace({np.nan: None})
            scores = [score(cells.loc[name]) if name in cells.index else Cell(whole(None)) for name in algorithms]
            first, seconds = cells.iloc[0], group["seconds_policy"]
            others = [Cell(form(first[column])) for column, form in measures.values()]
            total = [Cell(whole(seconds.sum() if seconds.notna().all() else None))] if timed else []
            rows.append(Row(str(value), [*scores, *others, *total]))
        groups.append(Group(f"{dataset}, {label(method)}", rows))
    columns = [*map(label, algorithms), *measures, *(["policies, s"] if timed else [])]
    title, notes = f"Ablation of {ablation.param}", [*ablation.about, NOTE]
    return Table(ablation.title, title, columns, groups, notes, frame, ablation.param, "data set, method")

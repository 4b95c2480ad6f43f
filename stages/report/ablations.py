"""Ablations, of which `python -m ablations` leaves the numbers in `results/ablations/`, as tables and figures."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.files import write_json, write_text
from stages.report.ablation_figure import draw
from stages.report.fidelity import short
from stages.report.table import Cell, Group, Row, Table, write
from stages.report.words import bracket, label, number

FOLDER = Path("results/ablations")
NOTE = (
    "Scores: mean over seeds [bootstrap interval]. Next-state errors against the simulator, in standard deviations of"
    " the real data. Spread: standard deviation of imagined actions over the real ones, averaged. Steering: rank"
    " correlation of what is asked and reached, beyond what the start tells. Seconds: of the machine that ran it, when"
    " each stage last ran there; making is the training of what a method's transitions come from, and their sampling."
)


@dataclass(frozen=True)
class Ablation:
    """One parameter at several values.

    Attributes:
        about: sentences that say what was run.
        frame: a row for each value, data set, method and algorithm.
    """

    param: str
    about: list[str]
    frame: pd.DataFrame

    @property
    def name(self) -> str:
        """Of its files."""
        return re.sub(r"[^\w.-]+", "-", self.param)


def save(ablation: Ablation):
    table = ablation.frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(FOLDER / f"{ablation.name}.csv", table)
    write_json(FOLDER / f"{ablation.name}.json", {"param": ablation.param, "about": ablation.about})


def read() -> list[Ablation]:
    """All that lie there, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        table = pd.read_csv(path.with_name(f"{path.stem}.csv"), dtype={"value": str})
        found.append(Ablation(told["param"], told["about"], table))
    return found


def whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


MEASURES = {  # heading: column and how it is written
    "error, median": ("error_median", short),
    "90th": ("error_p90", short),
    "last step": ("error_last_step", short),
    "spread": ("action_spread", short),
    "steering": ("steering", short),
    "making, s": ("seconds_making", whole),
}


def table(ablation: Ablation) -> Table:
    """A group for each data set and method, a row for each value."""
    frame = ablation.frame
    algorithms = list(dict.fromkeys(frame["algorithm"]))
    measures = {name: kind for name, kind in MEASURES.items() if frame[kind[0]].notna().any()}
    groups = []
    for (dataset, method), part in frame.groupby(["dataset", "method"], sort=False):
        rows = []
        for value, group in part.groupby("value", sort=False):
            cells = group.set_index("algorithm").astype(object).replace({np.nan: None})
            scores = [Cell(number(cell["score"]), under=bracket(cell)) for _, cell in cells.loc[algorithms].iterrows()]
            first, took = cells.iloc[0], group["seconds_policy"]
            own = [Cell(form(first[name])) for name, form in measures.values()]
            rows.append(Row(str(value), [*scores, *own, Cell(whole(took.sum() if took.notna().all() else None))]))
        groups.append(Group(f"{dataset}, {label(method)}", rows))
    columns = [*map(label, algorithms), *measures, "policies, s"]
    title, notes = f"Ablation of {ablation.param}", [*ablation.about, NOTE]
    return Table(f"ablation-{ablation.name}", title, columns, groups, notes, frame, ablation.param, "of")


def show(ablation: Ablation) -> Table:
    """Writes table and figure."""
    found = table(ablation)
    write(found, Path("reports/tables"))
    draw(ablation.frame, ablation.param, Path("reports/figures") / f"{found.name}.png")
    return found

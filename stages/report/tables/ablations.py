"""Tables of the ablations, from the numbers that `python -m ablations` leaves in `results/ablations/`."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.files import write_json, write_text
from stages.report.statistics.bootstrap import Estimate
from stages.report.style.words import bracket, label, number
from stages.report.tables.fidelity import short
from stages.report.tables.table import Cell, Group, Row, Table, origin

FOLDER = Path("results/ablations")
NOTE = (
    "Scores: mean over seeds [bootstrap interval]. Error: of the next state against the simulator, in standard"
    " deviations of the real data. Spread: standard deviation of imagined actions relative to real ones, averaged over"
    " dimensions and steps. Steering: rank correlation of the return-to-go conditioned on and the one reached, beyond"
    " what the start predicts. Generation time: seconds spent on training the method's generators and sampling its"
    " transitions. Seconds are those of each stage's last run on the machine that ran the ablation."
)


DIFFERENCE_NOTE = (
    "Differences: the method's score minus that of real data at the same value, with the same algorithm. Their"
    " intervals are approximate: they follow from the two scores' intervals as for independent means (MOVER, Zou and"
    " Donner 2008, Statistics in Medicine 27), while the report's other tables resample the seeds."
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

    @property
    def origin(self) -> str:
        """Key of its provenance record on the page."""
        return origin("ablations", self.name)


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


def parts(frame: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """(data set, method, its rows); the rows of a single value, "every value", if the parameter changes nothing."""
    shown = []
    for (dataset, method), part in frame.groupby(["dataset", "method"], sort=False):
        unchanged = len(part.drop(columns=["value", *TIMES]).drop_duplicates()) == part["algorithm"].nunique()
        if unchanged and part["value"].nunique() > 1:
            part = part.drop_duplicates("algorithm").assign(value="every value")
        shown.append((dataset, method, part))
    return shown


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """The methods' rows with `difference`, `difference_low` and `difference_high`: score minus that of real data at the
    same value. The ends are NaN if an interval is missing.
    """
    keys = ["value", "dataset", "algorithm"]
    real = frame[frame["method"] == "real"][[*keys, "score", "low", "high"]]
    both = frame[frame["method"] != "real"].merge(real, on=keys, suffixes=("", "_real"))
    below = np.hypot(both["score"] - both["low"], both["high_real"] - both["score_real"])
    above = np.hypot(both["high"] - both["score"], both["score_real"] - both["low_real"])
    gain = both["score"] - both["score_real"]
    both = both.drop(columns=["score_real", "low_real", "high_real"])
    return both.assign(difference=gain, difference_low=gain - below, difference_high=gain + above)


def gain(row) -> Estimate:
    """The difference in a row of `differences`."""
    low, high = (None if np.isnan(end) else float(end) for end in (row["difference_low"], row["difference_high"]))
    return Estimate(float(row["difference"]), None, low, high, None, {})


def difference_table(ablation: Ablation) -> Table | None:
    """A group for each data set and method, a row for each value; None without real data to compare with."""
    frame = differences(ablation.frame)
    if frame.empty:
        return None
    algorithms, groups = list(dict.fromkeys(frame["algorithm"])), []
    for dataset, method, part in parts(frame):
        rows = []
        for value, group in part.groupby("value", sort=False):
            gains = {row["algorithm"]: gain(row) for _, row in group.iterrows()}
            cells = {
                name: Cell(number(each.mean, sign=True), under=bracket(each), origin=ablation.origin)
                for name, each in gains.items()
            }
            rows.append(Row(str(value), [cells.get(name, Cell(whole(None))) for name in algorithms], method))
        groups.append(Group(f"{dataset}, {label(method)}", rows, dataset))
    title, notes = f"Ablation of {ablation.param}, difference from real data", [*ablation.about, DIFFERENCE_NOTE]
    name, columns = f"{ablation.title}-differences", list(map(label, algorithms))
    kept = frame[["value", "dataset", "method", "algorithm", "difference", "difference_low", "difference_high"]]
    heads = {"corner": ablation.param, "over": "data set, method"}
    return Table(name, title, columns, groups, notes, kept, **heads, algorithms=algorithms)


def score_table(ablation: Ablation) -> Table:
    """All numbers: a group for each data set and method, a row for each value."""
    frame, key = ablation.frame, ablation.origin
    algorithms = list(dict.fromkeys(frame["algorithm"]))
    measures = {heading: kind for heading, kind in MEASURES.items() if frame[kind[0]].notna().any()}
    timed, groups = frame["seconds_policy"].notna().any(), []
    for dataset, method, part in parts(frame):
        rows = []
        for value, group in part.groupby("value", sort=False):
            cells = group.set_index("algorithm").astype(object).replace({np.nan: None})
            scores = [
                Cell(number(cells.loc[name]["score"]), under=bracket(cells.loc[name]), origin=key)
                if name in cells.index
                else Cell(whole(None))
                for name in algorithms
            ]
            first, seconds = cells.iloc[0], group["seconds_policy"]
            others = [Cell(form(first[column]), origin=key) for column, form in measures.values()]
            total = [Cell(whole(seconds.sum() if seconds.notna().all() else None), origin=key)] if timed else []
            rows.append(Row(str(value), [*scores, *others, *total], method))
        groups.append(Group(f"{dataset}, {label(method)}", rows, dataset))
    columns = [*map(label, algorithms), *measures, *(["policies, s"] if timed else [])]
    title, notes = f"Ablation of {ablation.param}", [*ablation.about, NOTE]
    axes = [*algorithms, *[""] * (len(columns) - len(algorithms))]
    heads = {"corner": ablation.param, "over": "data set, method"}
    return Table(ablation.title, title, columns, groups, notes, frame, **heads, algorithms=axes)


def tables(ablation: Ablation) -> list[Table]:
    """All numbers, and the differences if there are real data to compare with."""
    return [made for made in (score_table(ablation), difference_table(ablation)) if made]

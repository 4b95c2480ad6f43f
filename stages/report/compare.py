"""Two runs side by side: `python -m stages.report.compare REV_A [REV_B] [--out FILE]` prints what differs, as Markdown.

REV is whatever git takes for a commit, the name of a DVC experiment, or `workspace`, the files as they lie here. Of
both sides `results/scores.csv` and `params.yaml` are read, below the present folder; nothing is checked out.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from stages.common.files import write_text
from stages.report.aggregates import drawn
from stages.report.revisions import WORKSPACE, Cell, Run, code_changes, read
from stages.report.statistics import LEAST_FREEDOM, Estimate, average, difference, estimate, units
from stages.report.words import bracket, label, listed, mean_text, number, percent, plain, plural, sentence

ABSENT, FEW = "absent", "too few seeds"
LONGEST = 60  # letters of a parameter's value that are shown


class Row(NamedTuple):
    """A line of the table; `same` where every seed scores the same on both sides, and then `gain` has no interval."""

    names: Cell
    a: Estimate
    b: Estimate
    gain: Estimate
    same: bool


def estimates(run: Run, side: str, cells: list[Cell], report: dict) -> dict[Cell, Estimate]:
    """Of those cells."""
    runs = drawn({names: run.cells[names] for names in cells}, report["resamples"], "compare", side)
    return {names: estimate(*found, report["confidence"]) for names, found in runs.items()}


def compared(a: Run, b: Run) -> list[Row]:
    """A row for each cell of both, then averages of a method and algorithm over several data sets of one scale."""
    report, rows, averages = b.params["report"], [], []
    confidence, cells = report["confidence"], [names for names in a.cells if names in b.cells]
    first, second = estimates(a, "a", cells, report), estimates(b, "b", cells, report)
    for names in cells:
        one, two = first[names], second[names]
        same = np.array_equal(one.values, two.values)
        if same:  # one run, found on both sides: its chance is in no difference, nor in an average's
            one, two = replace(one, parts={}), replace(two, parts={})
        rows.append(Row(names, one, two, difference(two, one, confidence), same))
    for pair in dict.fromkeys(names[1:] for names in cells):
        parts = [row for row in rows if row.names[1:] == pair and row.names[0] not in a.raw | b.raw]
        if len(parts) > 1:
            one, two = average([row.a for row in parts], confidence), average([row.b for row in parts], confidence)
            gain, same = difference(two, one, confidence), all(row.same for row in parts)
            averages.append(Row((f"average of {len(parts)}", *pair), one, two, gain, same))
    return rows + averages


def verdict(row: Row) -> str:
    if row.same or row.gain.low is None:
        return "the same results" if row.same else FEW
    if row.gain.excludes_zero:
        return "more" if row.gain.low > 0 else "less"
    return "no difference shown"


def changes(a: dict, b: dict, prefix: str = "") -> list[str]:
    """A line for each parameter, or whole section of one side, that differs; values as YAML writes them."""
    found = []
    for key in a | b:
        old, new = a.get(key, ABSENT), b.get(key, ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            found += changes(old, new, f"{prefix}{key}.")
        elif old != new:
            texts = (yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1e6) for value in (old, new))
            values = [text.removesuffix("...\n").strip() for text in texts]
            values = ["{…}" if value[0] == "{" and len(value) > LONGEST else value for value in values]
            found.append(f"`{prefix}{key}`: {' → '.join(values)}")
    return found


def notes(a: Run, b: Run, rows: list[Row]) -> list[str]:
    """What the numbers mean and what they leave out."""
    cells, report = [row for row in rows if row.names in a.cells], b.params["report"]
    found = ["±: sample standard deviation (n−1) over seeds. The same results: every seed scores the same in A and B."]
    if raw := list(dict.fromkeys(row.names[0] for row in cells if row.names[0] in a.raw | b.raw)):
        found.append(f"{listed(raw)}: plain returns, since no reference scores are stored; in no average.")
    if any(row.gain.low is not None for row in rows):
        kind = f"{percent(report['confidence'])} interval of the difference, expanded bootstrap percentiles"
        drawn = "A and B resampled independently, by seeds, or by generators and then the seeds of each"
        found.append(f"Brackets: {kind}, {plural(report['resamples'], 'resample')}; {drawn}.")
    if any(verdict(row) == FEW for row in rows):
        found.append(
            f"{sentence(FEW)}: Σ (n − 1) is below {LEAST_FREEDOM}, n a side's seeds, or generators where several."
        )
    sides = [(row.names[1], *run.cells[row.names]) for row in cells if not row.same for run in (a, b)]
    if single := [name for name, seeds, made in sides if made and not units(len(seeds), made)[1]]:
        alone = "all policies of a side learned from one generator, whose chance is in no interval"
        found.append(f"{listed(map(label, dict.fromkeys(single)))}: {alone}.")
    if tested := [row.gain.excludes_zero for row in cells if row.gain.low is not None]:
        chance = plain((1 - report["confidence"]) * len(tested))
        of = f"{sum(tested)} of {plural(len(tested), 'difference')}, averages not counted"
        found.append(f"Intervals exclude 0 for {of}; by chance alone, about {chance} would.")
    return found


def markdown(a: Run, b: Run) -> str:
    """The table and what goes below it; SystemExit where the data are of different sources."""
    sources = a.params["source"], b.params["source"]
    if sources[0] != sources[1]:
        raise SystemExit(f"the data are of different sources ({', '.join(sources)}): these scores do not compare")
    rows, alone = compared(a, b), []
    for side, run, other in (("A", a, b), ("B", b, a)):
        alone += [f"only {side}: {' × '.join(map(label, names))}" for names in run.cells if names not in other.cells]
    heads = ["| data set | method | algorithm | A | B | B − A | verdict |", "|:--|:--|:--|--:|--:|--:|:--|"]
    lines = [f"A: {a.title}. B: {b.title}.", "", *(heads if rows else ["No cell is in both."])]
    for row in rows:
        texts = [mean_text(side) for side in (row.a, row.b)]
        gain = f"{number(row.gain.mean, sign=True)} {bracket(row.gain)}".strip()
        lines.append(f"| {' | '.join([*map(label, row.names), *texts, gain, verdict(row)])} |")
    changed = changes(a.params, b.params) or ["Same parameters."]
    code = code_changes(a, b)
    changed += [f"The code differs, too: {plural(len(code), 'file')} under stages."] if code else []
    sections = {"Parameters:": changed, "Cells of one side:": alone, "Notes:": notes(a, b, rows) if rows else []}
    for title, items in sections.items():
        lines += ["", title, "", *(f"- {item}" for item in items)] if items else []
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="REV_A")
    parser.add_argument("b", metavar="REV_B", nargs="?", default=WORKSPACE)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it there too")
    given = parser.parse_args()
    text = markdown(read(given.a), read(given.b))
    if given.out:
        write_text(given.out, text)
    print(text, end="")


if __name__ == "__main__":
    main()

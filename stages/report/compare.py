"""Compares two runs: `python -m stages.report.compare REV_A [REV_B] [--out FILE]` prints their differences as Markdown.

REV is a git revision, the name of a DVC experiment, or `workspace` for the files in the working tree. Of each run only
`results/scores.csv` and `params.yaml` are read, relative to the current folder; nothing is checked out.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from stages.common.files import write_text
from stages.report.revisions import WORKSPACE, Cell, Run, code_changes, read
from stages.report.statistics.aggregates import resampled_runs
from stages.report.statistics.bootstrap import LEAST_FREEDOM, Estimate, average, difference, estimate, units
from stages.report.style.words import bracket, label, listed, mean_text, number, percent, plain, plural, sentence

ABSENT, FEW, SAME = "absent", "too few seeds", "identical results"
LONGEST = 60  # characters of a parameter section that are shown in full


class Row(NamedTuple):
    """A row of the table.

    `same`: every seed scores the same in A and B, and `gain` has no interval.
    """

    names: Cell
    a: Estimate
    b: Estimate
    gain: Estimate
    same: bool


def estimates(run: Run, side: str, cells: list[Cell], report: dict) -> dict[Cell, Estimate]:
    """Estimates of those cells of one run."""
    runs = resampled_runs({names: run.cells[names] for names in cells}, report["resamples"], "compare", side)
    return {names: estimate(*cell, report["confidence"]) for names, cell in runs.items()}


def compared(a: Run, b: Run) -> list[Row]:
    """A row for each cell that both runs have, then averages over data sets with normalised scores."""
    report, rows, averages = b.params["report"], [], []
    confidence, cells = report["confidence"], [names for names in a.cells if names in b.cells]
    first, second = estimates(a, "a", cells, report), estimates(b, "b", cells, report)
    for names in cells:
        one, two = first[names], second[names]
        same = np.array_equal(one.values, two.values)
        if same:  # the same run on both sides: it adds no randomness to a difference or an average
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
    """Whether B scores more or less than A, as text."""
    if row.same or row.gain.low is None:
        return SAME if row.same else FEW
    if row.gain.excludes_zero:
        return "more" if row.gain.low > 0 else "less"
    return "no difference shown"


def changes(a: dict, b: dict, prefix: str = "") -> list[str]:
    """A line for each parameter that differs, or section that only one side has; values in YAML's notation."""
    lines = []
    for key in a | b:
        old, new = a.get(key, ABSENT), b.get(key, ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += changes(old, new, f"{prefix}{key}.")
        elif old != new:
            texts = (yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1e6) for value in (old, new))
            values = [text.removesuffix("...\n").strip() for text in texts]
            values = ["{…}" if value[0] == "{" and len(value) > LONGEST else value for value in values]
            lines.append(f"`{prefix}{key}`: {' → '.join(values)}")
    return lines


def notes(a: Run, b: Run, rows: list[Row]) -> list[str]:
    """The meaning of the numbers, and what the intervals do not cover."""
    cells, report = [row for row in rows if row.names in a.cells], b.params["report"]
    lines = [f"±: sample standard deviation (n−1) over seeds. {sentence(SAME)}: every seed scores the same in A and B."]
    if raw := list(dict.fromkeys(row.names[0] for row in cells if row.names[0] in a.raw | b.raw)):
        lines.append(f"{listed(raw)}: plain returns, since no reference returns are stored; they enter no average.")
    if any(row.gain.low is not None for row in rows):
        kind = f"{percent(report['confidence'])} interval of the difference, expanded bootstrap percentiles"
        scheme = "A and B resampled independently, by seeds, or by generators and then the seeds of each"
        lines.append(f"Brackets: {kind}, {plural(report['resamples'], 'resample')}; {scheme}.")
    if any(verdict(row) == FEW for row in rows):
        lines.append(
            f"{sentence(FEW)}: Σ (n − 1) is below {LEAST_FREEDOM}; n counts each side's generators if it has several,"
            " otherwise its seeds."
        )
    sides = [(row.names[1], *run.cells[row.names]) for row in cells if not row.same for run in (a, b)]
    if single := [name for name, seeds, generators in sides if generators and not units(len(seeds), generators)[1]]:
        alone = "all policies of a side learned from one generator, whose randomness no interval covers"
        lines.append(f"{listed(map(label, dict.fromkeys(single)))}: {alone}.")
    if tested := [row.gain.excludes_zero for row in cells if row.gain.low is not None]:
        chance = plain((1 - report["confidence"]) * len(tested))
        count = f"{sum(tested)} of {plural(len(tested), 'difference')}, averages not counted"
        lines.append(f"Intervals exclude 0 for {count}; by chance alone, about {chance} would.")
    return lines


def markdown(a: Run, b: Run) -> str:
    """The comparison as Markdown: the table, changed parameters and code, cells of one side, and notes.

    Raises:
        SystemExit: if the data come from different sources.
    """
    sources = a.params["source"], b.params["source"]
    if sources[0] != sources[1]:
        raise SystemExit(f"the data come from different sources ({', '.join(sources)}): the scores are not comparable")
    rows, alone = compared(a, b), []
    for side, run, other in (("A", a, b), ("B", b, a)):
        alone += [f"only {side}: {' × '.join(map(label, names))}" for names in run.cells if names not in other.cells]
    heads = ["| data set | method | algorithm | A | B | B − A | verdict |", "|:--|:--|:--|--:|--:|--:|:--|"]
    lines = [f"A: {a.title}. B: {b.title}.", "", *(heads if rows else ["A and B have no cell in common."])]
    for row in rows:
        texts = [mean_text(side) for side in (row.a, row.b)]
        gain = f"{number(row.gain.mean, sign=True)} {bracket(row.gain)}".strip()
        lines.append(f"| {' | '.join([*map(label, row.names), *texts, gain, verdict(row)])} |")
    changed = changes(a.params, b.params) or ["Same parameters."]
    code = code_changes(a, b)
    changed += [f"The code differs as well: {plural(len(code), 'file')} under stages."] if code else []
    sections = {"Parameters:": changed, "Cells in one run only:": alone, "Notes:": notes(a, b, rows) if rows else []}
    for title, items in sections.items():
        lines += ["", title, "", *(f"- {item}" for item in items)] if items else []
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="REV_A")
    parser.add_argument("b", metavar="REV_B", nargs="?", default=WORKSPACE)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the Markdown to this file")
    given = parser.parse_args()
    text = markdown(read(given.a), read(given.b))
    if given.out:
        write_text(given.out, text)
    print(text, end="")


if __name__ == "__main__":
    main()

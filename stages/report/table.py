"""One table, three files and a part of the page: what is shown once, and the same numbers in tidy form."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stages.common.files import write_text

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "²": r"$^2$",
    "σ": r"$\sigma$",
    "γ": r"$\gamma$",
    "≥": r"$\geq$",
    "–": "--",
    "“": "``",
    "”": "''",
    "[": "{[}",  # after a line's end it would be read as its option
    **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
}
LINES = 34  # of a page of LaTeX, beside headings and notes
MARKS = {"best": ("**{}**", r"\textbf{{{}}}"), "tied": ("*{}*", r"\underline{{{}}}")}  # in Markdown, in LaTeX


def origin(*names: str) -> str:
    """Key of the record that says where a number is from: of a cell, of what a method made, of a data set."""
    return "/".join(names)


def tone(low: float | None, high: float | None, even: float) -> str:
    """Coloured only where the interval excludes what would be no difference."""
    return "" if low is None else "more" if low > even else "less" if high < even else ""


@dataclass(frozen=True)
class Cell:
    """What one cell shows.

    Attributes:
        beside: after the text, softly: its spread.
        under: on a line of its own where there is room: its interval or a verdict.
        mark: best, tied or nothing.
        tone: more, less or nothing: the page colours it.
        origin: key of the page's record that says where the number is from.
    """

    text: str
    beside: str = ""
    under: str = ""
    mark: str = ""
    tone: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Row:
    """`method` is the row's name in params.yaml, by which the page filters; empty where it has none."""

    label: str
    cells: list[Cell]
    method: str = ""


@dataclass(frozen=True)
class Group:
    """Rows on one data set or of one algorithm, with its name in params.yaml, by which the page filters."""

    heading: str
    rows: list[Row]
    dataset: str = ""
    algorithm: str = ""


@dataclass(frozen=True)
class Table:
    """A table with groups of rows, and the sentences under it.

    Attributes:
        name: of its files.
        columns: headings, without those of the rows.
        frame: the numbers, tidy: a row for each cell, or for each row where columns differ in kind.
        over: what the groups' headings name.
        algorithms: the columns' names in params.yaml, by which the page filters; empty where they have none.
    """

    name: str
    title: str
    columns: list[str]
    groups: list[Group]
    notes: list[str]
    frame: pd.DataFrame
    corner: str = "method"
    over: str = "data set"
    algorithms: list[str] = field(default_factory=list)

    @property
    def grouped(self) -> bool:
        return any(group.heading for group in self.groups)


def marked(cell: Cell, text: str, language: int) -> str:
    return MARKS[cell.mark][language].format(text) if cell.mark else text


def markdown(table: Table) -> str:
    """With a first column for the groups' headings, where there are any."""
    first = [table.over] if table.grouped else []
    lines = [
        f"| {' | '.join([*first, table.corner, *table.columns])} |",
        f"|{':--|' * (len(first) + 1)}{'--:|' * len(table.columns)}",
    ]
    for group in table.groups:
        for row in group.rows:
            texts = [
                " ".join(filter(None, (marked(cell, cell.text, 0), cell.beside, cell.under))) for cell in row.cells
            ]
            lines.append(f"| {' | '.join([*([group.heading] if first else []), row.label, *texts])} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands here."""
    return re.sub("|".join(map(re.escape, ESCAPES)), lambda found: ESCAPES[found[0]], text)


def height(group: Group) -> int:
    """Lines that a group takes in LaTeX, where what is under a cell has a line of its own."""
    return bool(group.heading) + sum(2 if any(cell.under for cell in row.cells) else 1 for row in group.rows)


def pages(table: Table) -> list[list[Group]]:
    """Its groups, as many to a page as fit."""
    found, filled = [[]], 0
    for group in table.groups:
        if found[-1] and filled + height(group) > LINES:
            found.append([])
            filled = 0
        found[-1].append(group)
        filled += height(group)
    return found


def tabular(table: Table, groups: list[Group], caption: str) -> str:
    width = len(table.columns)
    size, gap = (
        (r"\small", "5pt") if width <= 4 else (r"\footnotesize", "4pt") if width <= 6 else (r"\scriptsize", "2.5pt")
    )
    lines = [
        r"\begin{table}",
        rf"\centering{size}\setlength{{\tabcolsep}}{{{gap}}}",
        rf"\begin{{tabular}}{{l{'r' * width}}}",
        r"\toprule",
        " & ".join(map(escape, [table.corner, *table.columns])) + r" \\",
    ]
    for group in groups:
        lines.append(r"\midrule")
        if group.heading:
            lines.append(rf"\multicolumn{{{width + 1}}}{{l}}{{\textit{{{escape(group.heading)}}}}} \\")
        for row in group.rows:
            texts = [f"{marked(cell, escape(cell.text), 1)} {escape(cell.beside)}".strip() for cell in row.cells]
            lines.append(" & ".join([escape(row.label), *texts]) + r" \\")
            if any(cell.under for cell in row.cells):
                under = [rf"{{\scriptsize {escape(cell.under)}}}" if cell.under else "" for cell in row.cells]
                lines.append(" & ".join(["", *under]) + r" \\")
    end = [r"\bottomrule", r"\end{tabular}", rf"\caption{{{escape(caption)}}}", r"\end{table}"]
    return "\n".join([*lines, *end]) + "\n"


def latex(table: Table) -> str:
    """To be read with `\\input` where booktabs is loaded: a table for each page that it fills."""
    parts = pages(table)
    captions = [" ".join([f"{table.title}.", *table.notes]), *[f"{table.title}, continued."] * (len(parts) - 1)]
    return "".join(tabular(table, groups, caption) for groups, caption in zip(parts, captions, strict=True))


def write(table: Table, folder: Path):
    """NAME.md, NAME.tex and NAME.csv."""
    write_text(folder / f"{table.name}.md", markdown(table))
    write_text(folder / f"{table.name}.tex", latex(table))
    write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))

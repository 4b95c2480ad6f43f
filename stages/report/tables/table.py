"""A table of the report: as it is shown in Markdown, LaTeX and on the page, and its numbers in tidy form as CSV."""

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
    "[": "{[}",  # LaTeX reads a bracket after a line break as an option
    **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
}
LINES = 34  # lines of a LaTeX page that rows may take, beside headings and notes
MARKS = {"best": ("**{}**", r"\textbf{{{}}}"), "tied": ("*{}*", r"\underline{{{}}}")}  # in Markdown, in LaTeX


def origin(*names: str) -> str:
    """Key of the page's provenance record: of a cell (data set, method, algorithm), a method's data, or a data set."""
    return "/".join(names)


def tone(low: float | None, high: float | None, even: float) -> str:
    """`more` or `less` if the interval excludes `even`, the value of no difference; otherwise empty."""
    return "" if low is None else "more" if low > even else "less" if high < even else ""


@dataclass(frozen=True)
class Cell:
    """One cell of a table.

    Attributes:
        text: the number.
        beside: its spread, shown after the text in a lighter style.
        under: its interval or a verdict, shown on a second line if there is room.
        mark: `best`, `tied` or empty.
        tone: `more`, `less` or empty; the page colours the cell by it.
        origin: key of the number's provenance record on the page; empty if it has none.
    """

    text: str
    beside: str = ""
    under: str = ""
    mark: str = ""
    tone: str = ""
    origin: str = ""


NOT_APPLICABLE = Cell("n/a")  # of the algorithm, whatever the method


@dataclass(frozen=True)
class Row:
    """One row of a table; `method` is the name that the page filters by, empty if the row is of no method."""

    label: str
    cells: list[Cell]
    method: str = ""


@dataclass(frozen=True)
class Group:
    """Rows that belong to one data set or one algorithm, whose name the page filters by; empty if to neither."""

    heading: str
    rows: list[Row]
    dataset: str = ""
    algorithm: str = ""


@dataclass(frozen=True)
class Table:
    """A table with groups of rows and notes.

    Attributes:
        name: stem of its files.
        columns: headings of the number columns.
        notes: sentences under the table.
        frame: the numbers in tidy form: a row for each cell, or for each table row if columns differ in kind.
        corner: heading of the column of row labels.
        over: heading of the column of group headings.
        algorithms: the columns' names in params.yaml, by which the page filters; "" for a column that is no algorithm,
            and an empty list if none is.
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
    """The table as Markdown; group headings, if any, fill a first column."""
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
    """The text with LaTeX's special characters escaped."""
    return re.sub("|".join(map(re.escape, ESCAPES)), lambda match: ESCAPES[match[0]], text)


def height(group: Group) -> int:
    """Lines that a group takes in LaTeX, where `Cell.under` has a line of its own."""
    return bool(group.heading) + sum(2 if any(cell.under for cell in row.cells) else 1 for row in group.rows)


def pages(table: Table) -> list[list[Group]]:
    """The table's groups, split into pages of at most `LINES` lines."""
    split, filled = [[]], 0
    for group in table.groups:
        if split[-1] and filled + height(group) > LINES:
            split.append([])
            filled = 0
        split[-1].append(group)
        filled += height(group)
    return split


def tabular(table: Table, groups: list[Group], caption: str) -> str:
    """One LaTeX table environment with those groups of the table."""
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
    """LaTeX to `\\input` in a document with booktabs: one table environment for each page that the table fills."""
    parts = pages(table)
    captions = [" ".join([f"{table.title}.", *table.notes]), *[f"{table.title}, continued."] * (len(parts) - 1)]
    return "".join(tabular(table, groups, caption) for groups, caption in zip(parts, captions, strict=True))


def write(table: Table, folder: Path):
    """Writes NAME.md, NAME.tex and NAME.csv."""
    write_text(folder / f"{table.name}.md", markdown(table))
    write_text(folder / f"{table.name}.tex", latex(table))
    write_text(folder / f"{table.name}.csv", table.frame.to_csv(index=False, lineterminator="\n", float_format="%.6g"))

"""The score table as Markdown, and as LaTeX for which `\\usepackage{booktabs}` suffices."""

import re

from stages.report.scores import Scores
from stages.report.words import BEHAVIOUR, bracket, label, number, spread

ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "–": "--",
    **{symbol: f"\\{symbol}" for symbol in "&%$#_{}"},
}


def best(scores: Scores, dataset: str, algorithm: str) -> float | None:
    """The best score of a column as it is printed; None where there is nothing to compare."""
    means = [scores.cells[dataset, method, algorithm].mean for method in scores.methods]
    return round(max(means), 1) if len(means) > 1 else None


def is_best(scores: Scores, dataset: str, method: str, algorithm: str) -> bool:
    return round(scores.cells[dataset, method, algorithm].mean, 1) == best(scores, dataset, algorithm)


def markdown(scores: Scores, notes: list[str]) -> str:
    """One row a data set and method, one column an algorithm; the best of a column in bold."""
    lines = [
        f"| data set | method | {' | '.join(map(label, scores.algorithms))} |",
        f"|:--|:--|{'--:|' * len(scores.algorithms)}",
    ]
    for dataset in scores.datasets:
        for method in scores.methods:
            texts = []
            for algorithm in scores.algorithms:
                cell = scores.cells[dataset, method, algorithm]
                mean = f"**{number(cell.mean)}**" if is_best(scores, dataset, method, algorithm) else number(cell.mean)
                texts.append(" ".join(filter(None, (mean, spread(cell), bracket(cell)))))
            lines.append(f"| {dataset} | {label(method)} | {' | '.join(texts)} |")
        behaviour = [number(scores.behaviour[dataset])] * len(scores.algorithms)
        lines.append(f"| {dataset} | {BEHAVIOUR} | {' | '.join(behaviour)} |")
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands here."""
    return re.sub("|".join(map(re.escape, ESCAPES)), lambda found: ESCAPES[found[0]], text)


def latex(scores: Scores, notes: list[str]) -> str:
    """The same table, to be read with `\\input`."""
    width = len(scores.algorithms)
    lines = [
        r"\begin{table}",
        r"\centering\small",
        rf"\begin{{tabular}}{{ll{'r' * width}}}",
        r"\toprule",
        " & ".join(["data set", "method", *(escape(label(algorithm)) for algorithm in scores.algorithms)]) + r" \\",
    ]
    for dataset in scores.datasets:
        lines.append(r"\midrule")
        shown = escape(dataset)
        for method in scores.methods:
            texts, intervals = [], []
            for algorithm in scores.algorithms:
                cell = scores.cells[dataset, method, algorithm]
                mean = escape(number(cell.mean))
                mean = rf"\textbf{{{mean}}}" if is_best(scores, dataset, method, algorithm) else mean
                texts.append(f"{mean} {escape(spread(cell))}".strip())
                intervals += [rf"{{\scriptsize {escape(bracket(cell))}}}"] if bracket(cell) else []
            lines.append(" & ".join([shown, escape(label(method)), *texts]) + r" \\")
            if intervals:  # on a line of their own, so that three algorithms fit the width of a page
                lines.append(" & ".join(["", "", *intervals]) + r" \\")
            shown = ""
        behaviour = [escape(number(scores.behaviour[dataset]))] * width
        lines.append(" & ".join(["", escape(BEHAVIOUR), *behaviour]) + r" \\")
    caption = escape(" ".join(notes))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\caption{{{caption}}}", r"\end{table}"]) + "\n"

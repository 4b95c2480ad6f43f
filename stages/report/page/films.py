"""Imagined windows that the page plays: stick figures beside the simulator's."""

from stages.report.statistics.scores import Scores
from stages.report.style.colours import palette
from stages.report.style.words import label, sentence
from stages.report.tables.fidelity import short

WINDOWS = ("best", "median", "worst")


def films(scores: Scores) -> list[dict]:
    """For each data set with such windows: {"dataset", "seconds" of a step, "rows": one for each method}.

    A row has the method's name, label and colour, and for each of `WINDOWS` a title and an alternative text.
    """
    colours, shown = palette(scores.methods), []
    for dataset, content in scores.collected.items():
        rows = []
        for method in scores.methods:
            if record := content["fidelity"].get(method, {}).get("imagined"):
                titles = [f"{name}, error {short(record[name]['error'])}" for name in WINDOWS]
                rows.append({"method": method, "label": sentence(label(method)), "titles": titles})
                rows[-1] |= {"colour": colours[label(method)], "count": f"{record['windows']:,}"}
        if rows:
            shown.append({"dataset": dataset, "rows": rows})
    return shown


def frames(scores: Scores) -> dict:
    """What the page's script draws: data set → method → what `stages/fidelity/windows.py` recorded."""
    return {
        film["dataset"]: {
            row["method"]: scores.collected[film["dataset"]]["fidelity"][row["method"]]["imagined"]
            for row in film["rows"]
        }
        for film in films(scores)
    }

"""What the page shows, in its order: tables, charts and figures under their headings."""

from pathlib import Path

import pandas as pd

from stages.report import panels
from stages.report.page import Section
from stages.report.page_figures import figure, steered
from stages.report.scores import AVERAGE, Scores
from stages.report.table import Table
from stages.report.words import plural

BEHAVIOUR = "The dashed line is the average of the data's own episodes."


def sections(
    scores: Scores,
    tables: dict[str, Table],
    frames: dict[str, pd.DataFrame],
    ablations: list[Table],
    folder: Path,
) -> list[Section]:
    """Those that have something to show are shown.

    Arguments:
        tables: by name.
        frames: `curves`, `profiles` and `improvements`.
        folder: of the figures.
    """

    def named(*names: str) -> list[Table]:
        return [tables[name] for name in names if name in tables]

    over = f"Over {plural(len(scores.collected), 'data set')}" if AVERAGE in scores.datasets else "Over all runs"
    bars = f"Bars are means over seeds, points the seeds, lines the intervals. {BEHAVIOUR}"
    lines = f"Means over seeds, bands one standard deviation; the last point is the score. {BEHAVIOUR}"
    above = "Share of runs that score above each threshold, averaged over data sets; bands are pointwise intervals."
    matrix = "How probably a run of the row's method scores above one of the column's, on the same data set."
    spent = "Score against the seconds of training and sampling; dashed real data alone, which take none."
    error = "Error of the next state against the simulator's at each step: median, and dashed the 90th percentile."
    steering = [steered(content) for content in scores.collected.values() if content["phases"].get("steering")]
    asked = (
        "From the same states, with the same noise: the return-to-go that windows reach (10th percentile, mean, 90th)"
        f" against the one asked, over the task's scale; dashed as asked, solid the starts' own. {' '.join(steering)}"
    )
    return [
        Section("Scores", named("scores"), [("Last checkpoint", bars, panels.scores(scores))]),
        Section("Difference to real data alone", named("differences")),
        Section("Along the training", panels=[("Learning curves", lines, panels.curves(scores, frames["curves"]))]),
        Section(
            over,
            named("aggregates", "improvement"),
            [
                ("Performance profiles", above, panels.profiles(scores, frames["profiles"])),
                ("Probability of improvement", matrix, panels.improvements(scores, frames["improvements"])),
            ],
        ),
        Section("Cost", named("costs"), [("Cost against score", spent, panels.costs(scores))]),
        Section("Published scores", named("published")),
        Section(
            "Fidelity",
            named("fidelity"),
            [
                ("How true the transitions are", error, panels.fidelity(scores)),
                ("Does asking for more return bring more?", asked, panels.steering(scores)),
            ],
        ),
        Section(
            "Ablations",
            ablations,
            figures=[figure(folder / f"{table.name}.png", table.title, "", table.title) for table in ablations],
        ),
    ]

"""The page's sections in order: tables and charts under their headings."""

from stages.report.page import ablations, overview, panels
from stages.report.page.embedded import steered
from stages.report.page.films import films
from stages.report.page.page import Section
from stages.report.statistics.scores import AVERAGE
from stages.report.style.words import plural
from stages.report.tables.contents import Contents
from stages.report.tables.gains import correlation_notes
from stages.report.tables.table import Table

BEHAVIOUR = "The dashed line is the average of the data's own episodes."


def sections(contents: Contents) -> list[Section]:
    """The sections in order; the page leaves out those with nothing to show."""
    scores, tables, frames = contents.scores, contents.tables, contents.frames

    def named(*names: str) -> list[Table]:
        return [tables[name] for name in names if name in tables]

    over = f"Over {plural(len(scores.collected), 'data set')}" if AVERAGE in scores.datasets else "Over all runs"
    bars = f"Bars are means over seeds, points the seeds, lines the intervals. {BEHAVIOUR}"
    lines = f"Means over seeds, with bands of one standard deviation; the last point is the score. {BEHAVIOUR}"
    above = "Share of runs that score above each threshold, averaged over data sets; bands are pointwise intervals."
    matrix = "Probability that a run of the row's method scores above a run of the column's, on the same data set."
    spent = "Score against the seconds of training and sampling; the dashed line is real data alone, which takes none."
    why = " ".join(
        [
            "Each method's difference from real data against the next-state error and the novelty of its actions; lines"
            " are intervals. Errors below 0.001 are drawn at 0.001.",
            *correlation_notes(frames["gains"]),
        ]
    )
    error = (
        "Error of the next state at each step of the window, by the simulator: median, and dashed the 90th percentile."
    )
    played = (
        "The best, the median and the worst of each method's windows, drawn over what the simulator makes of the same"
        " first state and actions (grey). The error is the mean distance of the states, over steps and dimensions, in"
        " standard deviations of the real data."
    )
    coloured = "Mean scores; the colour is the difference from real data, purple above it and orange below."
    steering = [steered(content) for content in scores.collected.values() if content["phases"].get("steering")]
    asked = (
        "Return-to-go that windows reach (10th percentile, mean, 90th) against the one that they are conditioned on,"
        " over the task's scale, from the same states with the same noise. Dashed: reached = condition. Solid: the"
        f" starts in the data. {' '.join(steering)}"
    )
    return [
        Section("tasks", "All tasks", panels=[("Scores", coloured, overview.heat_panels(scores))]),
        Section("scores", "Scores", named("scores"), [("Last checkpoint", bars, panels.scores(scores))]),
        Section("differences", "Difference from real data alone", named("differences")),
        Section(
            "curves",
            "Learning curves",
            named("noise"),
            panels=[("Score during training", lines, panels.curves(scores, frames["curves"]))],
        ),
        Section(
            "comparison",
            over,
            named("aggregates", "improvement", "order"),
            [
                ("Performance profiles", above, panels.profiles(scores, frames["profiles"])),
                ("Probability of improvement", matrix, panels.improvements(scores, frames["improvements"])),
            ],
        ),
        Section(
            "gains",
            "Gain and fidelity",
            named("gains"),
            [("Gain against fidelity", why, panels.gains(scores, frames["gains"]))],
        ),
        Section("cost", "Cost", named("costs", "acting"), [("Cost against score", spent, panels.costs(scores))]),
        Section("published", "Published scores", named("published")),
        Section(
            "fidelity",
            "Fidelity",
            named("fidelity"),
            [
                ("Next-state error", error, panels.fidelity(scores)),
                ("Return conditioning", asked, panels.steering(scores)),
            ],
        ),
        Section(
            "imagined",
            "What is imagined",
            text=played,
            films=films(scores),
        ),
        ablations.section(contents.ablations, scores),
    ]

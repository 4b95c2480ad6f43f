"""Tables, figures and the page, from what `collect.py` gathered for the grid that params.yaml names.

Reads all of params.yaml, since the page shows it.
"""

from pathlib import Path

import pandas as pd

from stages.common.files import write_json, write_text
from stages.common.params import check
from stages.report import ablations, aggregate_figures, aggregate_tables, costs, fidelity, fidelity_figures, published
from stages.report.figures import learning_curves, score_bars
from stages.report.grid import curve_frame, episode_frame, read_collected
from stages.report.page import render
from stages.report.scores import Scores, score, summary
from stages.report.sections import sections
from stages.report.table import Table, markdown, write
from stages.report.tables import difference_table, score_table

RESULTS, TABLES, FIGURES = Path("results"), Path("reports/tables"), Path("reports/figures")


def tables(scores: Scores, frames: dict[str, pd.DataFrame]) -> dict[str, Table]:
    """By name, those that have something to show."""
    found = (
        score_table(scores),
        difference_table(scores),
        aggregate_tables.aggregate_table(scores, frames["aggregates"]),
        aggregate_tables.improvement_table(scores, frames["improvements"]),
        costs.table(scores),
        published.table(scores),
        fidelity.table(scores),
    )
    return {table.name: table for table in found if table}


def draw(scores: Scores, frames: dict[str, pd.DataFrame]):
    """The figures, each where there is something to draw."""
    score_bars(frames["episodes"], scores, FIGURES / "scores.png")
    learning_curves(frames["curves"], scores, FIGURES / "learning_curves.png")
    aggregate_figures.profiles(frames["profiles"], scores, FIGURES / "profiles.png")
    aggregate_figures.improvements(frames["improvements"], scores, FIGURES / "improvement.png")
    aggregate_figures.cost_against_score(scores, FIGURES / "costs.png")
    fidelity_figures.errors(scores, FIGURES / "fidelity.png")
    fidelity_figures.steering(scores, FIGURES / "steering.png")


def main():
    params = check()
    collected = read_collected(params)
    scores = score(collected, params)
    frames = {
        "episodes": episode_frame(collected),
        "curves": curve_frame(collected),
        "aggregates": aggregate_tables.aggregates(scores),
        "improvements": aggregate_tables.improvements(scores),
        "profiles": aggregate_tables.profiles(scores),
    }
    write_text(RESULTS / "scores.csv", frames["episodes"].to_csv(index=False, lineterminator="\n"))
    curves = frames["curves"].to_csv(index=False, lineterminator="\n", float_format="%.4f")
    write_text(RESULTS / "curves.csv", curves)
    write_json(RESULTS / "summary.json", summary(scores))

    for folder in (TABLES, FIGURES):  # an earlier grid's would be taken for this one's
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
    found = tables(scores, frames)
    for table in found.values():
        write(table, TABLES)
    draw(scores, frames)
    ablated = [ablations.show(ablation) for ablation in ablations.read()]
    page = render(scores, params, sections(scores, found, frames, ablated, FIGURES), Path("reports/data"))
    write_text("reports/index.html", page)
    print(markdown(found["scores"]), end="")


if __name__ == "__main__":
    main()

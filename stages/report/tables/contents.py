"""Contents of the report: everything that tables, figures and page show, computed from the collected results."""

from dataclasses import dataclass

import pandas as pd

from stages.report.statistics.grid import curve_frame, episode_frame, read_collected
from stages.report.statistics.scores import Scores, score
from stages.report.tables import ablations, acting, aggregates, costs, fidelity, gains, noise, order, published
from stages.report.tables.scores import difference_table, score_table
from stages.report.tables.table import Table


@dataclass(frozen=True)
class Contents:
    """Everything that the report shows.

    Attributes:
        frames: the rows behind the figures: `episodes`, `curves`, `aggregates`, `improvements`, `profiles` and
            `gains`.
        tables: by name, those that are not empty.
        ablations: read from `results/ablations/`.
    """

    scores: Scores
    frames: dict[str, pd.DataFrame]
    tables: dict[str, Table]
    ablations: list[ablations.Ablation]


def contents(params) -> Contents:
    """The contents for the grid of `params`, which has the keys of `grid.READS`."""
    collected = read_collected(params)
    scores = score(collected, params)
    frames = {
        "episodes": episode_frame(collected),
        "curves": curve_frame(collected),
        "aggregates": aggregates.aggregates(scores),
        "improvements": aggregates.improvements(scores),
        "profiles": aggregates.profiles(scores),
        "gains": gains.gains(scores),
    }
    tables = (
        score_table(scores),
        difference_table(scores),
        aggregates.aggregate_table(scores, frames["aggregates"]),
        aggregates.improvement_table(scores, frames["improvements"]),
        order.table(scores),
        costs.table(scores),
        acting.table(scores),
        published.table(scores),
        fidelity.table(scores),
        gains.table(scores, frames["gains"]),
        noise.table(scores),
    )
    return Contents(scores, frames, {table.name: table for table in tables if table}, ablations.read())

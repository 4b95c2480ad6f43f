"""How much chance there is in the scores: the last checkpoint beside the mean of the last ten evaluations, and power.

The score is the last checkpoint's. TD3+BC's authors report the mean of the last ten evaluations (Fujimoto and Gu 2021,
section 7); it is shown beside the score and enters nothing else.
"""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from stages.report.statistics.bootstrap import Estimate, estimate
from stages.report.statistics.scores import Scores
from stages.report.style.words import bracket, label, number, sentence
from stages.report.tables.notes import absent
from stages.report.tables.table import Cell, Group, Row, Table, origin

LAST = 10  # evaluations, the last checkpoint's included
POINTS, POWER, LEVEL = 3.0, 0.8, 0.05  # the difference that is to be seen, how surely, and at which level


def last_evaluations(cell: dict) -> np.ndarray:
    """(seeds,) mean over the last ten evaluations of a cell, or all if they are fewer; each is its episodes' mean."""
    final = [np.mean(seed["scores"]) for seed in cell["seeds"]]
    curve = [[np.mean(scores) for scores in point["scores"]] for point in cell["curve"]]
    return np.mean([*curve, final][-LAST:], axis=0)


def seeds_needed(deviations: list[float]) -> int | None:
    """Seeds of each of two methods that show a difference of `POINTS` with `POWER`, by the two-sided z-test.

    Arguments:
        deviations: sample standard deviations over seeds of the methods, whose variances are averaged.

    Returns:
        2 (z₁₋α⸝₂ + z₁₋β)² σ² / d², rounded up, at least 2; None without deviations.
    """
    if not deviations:
        return None
    factor = ndtri(1 - LEVEL / 2) + ndtri(POWER)
    return max(2, int(np.ceil(2 * factor**2 * np.mean(np.square(deviations)) / POINTS**2)))


def estimates(scores: Scores) -> dict[tuple[str, str, str], Estimate]:
    """(dataset, method, algorithm) → Estimate of the mean of the last ten evaluations."""
    found = {}
    for content in scores.collected.values():
        for cell in content["cells"]:
            names = cell["dataset"], cell["method"], cell["algorithm"]
            found[names] = estimate(last_evaluations(cell), scores.runs[names].resamples, scores.confidence)
    return found


def table(scores: Scores) -> Table | None:
    """For each data set a row for each method and one of seeds; two columns for each algorithm. None with one seed."""
    last_ten, groups, lines = estimates(scores), [], []
    if all(cell.std is None for cell in last_ten.values()):
        return None
    for dataset in scores.collected:
        rows = []
        for method in scores.methods:
            cells = []
            for algorithm in scores.algorithms:
                names = dataset, method, algorithm
                if names not in last_ten:
                    cells += [Cell(scores.shown(*names))] * 2
                    continue
                for kind, cell in (("last checkpoint", scores.cells[names]), ("last ten", last_ten[names])):
                    beside = f"± {number(cell.std)}"
                    cells.append(Cell(number(cell.mean), beside, bracket(cell), origin=origin(*names)))
                    columns = {"dataset": dataset, "method": method, "algorithm": algorithm, "of": kind}
                    lines.append({**columns, "mean": cell.mean, "std": cell.std, "low": cell.low, "high": cell.high})
            rows.append(Row(sentence(label(method)), cells, method))
        needed = []
        for algorithm in scores.algorithms:
            for cells in (scores.cells, last_ten):
                known = [cells.get((dataset, method, algorithm)) for method in scores.methods]
                count = seeds_needed([cell.std for cell in known if cell])
                needed.append(Cell("–" if count is None else f"{count:,}"))
        rows.append(Row(f"Seeds for {POINTS:g} points", needed))
        groups.append(Group(dataset, rows, dataset))
    columns = [f"{label(name)}, {kind}" for name in scores.algorithms for kind in ("last checkpoint", "last ten")]
    notes = [
        "Last checkpoint: the score. Last ten: the mean of the last ten evaluations of the learning curve, the last"
        " checkpoint's included; earlier ones have fewer episodes. It enters no other table.",
        f"Seeds for {POINTS:g} points: how many of each of two methods show such a difference with a probability of"
        f" {POWER:g}, if their seeds vary as these methods' do on average (two-sided test at {LEVEL:g}).",
        *absent(scores),
    ]
    axes = [name for name in scores.algorithms for _ in range(2)]
    return Table("noise", "Noise", columns, groups, notes, pd.DataFrame(lines), algorithms=axes)

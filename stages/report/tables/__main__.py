"""Writes the tables and figures: `python -m stages.report.tables` → results/{scores,curves}.csv, results/summary.json,
reports/tables/ and reports/figures/.
"""

from itertools import chain
from pathlib import Path

from stages.common.files import write_json, write_text
from stages.common.stage import begin
from stages.report.statistics.grid import READS
from stages.report.statistics.scores import summary
from stages.report.tables import ablations
from stages.report.tables.contents import Contents, contents
from stages.report.tables.table import markdown, write

RESULTS, TABLES, FIGURES = Path("results"), Path("reports/tables"), Path("reports/figures")


def write_results(content: Contents):
    """Writes every episode's score, the learning curves and the summary to results/."""
    episodes, curves = content.frames["episodes"], content.frames["curves"]
    write_text(RESULTS / "scores.csv", episodes.to_csv(index=False, lineterminator="\n"))
    write_text(RESULTS / "curves.csv", curves.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    write_json(RESULTS / "summary.json", summary(content.scores))


def draw(content: Contents):
    """Draws every figure that has something to show; its libraries are imported here, since they load slowly."""
    from stages.report.figures import ablations as ablation_figures
    from stages.report.figures import aggregates, fidelity, gains
    from stages.report.figures.scores import learning_curves, score_bars

    scores, frames = content.scores, content.frames
    score_bars(frames["episodes"], scores, FIGURES / "scores.png")
    learning_curves(frames["curves"], scores, FIGURES / "learning_curves.png")
    aggregates.profiles(frames["profiles"], scores, FIGURES / "profiles.png")
    aggregates.improvements(frames["improvements"], scores, FIGURES / "improvement.png")
    aggregates.cost_against_score(scores, FIGURES / "costs.png")
    fidelity.errors(scores, FIGURES / "fidelity.png")
    fidelity.steering(scores, FIGURES / "steering.png")
    gains.gains(frames["gains"], scores, FIGURES / "gains.png")
    for ablation in content.ablations:
        ablation_figures.draw(ablation.frame, ablation.param, FIGURES / f"{ablation.title}.png")


def main():
    _, params = begin(__doc__, READS)
    content = contents(params)
    for folder in (TABLES, FIGURES):  # files of an earlier grid must not remain
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
    write_results(content)
    ablated = chain.from_iterable(map(ablations.tables, content.ablations))
    for table in (*content.tables.values(), *ablated):
        write(table, TABLES)
    draw(content)
    print(markdown(content.tables["scores"]), end="")


if __name__ == "__main__":
    main()

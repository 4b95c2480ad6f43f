"""Tables, figures and the page, from what `collect.py` gathered for the grid that params.yaml names.

Reads all of params.yaml, since the page shows it.
"""

from pathlib import Path

from stages.common.files import write_json, write_text
from stages.common.params import check
from stages.report import costs, fidelity, fidelity_figures, published
from stages.report.figures import learning_curves, score_bars
from stages.report.notes import notes
from stages.report.page import render
from stages.report.scores import curve_frame, episode_frame, read_collected, score, summary
from stages.report.tables import latex, markdown


def main():
    params = check()
    collected = read_collected(params)
    episodes, curves = episode_frame(collected), curve_frame(collected)
    scores = score(collected, params)
    sentences = notes(scores, params.report.resamples)

    results, reports = Path("results"), Path("reports")
    write_text(results / "scores.csv", episodes.to_csv(index=False, lineterminator="\n"))
    write_text(results / "curves.csv", curves.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    write_json(results / "summary.json", summary(scores))
    table = markdown(scores, sentences)
    write_text(reports / "tables/scores.md", table)
    write_text(reports / "tables/scores.tex", latex(scores, sentences))
    (reports / "figures").mkdir(parents=True, exist_ok=True)
    score_bars(episodes, scores, reports / "figures/scores.png")
    learning_curves(curves, scores, reports / "figures/learning_curves.png")
    write_text(reports / "tables/fidelity.md", fidelity.markdown(scores))
    for name, part, rows in (("published", published, published.shown(scores)), ("costs", costs, costs.groups(scores))):
        if rows:
            write_text(reports / f"tables/{name}.md", part.markdown(scores))
        else:  # an earlier grid's would be taken for this one's
            (reports / f"tables/{name}.md").unlink(missing_ok=True)
    drawn = {
        name: draw(scores, reports / f"figures/{name}.png")
        for name, draw in (("fidelity", fidelity_figures.errors), ("steering", fidelity_figures.steering))
    }
    write_text(reports / "index.html", render(scores, params, sentences, reports / "figures", drawn))
    print(table, end="")


if __name__ == "__main__":
    main()

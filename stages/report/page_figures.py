"""The page's figures, embedded, with words for who cannot see them."""

import base64
from pathlib import Path

from stages.report.figures import banded
from stages.report.notes import judges, overall
from stages.report.scores import Scores
from stages.report.words import blocks, label, listed, number, sentence


def figure(path: Path, title: str, caption: str, alt: str) -> dict:
    image = base64.b64encode(path.read_bytes()).decode()
    return {"title": title, "caption": caption, "alt": alt, "source": f"data:image/png;base64,{image}"}


def figures(scores: Scores, folder: Path) -> list[dict]:
    """Both figures, with words for who cannot see them."""
    means = [f"{label(method)} {number(overall(scores, method).mean)}" for method in scores.methods]
    judged = listed(map(label, judges(scores)))
    methods, algorithms = listed(map(label, scores.methods)), listed(map(label, scores.algorithms))
    what = f"of {methods} with {algorithms} on {listed(scores.collected)}"
    average = "The dashed line is the data's average."
    bars = (
        f"Bars are means over seeds, points the seeds{', lines the intervals' if intervals(scores) else ''}. {average}"
    )
    bands = ", bands one standard deviation" if banded(scores) else ""
    curves = f"Lines are means over seeds{bands}; the last point is the score. {average}"
    return [
        figure(
            folder / "scores.png",
            "Last checkpoint",
            bars,
            f"Bar chart {what}. Averages over {judged}: {listed(means)}.",
        ),
        figure(folder / "learning_curves.png", "Along the training", curves, f"Learning curves {what}."),
    ]


def intervals(scores: Scores) -> bool:
    return next(iter(scores.cells.values())).low is not None


def steered(content: dict) -> str:
    """What the rank correlations of one data set say."""
    found = content["phases"]["steering"]["rank_correlation"]
    beyond = found["beyond"]
    return (
        f"On {content['dataset']}, reached and asked have a rank correlation of {found['within_starts']:.2f} from one"
        " start. Where a start is asked for what its own trajectory went on to reach, and what its state and action"
        f" tell is taken off both, {beyond['asked']:.2f}; where nothing is asked, {beyond['unasked']:.2f}; and in the"
        f" data's own windows, which know, {beyond['data']:.2f}."
    )


def fidelity_figures(scores: Scores, folder: Path, drawn: dict[str, bool]) -> list[dict]:
    """Those that there was something to draw of."""
    datasets = listed(scores.collected)
    found = []
    if drawn["fidelity"]:
        what = "Error of the imagined next state against the simulator's, at each step of the window."
        alt = f"Error against the step of the window for {listed(map(label, scores.methods))} on {datasets}."
        found.append(figure(folder / "fidelity.png", "How true the transitions are", what, alt))
    if drawn["steering"]:
        what = (
            "From the same states, with the same noise: the return-to-go that windows reach against the one asked, over"
            f" the task's scale. {' '.join(map(steered, scores.collected.values()))}"
        )
        alt = f"Return-to-go reached against return-to-go asked on {datasets}."
        found.append(figure(folder / "steering.png", "Does asking for more return bring more?", what, alt))
    return found


def data_sections(scores: Scores, folder: Path) -> list[dict]:
    """For each data set, its card's figure, its own numbers and those of each phase."""
    sections = []
    for dataset, content in scores.collected.items():
        parts = {"data": content["data"], **content["phases"]}
        tables = [{"title": sentence(label(name)), "blocks": blocks(record)} for name, record in parts.items()]
        what = "Returns, lengths, actions and observations; and the training of the behaviour, where it is known."
        card = figure(folder / f"{dataset}.png", dataset, what, f"Six panels on the data of {dataset}.")
        sections.append({"dataset": dataset, "card": card, "tables": tables})
    return sections

"""Images embedded in the page with alternative text, and the sections of the data sets."""

import base64
from pathlib import Path

from stages.report.statistics.scores import Scores
from stages.report.style.words import blocks, label, sentence


def figure(path: Path, title: str, caption: str, alt: str) -> dict:
    image = base64.b64encode(path.read_bytes()).decode()
    return {"title": title, "caption": caption, "alt": alt, "source": f"data:image/png;base64,{image}"}


def steered(content: dict) -> str:
    """The rank correlations of one data set, as a sentence."""
    correlations = content["phases"]["steering"]["rank_correlation"]
    within, beyond = correlations["within_starts"], correlations["beyond"]
    return (
        f"On {content['dataset']} the rank correlation of the return conditioned on and the return reached, from the"
        f" same start, is {within:.2f}. If each start is conditioned on its own trajectory's return-to-go, and the part"
        f" that its state and action explain is subtracted from both, it is {beyond['asked']:.2f}; without"
        f" a condition {beyond['unasked']:.2f}; and {beyond['data']:.2f} in the data's own windows."
    )


def data_sections(scores: Scores, folder: Path) -> list[dict]:
    """For each data set the figure of its card, its facts and the figures of each phase."""
    sections = []
    for dataset, content in scores.collected.items():
        parts = {"data": content["data"], **content["phases"]}
        tables = [{"title": sentence(label(name)), "blocks": blocks(record)} for name, record in parts.items()]
        what = "Returns, lengths, actions and observations, and the training of the behaviour policies if known."
        card = figure(folder / f"{dataset}.png", dataset, what, f"Six panels on the data of {dataset}.")
        sections.append({"dataset": dataset, "card": card, "tables": tables})
    return sections

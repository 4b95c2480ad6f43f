"""The page's still figures, embedded with words for who cannot see them, and the numbers beside them."""

import base64
from pathlib import Path

from stages.report.scores import Scores
from stages.report.words import blocks, label, sentence


def figure(path: Path, title: str, caption: str, alt: str) -> dict:
    image = base64.b64encode(path.read_bytes()).decode()
    return {"title": title, "caption": caption, "alt": alt, "source": f"data:image/png;base64,{image}"}


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

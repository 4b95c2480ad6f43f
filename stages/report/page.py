"""The report as one self-contained page: a Jinja2 template filled with text and numbers that are ready to be shown."""

import base64
import re
from fnmatch import fnmatchcase
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.common.schema import Params, shelf
from stages.report.notes import headline, judges, overall, points, source, subject, verdict
from stages.report.scores import AVERAGE, Scores
from stages.report.statistics import Estimate
from stages.report.tables import is_best
from stages.report.words import BEHAVIOUR, blocks, bracket, label, listed, number, percent, sentence, spread

RUN = "run"  # heads the root keys of params.yaml that belong to no section


def tone(gain: Estimate) -> str:
    """Class of a difference: coloured only where its interval excludes 0."""
    return ("more" if gain.mean > 0 else "less") if gain.excludes_zero else "open"


def gain_cell(gain: Estimate) -> dict:
    return {
        "mean": number(gain.mean, sign=True),
        "bracket": bracket(gain),
        "verdict": verdict(gain),
        "tone": tone(gain),
    }


def cards(scores: Scores) -> list[dict]:
    """One for each algorithm: by how much the headline's method differs from real data, averaged over data sets."""
    method = subject(scores)
    if method is None or not scores.differences:
        return []
    dataset = scores.headline
    return [
        {
            "algorithm": label(algorithm),
            **gain_cell(scores.differences[dataset, method, algorithm]),
            "method": label(method),
            "ours": number(scores.cells[dataset, method, algorithm].mean),
            "real": number(scores.cells[dataset, "real", algorithm].mean),
        }
        for algorithm in scores.algorithms
    ]


def heading(dataset: str) -> str:
    return sentence(dataset) if dataset == AVERAGE else dataset


def score_groups(scores: Scores) -> list[dict]:
    """The score table, a group of rows for each data set."""
    groups = []
    for dataset in scores.datasets:
        lines = []
        for method in scores.methods:
            cells = []
            for algorithm in scores.algorithms:
                cell = scores.cells[dataset, method, algorithm]
                shown = {"mean": number(cell.mean), "spread": spread(cell), "bracket": bracket(cell)}
                cells.append({**shown, "best": is_best(scores, dataset, method, algorithm)})
            lines.append({"method": sentence(label(method)), "cells": cells})
        groups.append({"dataset": heading(dataset), "rows": lines, "behaviour": number(scores.behaviour[dataset])})
    return groups


def difference_groups(scores: Scores) -> list[dict]:
    """The table of differences to real data, grouped likewise; empty where the grid has nothing to compare."""
    if not scores.differences:
        return []
    others = [method for method in scores.methods if method != "real"]
    groups = []
    for dataset in scores.datasets:
        lines = []
        for method in others:
            gains = [scores.differences[dataset, method, algorithm] for algorithm in scores.algorithms]
            lines.append({"method": sentence(label(method)), "cells": list(map(gain_cell, gains))})
        groups.append({"dataset": heading(dataset), "rows": lines})
    return groups


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


def concerns(pattern: str, datasets: list[str]) -> bool:
    """Whether the exception fits one of them; it is written without D4RL's version."""
    return any(fnmatchcase(dataset, name) for dataset in datasets for name in (pattern, f"{pattern}-v[0-9]"))


def parameter_sections(params: Params) -> list[dict]:
    """params.yaml as it was read, root keys first, then each section; without what the grid has no use for: other
    algorithms, and exceptions for other data sets.
    """
    content = params.model_dump(exclude_unset=True)
    root = {key: value for key, value in content.items() if not isinstance(value, dict)}
    unused = set(shelf("algorithms")) - set(params.algorithms)
    sections = {key: value for key, value in content.items() if isinstance(value, dict) and key not in unused}
    for section in sections.values():
        exceptions = section.pop("exceptions", {})
        fitting = {name: changes for name, changes in exceptions.items() if concerns(name, params.datasets)}
        section.update({"exceptions": fitting} if fitting else {})
    sections = {title: section for title, section in sections.items() if section}
    return [{"title": title, "blocks": blocks(record)} for title, record in {RUN: root, **sections}.items()]


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
    curves = f"Lines are means over seeds, bands one standard deviation; the last point is the score. {average}"
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


def render(scores: Scores, params: Params, notes: list[str], folder: Path) -> str:
    """The whole page; `folder` holds the figures."""
    templates = FileSystemLoader(Path(__file__).parent)
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=templates, autoescape=True, **options)
    # Long keys may break after a separator, without a character that would be copied with them.
    environment.filters["breakable"] = lambda name: Markup("<wbr>").join(re.split(r"(?<=[_.])", name))
    title, line = headline(scores)
    return environment.get_template("page.html.jinja").render(
        title=title,
        line=line,
        cards=cards(scores),
        algorithms=[label(algorithm) for algorithm in scores.algorithms],
        score_groups=score_groups(scores),
        behaviour=sentence(BEHAVIOUR),
        notes=notes,
        difference_groups=difference_groups(scores),
        points=sentence(points(scores)),
        confidence=percent(scores.confidence),
        intervals=intervals(scores),
        figures=figures(scores, folder),
        data_sections=data_sections(scores, folder.parent / "data"),
        parameter_sections=parameter_sections(params),
        source=source(scores),
    )

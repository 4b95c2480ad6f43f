"""The report as one self-contained page: a Jinja2 template filled with text and numbers that are ready to be shown."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.common.algorithm_settings import fits
from stages.common.schema import Params, shelf
from stages.report import costs, fidelity, published
from stages.report.notes import headline, points, source, subject, verdict
from stages.report.page_figures import data_sections, fidelity_figures, figures, intervals
from stages.report.scores import AVERAGE, Scores
from stages.report.statistics import Estimate
from stages.report.tables import is_best
from stages.report.words import BEHAVIOUR, blocks, bracket, label, number, percent, sentence, spread

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
        fitting = {
            pattern: changes
            for pattern, changes in exceptions.items()
            if any(fits(pattern, dataset) for dataset in params.datasets)
        }
        section.update({"exceptions": fitting} if fitting else {})
    sections = {title: section for title, section in sections.items() if section}
    return [{"title": title, "blocks": blocks(record)} for title, record in {RUN: root, **sections}.items()]


def render(scores: Scores, params: Params, notes: list[str], folder: Path, drawn: dict[str, bool]) -> str:
    """The whole page; `folder` holds the figures, of which `drawn` says which there are."""
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
        cost_columns=costs.COLUMNS,
        cost_groups=costs.groups(scores),
        cost_notes=costs.notes(scores),
        published_columns=published.columns(scores),
        published_groups=published.groups(scores),
        published_notes=published.notes(scores),
        figures=figures(scores, folder),
        fidelity_columns=fidelity.COLUMNS,
        fidelity_groups=fidelity.groups(scores),
        fidelity_remarks=fidelity.remarks(scores),
        fidelity_figures=fidelity_figures(scores, folder, drawn),
        data_sections=data_sections(scores, folder.parent / "data"),
        parameter_sections=parameter_sections(params),
        source=source(scores),
    )

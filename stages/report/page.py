"""The report as one self-contained page: a Jinja2 template filled with tables, charts and text, all ready to show."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.common.algorithm_settings import fits
from stages.common.schema import Params, shelf
from stages.report import charts, provenance
from stages.report.notes import headline, source, subject
from stages.report.page_figures import data_sections
from stages.report.panels import Panel
from stages.report.scores import Scores
from stages.report.style import palette
from stages.report.table import Table
from stages.report.tables import gain_cell
from stages.report.words import blocks, label, number

RUN = "run"  # heads the root keys of params.yaml that belong to no section


@dataclass(frozen=True)
class Section:
    """A heading of the page with tables, charts and figures, in that order; without any of them it is not shown.

    Attributes:
        panels: (title, caption, panels) of each group of charts.
        figures: as `page_figures.figure` gives them.
    """

    title: str
    tables: list[Table] = field(default_factory=list)
    panels: list[tuple[str, str, list[Panel]]] = field(default_factory=list)
    figures: list[dict] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tables or self.figures or any(panels for *_, panels in self.panels))


def cards(scores: Scores) -> list[dict]:
    """One for each algorithm: by how much the headline's method differs from real data, averaged over data sets."""
    method = subject(scores)
    if method is None or not scores.differences:
        return []
    dataset, found = scores.headline, []
    for algorithm in scores.algorithms:
        cell = gain_cell(scores.differences[dataset, method, algorithm])
        ours, real = (number(scores.cells[dataset, name, algorithm].mean) for name in (method, "real"))
        pair = f"{label(method)} {ours}, real data {real}"
        found.append({"algorithm": algorithm, "name": label(algorithm), "gain": cell, "pair": pair})
    return found


def choices(scores: Scores, colours: dict[str, str]) -> dict[str, list[dict]]:
    """What the page can be filtered by: axis → its names, labels, and the methods' colours."""
    return {
        "dataset": [{"name": name, "label": name, "colour": ""} for name in scores.collected],
        "method": [{"name": name, "label": label(name), "colour": colours[label(name)]} for name in scores.methods],
        "algorithm": [{"name": name, "label": label(name), "colour": ""} for name in scores.algorithms],
    }


def hexadecimal(scores: Scores) -> dict[str, str]:
    """Label of a method → its colour, as the figures have it."""
    return {
        name: "#" + "".join(f"{round(255 * part):02x}" for part in colour)
        for name, colour in palette(scores.methods).items()
    }


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


def script(content) -> Markup:
    """JSON that may stand in a script element."""
    return Markup(json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/"))


def breakable(name: str) -> Markup:
    """A long key that may break after a separator, without a character that would be copied with it."""
    return Markup("<wbr>").join(re.split(r"(?<=[_./@-])", name))


def render(scores: Scores, params: Params, sections: list[Section], folder: Path) -> str:
    """The whole page; `folder` holds the data cards' figures."""
    templates = FileSystemLoader(Path(__file__).parent)
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=templates, autoescape=True, **options)
    environment.filters.update(breakable=breakable, script=script)
    title, line = headline(scores)
    shown = [section for section in sections if section]
    panels = [panel for section in shown for *_, group in section.panels for panel in group]
    names = charts.Names(hexadecimal(scores), list(map(label, scores.algorithms)))
    records = provenance.records(scores)
    return environment.get_template("page.html.jinja").render(
        title=title,
        line=line,
        source=source(scores),
        cards=cards(scores),
        choices=choices(scores, names.colours),
        sections=shown,
        panels=[panel.content for panel in panels],
        specifications=charts.specifications({panel.kind for panel in panels}, names),
        library=Markup(vl_convert.javascript_bundle().replace("</script", "<\\/script")) if panels else "",
        records=records,
        anchors={record["key"]: record["anchor"] for record in records},
        data_sections=data_sections(scores, folder),
        parameter_sections=parameter_sections(params),
    )

"""The report as one self-contained page: a Jinja2 template filled with tables, charts and text."""

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stages.report.page import charts, films, overview, provenance, vega
from stages.report.page.embedded import data_sections
from stages.report.page.panel import Panel
from stages.report.statistics.scores import Scores
from stages.report.style.colours import palette
from stages.report.style.words import blocks, label, number
from stages.report.tables.contents import Contents
from stages.report.tables.headline import headline, subject
from stages.report.tables.notes import source
from stages.report.tables.scores import gain_cell
from stages.report.tables.table import Table
from stages.tasks.tasks import matches

RUN = "run"  # heading of the root keys of params.yaml
LAST = {"data": "Data and models", "parameters": "Parameters", "provenance": "Provenance", "reproduce": "Reproduce"}
MAIN = ("tasks", "scores", "differences", "curves", "comparison", "gains", "cost", "published", "fidelity", "imagined")
FEW, LARGE = ("tasks", "differences"), 3  # sections that are unfolded at first: `FEW` of more than so many data sets


@dataclass(frozen=True)
class Section:
    """A section of the page: heading, tables, charts, films and parts that fold. An empty section is not shown.

    Attributes:
        name: by which links lead to it.
        panels: (title, caption, panels) of each group of charts.
        text: above charts, films and parts.
        films: from `films.films`.
        parts: sections within this one.
    """

    name: str
    title: str
    tables: list[Table] = field(default_factory=list)
    panels: list[tuple[str, str, list[Panel]]] = field(default_factory=list)
    text: str = ""
    films: list[dict] = field(default_factory=list)
    parts: list["Section"] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tables or self.films or self.parts or self.charts)

    @property
    def charts(self) -> list[Panel]:
        """Its panels in the page's order, those of its parts last."""
        own = [panel for *_, panels in self.panels for panel in panels]
        return own + [panel for part in self.parts for panel in part.charts]


def cards(scores: Scores) -> list[dict]:
    """A card for each algorithm: the headline method's difference from real data, averaged over data sets."""
    method = subject(scores)
    if method is None or not scores.differences:
        return []
    dataset, differences = scores.headline, []
    for algorithm in scores.algorithms_with(method, "real"):
        cell = replace(gain_cell(scores, dataset, method, algorithm), origin="")
        ours, real = (number(scores.cells[dataset, name, algorithm].mean) for name in (method, "real"))
        pair = f"{label(method)} {ours}, real data {real}"
        differences.append({"algorithm": algorithm, "name": label(algorithm), "gain": cell, "pair": pair})
    return differences


def choices(scores: Scores, colours: dict[str, str]) -> dict[str, list[dict]]:
    """What the page can be filtered by: axis → its names, labels, and the methods' colours."""
    return {
        "dataset": [{"name": name, "label": name, "colour": ""} for name in scores.collected],
        "method": [{"name": name, "label": label(name), "colour": colours[label(name)]} for name in scores.methods],
        "algorithm": [{"name": name, "label": label(name), "colour": ""} for name in scores.algorithms],
    }


def parameter_sections(content: dict) -> list[dict]:
    """params.yaml, root keys first and then each section, without what the grid does not use: other algorithms, and
    exceptions for other data sets.

    Arguments:
        content: params.yaml as read. Only an algorithm's section has `exceptions`.
    """
    root = {key: value for key, value in content.items() if not isinstance(value, dict)}
    shown = {}
    for key, value in content.items():
        if not isinstance(value, dict) or ("exceptions" in value and key not in content["algorithms"]):
            continue
        section = {name: inner for name, inner in value.items() if name != "exceptions"}
        used = {
            pattern: changes
            for pattern, changes in value.get("exceptions", {}).items()
            if any(matches(pattern, dataset) for dataset in content["datasets"])
        }
        section |= {"exceptions": used} if used else {}
        shown |= {key: section} if section else {}
    return [{"title": title, "blocks": blocks(record)} for title, record in {RUN: root, **shown}.items()]


def legend(panels: list[Panel], scores: Scores, colours: dict[str, str]) -> list[dict]:
    """Names, labels and colours of the methods in charts of dots; empty for other charts. A method outside the grid has
    no name, and is never hidden.
    """
    names = {label(method): method for method in scores.methods}
    drawn = {row["method"] for panel in panels if panel.kind in overview.DOTTED for row in panel.rows}
    return [
        {"name": names.get(text, ""), "label": text, "colour": colour}
        for text, colour in colours.items()
        if text in drawn
    ]


def script(content) -> Markup:
    """JSON that is safe inside a script element."""
    return Markup(json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/"))


def breakable(name: str) -> Markup:
    """A long key with line-break opportunities after its separators; nothing is added to copied text."""
    return Markup("<wbr>").join(re.split(r"(?<=[_./@-])", name))


def render(contents: Contents, params: dict, sections: list[Section], folder: Path) -> str:
    """The whole page. `params` is the content of params.yaml; `folder` holds the data cards' figures."""
    scores = contents.scores
    templates = FileSystemLoader(Path(__file__).parent)
    options = {"undefined": StrictUndefined, "trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True}
    environment = Environment(loader=templates, autoescape=True, **options)
    known = {*scores.collected, *scores.methods, *scores.algorithms}  # to the filter
    environment.filters.update(breakable=breakable, script=script, known=lambda name: name if name in known else "")
    title, line = headline(scores)
    shown = [section for section in sections if section]
    first = overview.difference_panels(scores)
    panels = [*first, *(panel for section in shown for panel in section.charts)]
    tasks = [overview.task(dataset)["task"] for dataset in scores.datasets]
    methods = [*scores.methods, *(name for each in contents.ablations for name in each.frame["method"])]
    names = vega.Names(palette(list(dict.fromkeys(methods))), list(map(label, scores.algorithms)), tasks)
    records = [*provenance.records(scores), *provenance.ablation_records(contents.ablations)]
    return environment.get_template("page.html.jinja").render(
        title=title,
        line=line,
        source=source(scores),
        cards=cards(scores),
        first=first,
        choices=choices(scores, names.colours),
        sections=shown,
        contents=[*((section.name, section.title) for section in shown), *LAST.items()],
        legend=lambda panels: legend(panels, scores, names.colours),
        opened=[name for name in MAIN if len(scores.collected) <= LARGE or name in FEW],
        panels=[panel.content for panel in panels],
        specifications=charts.specifications({panel.kind for panel in panels}, names),
        library=Markup(vl_convert.javascript_bundle().replace("</script", "<\\/script")) if panels else "",
        frames=films.frames(scores) if any(section.films for section in shown) else None,
        records=records,
        anchors={record["key"]: record["anchor"] for record in records},
        data_sections=data_sections(scores, folder),
        parameter_sections=parameter_sections(params),
    )

"""Parts of the page's Vega-Lite specifications: filtered rows in the methods' colours, reference lines, tooltips."""

from typing import NamedTuple

import altair as alt

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
HEIGHT = 240
PADDING = {"left": 5, "top": 5, "right": 14, "bottom": 5}  # the last label of an axis reaches beyond it
AXES = ("datasets", "methods", "algorithms")  # signals that the page's filter sets
INK = alt.value("currentColor")  # the page's, light or dark


class Names(NamedTuple):
    """Labels in the order of the grid: the methods' with their colours, the algorithms', the data sets' and average."""

    colours: dict[str, str]
    algorithms: list[str]
    tasks: list[str]


def in_filter(field: str = "method", among: str = "methods") -> str:
    return f"indexof({among}, datum.{field}) >= 0"


def chart() -> alt.Chart:
    return alt.Chart(alt.NamedData("rows"))


def coloured(colours: dict[str, str]) -> alt.Chart:
    """Rows of the methods that are shown, in their colours."""
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    return chart().transform_filter(in_filter()).encode(color=alt.Color("method:N", scale=scale, legend=None))


def level(signal: str, dash: tuple = (5, 4)) -> alt.Chart:
    """A line across the panel at a signal's value; none if it is null."""
    one = chart().transform_aggregate(rows="count()").transform_calculate(level=signal)
    rule = one.transform_filter("isValid(datum.level)").mark_rule(strokeDash=list(dash), opacity=0.6)
    return rule.encode(y="level:Q", color=INK)


def finished(layers: list, **signals) -> dict:
    """The layers as a specification: full width, without frame, in the page's font."""
    params = [alt.param(name=name, value=value) for name, value in {**{axis: [] for axis in AXES}, **signals}.items()]
    whole = alt.layer(*layers).properties(width="container", height=HEIGHT, padding=PADDING).add_params(*params)
    whole = whole.configure(font=FONT, background="transparent").configure_view(stroke=None)
    look = {
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
    }
    return whole.configure_axis(**look).to_dict()


def tips(*columns: str, **titled: str) -> list[alt.Tooltip]:
    """Tooltip entries under the columns' names or, as keywords, under other titles."""
    return [alt.Tooltip(column) for column in columns] + [alt.Tooltip(of, title=name) for name, of in titled.items()]

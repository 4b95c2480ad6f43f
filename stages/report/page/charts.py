"""The page's interactive charts: one Vega-Lite specification for each kind; the page fills in each panel's rows.

A specification reads the named data `rows` and the signals `vega.AXES`, which the page's filter sets; other signals are
the panel's values. There are no legends: the filter shows each method's colour.
"""

import altair as alt

from stages.report.page import overview
from stages.report.page.vega import INK, Names, chart, coloured, finished, in_filter, level, tips


def scores(names: Names) -> dict:
    """Bars of means, intervals, and a point for each seed; signal `behaviour`: the average of the data's episodes."""
    rows = coloured(names.colours).transform_filter(in_filter("algorithm", "algorithms"))
    axis = alt.Axis(labelAngle=0, grid=False)
    position = {
        "x": alt.X("algorithm:N", sort=names.algorithms, title=None, axis=axis, scale=alt.Scale(paddingInner=0.18)),
        "xOffset": alt.XOffset("method:N", sort=list(names.colours)),
    }
    means, seeds = rows.transform_filter("isValid(datum.mean)"), rows.transform_filter("isValid(datum.seed)")
    tooltip = tips("method:N", "algorithm:N", "mean:N", "interval:N", "seeds:N")
    bars = means.mark_bar(opacity=0.8, cornerRadiusEnd=2)
    lines = means.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.6)
    points = seeds.mark_circle(size=26, opacity=0.75)
    return finished(
        [
            bars.encode(**position, y=alt.Y("value:Q", title="score"), tooltip=tooltip),
            level("behaviour"),
            lines.encode(**position, y="low:Q", y2="high:Q", color=INK, tooltip=tooltip),
            points.encode(
                **position, y="value:Q", color=INK, tooltip=tips("method:N", "algorithm:N", "seed:N", score="value:Q")
            ),
        ],
        behaviour=None,
    )


def curves(names: Names) -> dict:
    """Means over seeds against updates, bands of one deviation; signal `behaviour` as above."""
    rows = coloured(names.colours)
    x = alt.X("step:Q", title="training step", axis=alt.Axis(grid=False, format="~s", tickCount=5))
    tooltip = tips("method:N", "step:Q", "mean:N", "seeds:N")
    return finished(
        [
            rows.mark_area(opacity=0.13).encode(x=x, y=alt.Y("low:Q", title="score"), y2="high:Q"),
            level("behaviour"),
            rows.mark_line(strokeWidth=2).encode(x=x, y="value:Q"),
            rows.mark_circle(size=40, opacity=1).encode(x=x, y="value:Q", tooltip=tooltip),
        ],
        behaviour=None,
    )


def profiles(names: Names) -> dict:
    """Share of runs above each score, with bands where there are intervals."""
    rows = coloured(names.colours)
    x = alt.X("threshold:Q", title="normalised score", axis=alt.Axis(grid=False))
    y = alt.Y("share:Q", title="share of runs above it")
    tooltip = tips("method:N", "interval:N", score="threshold:Q", share="share:Q")
    band = rows.transform_filter("isValid(datum.low)").mark_area(opacity=0.13, interpolate="step-after")
    return finished(
        [
            band.encode(x=x, y=alt.Y("low:Q", title="share of runs above it"), y2="high:Q"),
            rows.mark_line(strokeWidth=2, interpolate="step-after").encode(x=x, y=y),
            rows.mark_circle(size=60, opacity=0).encode(x=x, y=y, tooltip=tooltip),
        ]
    )


def improvements(names: Names) -> dict:
    """A matrix: the probability that the row's method scores above the column's."""
    order = list(names.colours)
    rows = chart().transform_filter(in_filter()).transform_filter(in_filter("over"))
    position = {
        "x": alt.X("over:N", sort=order, title="… above a run of", axis=alt.Axis(labelAngle=-35, grid=False)),
        "y": alt.Y("method:N", sort=order, title="a run of …", axis=alt.Axis(grid=False)),
    }
    colour = alt.Color("value:Q", scale=alt.Scale(scheme="purpleorange", domain=[1, 0]), legend=None)
    on = alt.condition("abs(datum.value - 0.5) > 0.3", alt.value("white"), alt.value("#22262b"))
    tooltip = tips("method:N", "over:N", "probability:N", "interval:N")
    squares, words = rows.mark_rect(stroke="white"), rows.mark_text(fontSize=11)
    return finished(
        [
            squares.encode(**position, color=colour, tooltip=tooltip),
            words.encode(**position, text="probability:N", color=on, tooltip=tooltip),
        ]
    )


def fidelity(names: Names) -> dict:
    """Error of the next state at each step of a window: median, and dashed the 90th percentile."""
    rows = coloured(names.colours)
    x = alt.X("step:Q", title="step h of the window", axis=alt.Axis(grid=False, tickMinStep=1, format="d"))
    axis = alt.Axis(tickCount=5, format="~e")
    y = alt.Y("value:Q", title="error of the next state, in std", scale=alt.Scale(type="log"), axis=axis)
    dashes = alt.Scale(domain=["median", "90th percentile"], range=[[1, 0], [4, 3]])
    tooltip = tips("method:N", "step:Q", "statistic:N", error="value:Q")
    line = rows.mark_line(strokeWidth=2).encode(
        x=x, y=y, strokeDash=alt.StrokeDash("statistic:N", scale=dashes, legend=None)
    )
    return finished([line, rows.mark_circle(size=40, opacity=1).encode(x=x, y=y, tooltip=tooltip)])


def steering(names: Names) -> dict:
    """Return-to-go reached against the condition; signal `start`: the starts in the data."""
    rows = coloured(names.colours)
    x = alt.X(
        "asked:Q",
        title="return-to-go conditioned on",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(grid=False),
    )
    tooltip = tips("asked:Q", "mean:Q", "p10:Q", "p90:Q")
    same = rows.mark_line(strokeDash=[5, 4], opacity=0.6)
    return finished(
        [
            rows.mark_area(opacity=0.15).encode(x=x, y=alt.Y("p10:Q", title="reached"), y2="p90:Q"),
            same.encode(x=x, y="asked:Q", color=INK),
            level("start", (1, 0)),
            rows.mark_line(strokeWidth=2).encode(x=x, y="mean:Q"),
            rows.mark_circle(size=40, opacity=1).encode(x=x, y="mean:Q", tooltip=tooltip),
        ],
        start=None,
    )


def costs(names: Names) -> dict:
    """Score against the seconds that a method's data took; signal `real`: real data's score."""
    rows = coloured(names.colours)
    title = "seconds to make the data, training included"
    scale, axis = alt.Scale(type="log", nice=False, padding=30), alt.Axis(grid=False, tickCount=4)
    x = alt.X("seconds:Q", title=title, scale=scale, axis=axis)
    y = alt.Y("value:Q", title="score", scale=alt.Scale(zero=False))
    tooltip = tips("method:N", "mean:N", "interval:N", "seconds:Q")
    lines = rows.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.6)
    return finished(
        [
            lines.encode(x=x, y=alt.Y("low:Q", title="score"), y2="high:Q"),
            level("real"),
            rows.mark_circle(size=90, opacity=1).encode(x=x, y=y, tooltip=tooltip),
        ],
        real=None,
    )


def gain_chart(names: Names, title: str, **scale) -> dict:
    """Difference from real data against a measure of the method's transitions, a shape for each data set."""
    rows = coloured(names.colours).transform_filter(in_filter("dataset", "datasets"))
    axis = alt.Axis(grid=False, tickCount=4, format="~g")
    x = alt.X("measure:Q", title=title, scale=alt.Scale(**scale, nice=False, padding=24), axis=axis)
    y = alt.Y("value:Q", title="difference from real data")
    shape = alt.Shape("dataset:N", legend=None)
    tooltip = tips("method:N", "dataset:N", "difference:N", "interval:N", measure="text:N")
    lines = rows.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.4)
    points = rows.mark_point(size=80, opacity=1, filled=True)
    return finished(
        [
            lines.encode(x=x, y=alt.Y("low:Q", title="difference from real data"), y2="high:Q", tooltip=tooltip),
            level("0"),
            points.encode(x=x, y=y, shape=shape, tooltip=tooltip),
        ]
    )


def error_gains(names: Names) -> dict:
    return gain_chart(names, "next-state error, in std", type="log")


def novelty_gains(names: Names) -> dict:
    return gain_chart(names, "action novelty, in std", zero=True)


DRAWN = (scores, curves, profiles, improvements, fidelity, steering, costs, error_gains, novelty_gains)
KINDS = {draw.__name__: draw for draw in (*overview.DRAWN, *DRAWN)}


def specifications(kinds: set[str], names: Names) -> dict[str, dict]:
    """The specifications of those kinds, by name."""
    return {name: draw(names) for name, draw in KINDS.items() if name in kinds}

"""The charts over all data sets: differences from real data as dots, and scores as a heat map."""

import altair as alt

from stages.report.page.panel import Panel, compact
from stages.report.page.vega import INK, PADDING, Names, chart, coloured, finished, in_filter, tips
from stages.report.statistics.scores import AVERAGE, Scores
from stages.report.style.words import bracket, label, mean_text, number, sentence

DOT, BAND, CELL = 10, 18, 26  # pixels: a dot's row, the least for a band of dots, a row of the heat map


def task(dataset: str) -> dict:
    """How a row names its data set; the average is of none that the filter knows."""
    return {"task": sentence(dataset)} if dataset == AVERAGE else {"task": dataset, "dataset": dataset}


def tall(rows: list[dict], band: str) -> dict[str, int]:
    """The height of a chart of dots in bands, which the rows name in that field."""
    return {"height": 30 + max(DOT * len(rows), BAND * len({row[band] for row in rows}))}


def difference_panels(scored: Scores) -> list[Panel]:
    """For each algorithm: a row for each difference from real data, the averages over data sets last."""
    panels = []
    for algorithm in scored.algorithms:
        rows = []
        for (dataset, method, name), gain in scored.differences.items():
            if name == algorithm:
                mean = mean_text(scored.cells[dataset, method, algorithm])
                texts = {"mean": mean, "difference": number(gain.mean, sign=True), "interval": bracket(gain) or None}
                numbers = {"value": gain.mean, "low": gain.low, "high": gain.high}
                rows.append(compact({"method": label(method), **task(dataset), **numbers, **texts}))
        if rows:
            alt_text = f"Differences from real data with {label(algorithm)}, a dot for each method on each data set."
            height = tall(rows, "task")
            panels.append(Panel("differences", label(algorithm), alt_text, rows, height, algorithm=algorithm))
    return panels


def heat_panels(scored: Scores) -> list[Panel]:
    """For each algorithm, of several data sets: scores of methods on data sets, coloured by their differences."""
    panels = []
    for algorithm in scored.algorithms if len(scored.collected) > 1 else ():
        gains = [abs(gain.mean) for names, gain in scored.differences.items() if names[2] == algorithm]
        rows, largest = [], max(gains, default=1.0) or 1.0
        for (dataset, method, name), cell in scored.cells.items():
            if name == algorithm:
                gain = scored.differences.get((dataset, method, algorithm))
                texts = {"score": number(cell.mean), "interval": bracket(cell) or None}
                texts |= {"difference": number(gain.mean, sign=True)} if gain else {}
                shade = gain.mean / largest if gain else 0.0
                rows.append(compact({"method": label(method), **task(dataset), **texts, "shade": shade}))
        if rows:
            alt_text = f"Scores with {label(algorithm)}: a row for each method, a column for each data set."
            height = {"height": 30 + CELL * len({row["method"] for row in rows})}
            columns = len({row["task"] for row in rows})
            panels.append(Panel("heat", label(algorithm), alt_text, rows, height, "", algorithm, columns))
    return panels


def shown(rows: alt.Chart) -> alt.Chart:
    """Rows of the data sets that the filter shows, and averages."""
    return rows.transform_filter(f"!isValid(datum.dataset) || {in_filter('dataset', 'datasets')}")


def dots(names: Names, band: str, order: list[str] | None) -> dict:
    """A dot for each method's difference from real data with its interval, in bands by a field of the rows.

    Arguments:
        order: of the bands; None for that of the rows.
    """
    rows = shown(coloured(names.colours))
    axis = alt.Axis(grid=True, tickBand="extent", labelLimit=190)
    position = {
        "y": alt.Y(f"{band}:N", sort=order, title=None, axis=axis),
        "yOffset": alt.YOffset("method:N", sort=list(names.colours)),
    }
    x = alt.X("value:Q", title="difference from real data", axis=alt.Axis(grid=False, tickCount=5))
    tooltip = tips("method:N", f"{band}:N", "difference:N", "interval:N", "mean:N")
    zero = chart().transform_aggregate(rows="count()").transform_calculate(zero="0")
    lines = rows.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.8)
    ends = alt.X("low:Q", title="difference from real data")
    return finished(
        [
            zero.mark_rule(strokeDash=[5, 4], opacity=0.6).encode(x="zero:Q", color=INK),
            lines.encode(**position, x=ends, x2="high:Q", tooltip=tooltip),
            rows.mark_circle(size=60, opacity=1).encode(**position, x=x, tooltip=tooltip),
        ]
    )


def differences(names: Names) -> dict:
    """Differences from real data, in a band for each data set."""
    return dots(names, "task", names.tasks)


def ablations(names: Names) -> dict:
    """Differences from real data at the same value of a parameter, in a band for each value."""
    return dots(names, "setting", None)


def heat(names: Names) -> dict:
    """A cell for each method on each data set: its score, coloured by the difference from real data."""
    rows = shown(chart().transform_filter(in_filter()))
    across = alt.Axis(labelAngle=-35, grid=False, labelLimit=240, orient="top")
    position = {
        "x": alt.X("task:N", sort=names.tasks, title=None, axis=across),
        "y": alt.Y("method:N", sort=list(names.colours), title=None, axis=alt.Axis(grid=False)),
    }
    colour = alt.Color("shade:Q", scale=alt.Scale(scheme="purpleorange", domain=[1, -1]), legend=None)
    tooltip = tips("method:N", "task:N", "score:N", "interval:N", "difference:N")
    on = alt.condition("abs(datum.shade) > 0.6", alt.value("white"), alt.value("#22262b"))
    squares, words = rows.mark_rect(stroke="white"), rows.mark_text(fontSize=11)
    drawn = finished(
        [
            squares.encode(**position, color=colour, tooltip=tooltip),
            words.encode(**position, text="score:N", color=on, tooltip=tooltip),
        ]
    )
    return drawn | {"padding": {**PADDING, "right": 44}}  # where the slanted names end


DRAWN = (differences, ablations, heat)
DOTTED = ("differences", "ablations")

"""The fidelity table: the numbers of `results/<dataset>/fidelity-<method>.json` for every method."""

import pandas as pd

from stages.report.statistics.scores import Scores
from stages.report.style.words import label, percent, sentence
from stages.report.tables.table import Cell, Group, Row, Table, origin

COLUMNS = {  # heading → its meaning
    "next state": "median error of the next state over dimensions and steps, in standard deviations of the real data",
    "worst": "largest median error of the next state in any dimension at any step of a window",
    "99th": "99th percentile of the next state's error over dimensions and steps",
    "reward": "median error of the reward at the worst step of a window, in standard deviations of the real rewards",
    "ends": "share of transitions that end the task, by the data and by the simulator",
    "actions": "standard deviation of actions over that of real ones, range over dimensions and imagined steps",
    "states": "the same for next states",
    "nearest": "median distance to the nearest transition in one half of the real data, relative to the other half's",
    "inverse": "R² of the inverse model on those of the method's transitions whose action is known",
}

PAIRS = {  # heading of cells with two numbers → the numbers' names in the tidy file
    "ends": ("ends", "ends in the simulator"),
    "actions": ("actions, least", "actions, most"),
    "states": ("states, least", "states, most"),
}


def short(value: float | None) -> str:
    """A number with two digits, small ones as a power of ten; a dash for None."""
    if value is None:
        return "–"
    if value != 0 and abs(value) < 1e-3:
        digits, _, power = f"{value:.0e}".partition("e")
        return f"{digits}e{int(power)}".replace("-", "−")
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def span(ratios: list[list[float]]) -> tuple[float, float]:
    """Smallest and largest ratio over all steps and dimensions."""
    values = [ratio for step in ratios for ratio in step]
    return min(values), max(values)


def imagined(record: dict) -> list[list[float]]:
    """Spread of the actions at each imagined step, by dimension.

    The first step of a longer window is left out, since its action is from the data.
    """
    return record["diversity"]["actions"][1:] or record["diversity"]["actions"]


def error_curves(scores: Scores) -> dict[str, dict[str, list[dict]]]:
    """dataset → method → error of the next state at each step of the window, for methods with a measured one.

    The error of one-step transitions is repeated for every step.
    """
    curves = {}
    for dataset, content in scores.collected.items():
        errors = {
            method: [step["overall"] for step in record["physics"]["state_error"]]
            for method, record in content["fidelity"].items()
            if record["physics"]
        }
        last = max(map(len, errors.values()), default=0)
        if errors:
            curves[dataset] = {method: steps * last if len(steps) == 1 else steps for method, steps in errors.items()}
    return curves


def numbers(record: dict) -> dict[str, tuple[float | None, ...]]:
    """heading → the numbers that one method's cell shows."""
    physics, inverse, spread = record["physics"], record["inverse_dynamics"], record["diversity"]
    nearest = record["coverage"]["nearest_neighbour"]
    values = dict.fromkeys(COLUMNS, (None,))
    if physics:
        terminals = physics["terminals"]
        values |= {
            "next state": (physics["overall"]["median"],),
            "worst": (physics["worst_median"],),
            "99th": (physics["overall"]["p99"],),
            "reward": (max(step["median"] for step in physics["reward_error"]),),
            "ends": (terminals["rate"], terminals["simulator_rate"]),
        }
    else:
        values["ends"] = (record["terminal_rate"]["measured"],)
    return values | {
        "actions": span(imagined(record)),
        "states": span(spread["states"]),
        "nearest": (nearest["measured"] / nearest["floor"] if nearest["floor"] else None,),
        "inverse": (inverse and inverse["r2"],),
    }


def text(heading: str, values: tuple[float | None, ...]) -> str:
    """A cell's numbers as text."""
    if heading == "ends":
        return ", ".join(percent(round(value, 4)) for value in values)
    return " to ".join(f"{value:.2f}" for value in values) if heading in ("actions", "states") else short(*values)


def table(scores: Scores) -> Table:
    """A group of rows for each data set, a row for each method."""
    groups, lines = [], []
    for dataset, content in scores.collected.items():
        rows = []
        for method, record in content["fidelity"].items():
            entries = numbers(record)
            cells = [Cell(text(*item), origin=origin(dataset, method)) for item in entries.items()]
            rows.append(Row(sentence(label(method)), cells, method))
            plain = {}
            for heading, values in entries.items():
                names = (heading,) if len(values) == 1 else PAIRS[heading]
                plain |= dict(zip(names, values, strict=True))
            lines.append({"dataset": dataset, "method": method, **plain})
        groups.append(Group(dataset, rows, dataset))
    notes = [*(f"{heading}: {meaning}." for heading, meaning in COLUMNS.items()), *remarks(scores)]
    return Table("fidelity", "Fidelity", list(COLUMNS), groups, notes, pd.DataFrame(lines))


def remarks(scores: Scores) -> list[str]:
    """How the errors were measured, and what was left out."""
    sentences = []
    records = [record for content in scores.collected.values() for record in content["fidelity"].values()]
    if any(record["physics"] for record in records):
        cut = [record["physics"]["cut"] for record in records if record["physics"]]
        sentences.append(
            "The simulator was reset to each transition's state and stepped with its action; real data give the floor."
        )
        if max(cut) > 0:
            sentences.append(
                f"Left out: {percent(round(min(cut), 3))} to {percent(round(max(cut), 3))} of the transitions, since a"
                " velocity in their state was clipped to ±10 and its true value is not known."
            )
    if not all(record["physics"] for record in records):
        sentences.append(
            "–: not measured, because the task's observation does not determine the simulator's state or the method's"
            " transitions span several steps."
        )
    return sentences

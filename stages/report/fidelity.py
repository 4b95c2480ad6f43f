"""How true each method's transitions are, as one table: the numbers of `results/<dataset>/fidelity-<method>.json`."""

import pandas as pd

from stages.report.scores import Scores
from stages.report.table import Cell, Group, Row, Table, origin
from stages.report.words import label, percent, sentence

COLUMNS = {  # heading: what it means
    "next state": "error of the next state, in standard deviations of the real data, median over dimensions and steps",
    "worst": "the largest of the medians, taken for each dimension and each step of a window",
    "99th": "99th percentile over dimensions and steps",
    "reward": "median error of the reward, in its standard deviations; the worst step of a window",
    "ends": "share of transitions that end the task, and what the simulator says of them",
    "actions": "standard deviation of actions over the real ones, least to most over dimensions and imagined steps",
    "states": "the same for next states",
    "nearest": "median distance to the nearest of one half of the real transitions, over that of the other half",
    "inverse": "R² of the inverse model on the method's pairs whose action is known",
}

PAIRS = {  # headings of cells with two numbers → their names in the tidy file
    "ends": ("ends", "ends in the simulator"),
    "actions": ("actions, least", "actions, most"),
    "states": ("states, least", "states, most"),
}


def short(value: float | None) -> str:
    """Two digits, a small one as a power of ten."""
    if value is None:
        return "–"
    if value != 0 and abs(value) < 1e-3:
        digits, _, power = f"{value:.0e}".partition("e")
        return f"{digits}e{int(power)}".replace("-", "−")
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def span(ratios: list[list[float]]) -> tuple[float, float]:
    """Least and most of the imagined steps; of the only step, where there is but one."""
    values = [ratio for step in ratios for ratio in step]
    return min(values), max(values)


def imagined(record: dict) -> list[list[float]]:
    """Spread of the actions at each imagined step, by dimension; DAWM's first action is the data's own."""
    return record["diversity"]["actions"][1:] or record["diversity"]["actions"]


def error_curves(scores: Scores) -> dict[str, dict[str, list[dict]]]:
    """dataset → method → error of the next state at each step of the window, where it was measured; that of single
    transitions holds for every step.
    """
    found = {}
    for dataset, content in scores.collected.items():
        errors = {
            method: [step["overall"] for step in record["physics"]["state_error"]]
            for method, record in content["fidelity"].items()
            if record["physics"]
        }
        last = max(map(len, errors.values()), default=0)
        if errors:
            found[dataset] = {method: steps * last if len(steps) == 1 else steps for method, steps in errors.items()}
    return found


def numbers(record: dict) -> dict[str, tuple[float | None, ...]]:
    """Heading → one method's numbers, as many as the cell shows."""
    physics, inverse, spread = record["physics"], record["inverse_dynamics"], record["diversity"]
    nearest = record["coverage"]["nearest_neighbour"]
    found = dict.fromkeys(COLUMNS, (None,))
    if physics:
        terminals = physics["terminals"]
        found |= {
            "next state": (physics["overall"]["median"],),
            "worst": (physics["worst_median"],),
            "99th": (physics["overall"]["p99"],),
            "reward": (max(step["median"] for step in physics["reward_error"]),),
            "ends": (terminals["rate"], terminals["simulator_rate"]),
        }
    else:
        found["ends"] = (record["terminal_rate"]["found"],)
    return found | {
        "actions": span(imagined(record)),
        "states": span(spread["states"]),
        "nearest": (nearest["found"] / nearest["floor"] if nearest["floor"] else None,),
        "inverse": (inverse and inverse["r2"],),
    }


def text(heading: str, values: tuple[float | None, ...]) -> str:
    if heading == "ends":
        return ", ".join(percent(round(value, 4)) for value in values)
    return " to ".join(f"{value:.2f}" for value in values) if heading in ("actions", "states") else short(*values)


def table(scores: Scores) -> Table:
    groups, lines = [], []
    for dataset, content in scores.collected.items():
        rows = []
        for method in scores.methods:
            found = numbers(content["fidelity"][method])
            cells = [Cell(text(*item), origin=origin(dataset, method)) for item in found.items()]
            rows.append(Row(sentence(label(method)), cells, method))
            plain = {}
            for heading, values in found.items():
                names = (heading,) if len(values) == 1 else PAIRS[heading]
                plain |= dict(zip(names, values, strict=True))
            lines.append({"dataset": dataset, "method": method, **plain})
        groups.append(Group(dataset, rows, dataset))
    notes = [f"{heading}: {meaning}." for heading, meaning in COLUMNS.items()] + remarks(scores)
    return Table("fidelity", "Fidelity", list(COLUMNS), groups, notes, pd.DataFrame(lines))


def remarks(scores: Scores) -> list[str]:
    """What was done, and what was left out."""
    found = []
    records = [record for content in scores.collected.values() for record in content["fidelity"].values()]
    if any(record["physics"] for record in records):
        cut = [record["physics"]["cut"] for record in records if record["physics"]]
        found.append(
            "The simulator was reset to each transition's state and stepped with its action; real data give the floor."
            + (
                f" Left out: {percent(round(min(cut), 3))} to {percent(round(max(cut), 3))} of the transitions, whose"
                " state shows a velocity cut at ±10, so that the true one is not known."
                if max(cut) > 0
                else ""
            )
        )
    if not all(record["physics"] for record in records):
        found.append("–: the simulator cannot be reset to an observation of that task, or a transition has many steps.")
    return found

"""How true each method's transitions are, as one table: the numbers of `results/<dataset>/fidelity-<method>.json`."""

from stages.report.scores import Scores
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


def short(value: float | None) -> str:
    """Two digits, a small one as a power of ten."""
    if value is None:
        return "–"
    if value != 0 and abs(value) < 1e-3:
        digits, _, power = f"{value:.0e}".partition("e")
        return f"{digits}e{int(power)}".replace("-", "−")
    return f"{value:.2g}" if abs(value) < 0.1 else f"{value:.2f}"


def span(ratios: list[list[float]]) -> str:
    """Least to most of the imagined steps; of the only step, where there is but one."""
    values = [ratio for step in ratios for ratio in step]
    return f"{min(values):.2f} to {max(values):.2f}"


def cells(record: dict) -> dict[str, str]:
    """Heading → text of one method's row."""
    physics, inverse, spread = record["physics"], record["inverse_dynamics"], record["diversity"]
    later = spread["actions"][1:] or spread["actions"]  # DAWM's first action is the data's own
    nearest = record["coverage"]["nearest_neighbour"]
    found = dict.fromkeys(COLUMNS, "–")
    if physics:
        terminals = physics["terminals"]
        found |= {
            "next state": short(physics["overall"]["median"]),
            "worst": short(physics["worst_median"]),
            "99th": short(physics["overall"]["p99"]),
            "reward": short(max(step["median"] for step in physics["reward_error"])),
            "ends": f"{percent(round(terminals['rate'], 4))}, {percent(round(terminals['simulator_rate'], 4))}",
        }
    else:
        found["ends"] = percent(round(record["terminal_rate"]["found"], 4))
    return found | {
        "actions": span(later),
        "states": span(spread["states"]),
        "nearest": short(nearest["found"] / nearest["floor"] if nearest["floor"] else None),
        "inverse": short(inverse and inverse["r2"]),
    }


def groups(scores: Scores) -> list[dict]:
    """[{dataset, rows: [{method, cells}]}], texts in the order of `COLUMNS`."""
    return [
        {
            "dataset": dataset,
            "rows": [
                {"method": sentence(label(method)), "cells": list(cells(content["fidelity"][method]).values())}
                for method in scores.methods
            ],
        }
        for dataset, content in scores.collected.items()
    ]


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


def markdown(scores: Scores) -> str:
    lines = [f"| data set | method | {' | '.join(COLUMNS)} |", f"|:--|:--|{'--:|' * len(COLUMNS)}"]
    for group in groups(scores):
        lines += [f"| {group['dataset']} | {row['method']} | {' | '.join(row['cells'])} |" for row in group["rows"]]
    notes = [f"{heading}: {meaning}" for heading, meaning in COLUMNS.items()] + remarks(scores)
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n"

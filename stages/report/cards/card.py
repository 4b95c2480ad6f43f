"""The data card: how much data, how returns, lengths and actions spread, how close observations are to D4RL's."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.files import read_json
from stages.common.transitions import Transitions
from stages.data.local import behaviours
from stages.report.style.words import number, percent, plural
from stages.tasks.environments import name_of
from stages.tasks.tasks import Task, parse

SATURATED = 0.999
D4RL_RETURNS = {"hopper-medium": 1422, "walker2d-medium": 2852, "halfcheetah-medium": 4770}  # D4RL's own averages
NEAR = 0.15  # relative distance from D4RL's average within which local medium data should lie
EXPERT_SCORES = {"hopper-expert": 100, "walker2d-expert": 100, "halfcheetah-expert": 85}  # scores to reach
AS_RECORDED = {
    True: "as recorded in stages/data/recorded.csv",
    False: "**not as recorded** in stages/data/recorded.csv: scores compare only with this machine's",
    None: "none is recorded for this size and discount",
}


@dataclass(frozen=True)
class Training:
    """One training: its curve, with columns step and return, and the steps of the snapshots that the data come from."""

    curve: pd.DataFrame
    snapshots: list[int]


@dataclass(frozen=True)
class Card:
    """The content of a card.

    Attributes:
        facts: results/D/data.json.
        returns, lengths: of every episode, undiscounted and in steps.
        theirs: D4RL's (mean, std) of each observation dimension, if known.
        trainings: of the behaviour policies, by name; empty if none is known.
    """

    dataset: str
    data: Transitions
    task: Task
    facts: dict
    theirs: tuple[np.ndarray, np.ndarray] | None
    trainings: dict[str, Training]

    @property
    def lengths(self) -> np.ndarray:
        return self.data.lengths()

    @property
    def returns(self) -> np.ndarray:
        return self.data.returns()

    @property
    def ours(self) -> tuple[np.ndarray, np.ndarray]:
        return self.data.observations.mean(0), self.data.observations.std(0)


def d4rl_observations(dataset: str) -> tuple[np.ndarray, np.ndarray] | None:
    """D4RL's own (mean, std) of the observations, for a data set of its name, local ones without `-v2`."""
    known = json.loads(Path(__file__).with_name("d4rl_observations.json").read_text())["datasets"]
    statistics = known.get(dataset if dataset.endswith("-v2") else f"{dataset}-v2")
    return statistics and (np.array(statistics["observation_mean"]), np.array(statistics["observation_std"]))


def trainings(dataset: str) -> dict[str, Training]:
    """The trainings of a local data set's behaviour policies by their names; none for random actions."""
    runs = {}
    for path in filter(None, behaviours(*parse(dataset))):
        run = runs.setdefault(path.parent.name, Training(pd.read_csv(path.parent / "curve.csv"), []))
        run.snapshots.append(int(path.stem))
    return runs


def card(dataset: str, source: str) -> Card:
    facts = read_json(Path("results") / dataset / "data.json", f"data of {dataset}")
    data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
    theirs = None if source == "minari" else d4rl_observations(dataset)
    return Card(dataset, data, task, facts, theirs, trainings(dataset) if source == "local" else {})


def aim(card: Card) -> str | None:
    """How close a local tier comes to its counterpart in D4RL."""
    if card.facts["source"] != "local":
        return None
    average = card.facts["return_mean"]
    if card.dataset in D4RL_RETURNS:
        wanted = D4RL_RETURNS[card.dataset]
        apart = average / wanted - 1
        verdict = f"{'within' if abs(apart) <= NEAR else 'beyond'} the {percent(NEAR)} aimed at"
        return f"D4RL's own average return is {wanted:,}; this one is {100 * apart:+.1f}% from it, {verdict}."
    if card.dataset in EXPERT_SCORES:
        wanted, score = EXPERT_SCORES[card.dataset], card.facts["score_mean"]
        short = "reached" if score >= wanted else f"missed by {number(wanted - score)}"
        return f"The aim is a score of at least {wanted}: {short}."
    return None


def described(name: str, run: Training) -> str:
    first, last = run.snapshots[0], run.snapshots[-1]
    span = f"to {last:,}" if len(run.snapshots) > 2 else f"and {last:,}" if first < last else ""
    return f"{plural(len(run.snapshots), 'SAC snapshot')}, {name}, at step {first:,} {span}".strip()


def markdown(card: Card) -> str:
    """The card as text."""
    facts, data, lengths, returns = card.facts, card.data, card.lengths, card.returns
    quartiles = [f"{value:,.0f}" for value in np.percentile(returns, (0, 25, 50, 75, 100))]
    steps = [f"{value:,.0f}" for value in np.percentile(lengths, (0, 25, 50, 75, 100))]
    saturation = (np.abs(data.actions) > SATURATED).mean(0)
    rows = {
        "source": facts["source"],
        "environment": name_of(card.task.environment),
        "transitions": f"{len(data):,}",
        "episodes": f"{len(lengths):,}, of which {facts['terminals']:,} ended by themselves",
        "return of whole episodes": f"{facts['return_mean']:,.1f} ± {facts['return_std']:,.1f}",
        "normalised score": "–" if card.task.reference is None else number(facts["score_mean"]),
        "length of whole episodes": f"{facts['length_mean']:,.1f}",
        "return, quartiles of all episodes": " · ".join(quartiles),
        "length, quartiles of all episodes": " · ".join(steps),
        f"actions beyond ±{SATURATED:g}": percent(round(float(facts["saturated_actions"]), 4)),
        "by dimension": " · ".join(percent(round(float(share), 4)) for share in saturation),
    }
    if facts["source"] == "local":
        rows["behaviour"] = " · ".join(described(name, run) for name, run in card.trainings.items()) or "random actions"
        rows["md5"] = AS_RECORDED[facts["as_recorded"]]
    lines = [f"# {card.dataset}", "", f"![{card.dataset}]({Path(card.dataset).name}.png)", "", "| | |", "|:--|:--|"]
    lines += [f"| {name} | {text} |" for name, text in rows.items()]
    if remark := aim(card):
        lines += ["", remark]
    lines += ["", "## Observations", ""]
    mean, std = card.ours
    if card.theirs is None:
        lines += ["| dimension | mean | std |", "|--:|--:|--:|"]
        lines += [f"| {k} | {mean[k]:.3f} | {std[k]:.3f} |" for k in range(len(mean))]
    else:
        lines += ["| dimension | mean | D4RL's | std | D4RL's |", "|--:|--:|--:|--:|--:|"]
        pairs = zip(mean, card.theirs[0], std, card.theirs[1], strict=True)
        lines += [f"| {k} | {a:.3f} | {b:.3f} | {c:.3f} | {d:.3f} |" for k, (a, b, c, d) in enumerate(pairs)]
    return "\n".join(lines) + "\n"

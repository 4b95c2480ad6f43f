"""The numbers of an ablation: a row for each value, data set, method and algorithm."""

import numpy as np
import pandas as pd

from ablations.experiments import Experiment
from stages.common.cost import seconds
from stages.common.rng import numpy_stream
from stages.report.fidelity import short
from stages.report.statistics import estimate
from stages.report.words import bracket, label, number


def fidelity_columns(record: dict | None) -> dict:
    """Error of the next state, all dimensions and steps; and how spread the actions of imagined steps are."""
    physics = record and record["physics"]
    spread = record and (record["diversity"]["actions"][1:] or record["diversity"]["actions"])
    return {
        "error_median": physics and physics["overall"]["median"],
        "error_p90": physics and physics["overall"]["p90"],
        "error_last_step": physics and physics["state_error"][-1]["overall"]["median"],
        "action_spread": spread and float(np.mean(spread)),
    }


def making(record: dict | None) -> float | None:
    """Seconds of all trainings and the sampling behind a method's transitions; None where one was not seen here."""
    cost = record and record["cost"]
    if not cost:
        return None
    took = [seconds(digest) for digest in (*cost["trained"], cost["source"], cost["sampled"]) if digest]
    return None if None in took else sum(took)


def rows(experiment: Experiment) -> list[dict]:
    """One experiment's."""
    params, found = experiment.params, []
    report = params["report"]
    for (dataset, method, algorithm), part in experiment.scores.groupby(["dataset", "method", "algorithm"], sort=False):
        seeds = part.groupby("seed", sort=True).agg(score=("score", "mean"), generator=("generator", "first"))
        generators = [None if pd.isna(generator) else int(generator) for generator in seeds["generator"]]
        rng = numpy_stream("ablation", dataset, method)
        cell = estimate(seeds["score"], generators, rng, report["resamples"], report["confidence"])
        record = experiment.json(f"results/{dataset}/fidelity-{method}.json")
        steering = experiment.json(f"results/{dataset}/steering.json") if method == "dawm" else None
        found.append(
            {
                "value": experiment.value,
                "dataset": dataset,
                "method": method,
                "algorithm": algorithm,
                "score": cell.mean,
                "low": cell.low,
                "high": cell.high,
                **fidelity_columns(record),
                "steering": steering and steering["rank_correlation"]["beyond"]["asked"],
                "seconds_making": making(record),
                "seconds_policy": experiment.seconds(f"models/{dataset}/{method}-{algorithm}.safetensors"),
            }
        )
    return found


def frame(experiments: list[Experiment]) -> pd.DataFrame:
    return pd.DataFrame([row for experiment in experiments for row in rows(experiment)])


def whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def markdown(table: pd.DataFrame, param: str, about: list[str]) -> str:
    """A block for each data set and method, with a line for each value.

    Arguments:
        about: sentences that say what was run.
    """
    lines = [f"# {param}", "", *about, ""]
    for (dataset, method), part in table.groupby(["dataset", "method"], sort=False):
        algorithms = list(dict.fromkeys(part["algorithm"]))
        measures = {
            "next-state error, median": ("error_median", short),
            "90th percentile": ("error_p90", short),
            "median at the last step": ("error_last_step", short),
            "spread of actions": ("action_spread", short),
            "steering": ("steering", short),
            "making, s": ("seconds_making", whole),
        }
        measures = {name: kind for name, kind in measures.items() if part[kind[0]].notna().any()}
        heads = [param, *map(label, algorithms), *measures, "policies, s"]
        lines += [f"## {dataset}, {label(method)}", "", f"| {' | '.join(heads)} |", f"|:--|{'--:|' * (len(heads) - 1)}"]
        for value, group in part.groupby("value", sort=False):
            cells = group.set_index("algorithm")
            scores = []
            for algorithm in algorithms:
                cell = cells.loc[algorithm].replace({np.nan: None})
                scores.append(f"{number(cell['score'])} {bracket(cell)}".strip())
            first = group.iloc[0].replace({np.nan: None})
            own = [form(first[name]) for name, form in measures.values()]
            policies = whole(group["seconds_policy"].sum() if group["seconds_policy"].notna().all() else None)
            lines.append(f"| {value} | {' | '.join([*scores, *own, policies])} |")
        lines.append("")
    notes = [
        "Scores: mean over seeds [bootstrap interval]. Next-state errors against the simulator, in standard deviations"
        " of the real data. Spread: standard deviation of imagined actions over the real ones, averaged. Steering: rank"
        " correlation of what is asked and reached, beyond what the start tells. Seconds: of this machine, when each"
        " stage last ran here; making is the training of what a method's transitions come from, and their sampling."
    ]
    return "\n".join([*lines, *notes]) + "\n"

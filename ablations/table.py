"""The numbers of an ablation: a row for each value, data set, method and algorithm."""

import numpy as np
import pandas as pd

from ablations.experiments import Experiment
from stages.report.aggregates import drawn
from stages.report.costs import seconds_of
from stages.report.fidelity import imagined
from stages.report.revisions import cells_of
from stages.report.statistics import estimate


def fidelity_columns(record: dict | None) -> dict:
    """Error of the next state, all dimensions and steps; and how spread the actions of imagined steps are."""
    physics = record and record["physics"]
    spread = record and imagined(record)
    return {
        "error_median": physics and physics["overall"]["median"],
        "error_p90": physics and physics["overall"]["p90"],
        "error_last_step": physics and physics["state_error"][-1]["overall"]["median"],
        "action_spread": spread and float(np.mean(spread)),
    }


def making(record: dict | None) -> float | None:
    """Seconds of all trainings and the sampling behind a method's transitions; None where one was not seen here."""
    cost = record and record["cost"]
    took = seconds_of(cost) if cost else (None,)
    return None if None in took else sum(took)


def rows(experiment: Experiment) -> list[dict]:
    """One experiment's."""
    params, found = experiment.params, []
    report = params["report"]
    for names, runs in drawn(cells_of(experiment.scores), report["resamples"]).items():
        (dataset, method, algorithm), cell = names, estimate(*runs, report["confidence"])
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

"""The numbers of an ablation: a row for each value, data set, method and algorithm."""

import numpy as np
import pandas as pd

from ablations.experiments import Experiment
from stages.common.cost import seconds
from stages.common.rng import numpy_stream
from stages.report.statistics import draw, estimate


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
        rng = numpy_stream("bootstrap", dataset, method)
        draws = draw((dataset, method), len(seeds), generators, rng, report["resamples"])
        cell = estimate(seeds["score"], draws, report["confidence"])
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

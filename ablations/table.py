"""Numbers of an ablation: a row for each value, data set, method and algorithm."""

import numpy as np
import pandas as pd

from ablations.finished import Finished
from stages.report.revisions import cells_of
from stages.report.statistics.aggregates import resampled_runs
from stages.report.statistics.bootstrap import estimate
from stages.report.tables.costs import seconds_of
from stages.report.tables.fidelity import imagined


def fidelity_columns(record: dict | None) -> dict:
    """Error of the next state over all dimensions and steps, and the spread of the actions at imagined steps."""
    physics = record and record["physics"]
    spread = record and imagined(record)
    return {
        "error_median": physics and physics["overall"]["median"],
        "error_p90": physics and physics["overall"]["p90"],
        "error_last_step": physics and physics["state_error"][-1]["overall"]["median"],
        "action_spread": spread and float(np.mean(spread)),
    }


def making(record: dict | None) -> float | None:
    """Seconds of all training and sampling behind a method's transitions; None if not all was recorded here."""
    cost = record and record["cost"]
    times = seconds_of(cost) if cost else (None,)
    return None if None in times else sum(times)


def rows(run: Finished) -> list[dict]:
    """The rows of one run."""
    lines, report = [], run.params["report"]
    for names, seeds in resampled_runs(cells_of(run.scores), report["resamples"]).items():
        (dataset, method, algorithm), cell = names, estimate(*seeds, report["confidence"])
        record = run.json(f"results/{dataset}/fidelity-{method}.json")
        steering = run.json(f"results/{dataset}/steering.json") if method == "dawm" else None
        lines.append(
            {
                "value": run.value,
                "dataset": dataset,
                "method": method,
                "algorithm": algorithm,
                "score": cell.mean,
                "low": cell.low,
                "high": cell.high,
                **fidelity_columns(record),
                "steering": steering and steering["rank_correlation"]["beyond"]["asked"],
                "seconds_making": making(record),
                "seconds_policy": run.seconds(f"models/{dataset}/{method}-{algorithm}.safetensors"),
            }
        )
    return lines


def frame(finished: list[Finished]) -> pd.DataFrame:
    """The numbers of all runs; NaN where there is none."""
    numbers = pd.DataFrame([row for run in finished for row in rows(run)])
    texts = ["value", "dataset", "method", "algorithm"]
    return numbers.astype(dict.fromkeys(numbers.columns.difference(texts), float))

"""The collected results as frames, one row an episode or a snapshot, and as estimates of every cell of the grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.rng import numpy_stream
from stages.common.schema import Params
from stages.report.collect import read_json
from stages.report.statistics import Estimate, average, difference, estimate

AVERAGE = "average"  # stands where a data set's name stands


@dataclass(frozen=True)
class Scores:
    """What tables, figures and page show.

    Attributes:
        datasets: of the grid; `AVERAGE` comes last where there is more than one, all with normalised scores.
        cells: (dataset, method, algorithm) → Estimate of the normalised score.
        differences: the same for each method minus `real`; empty where the grid has no `real`.
        behaviour: dataset → average score of the data's own episodes.
        collected: dataset → the content of `results/collected/<dataset>.json`.
        raw: data sets without reference scores; there "score" means the plain return.
    """

    datasets: list[str]
    methods: list[str]
    algorithms: list[str]
    confidence: float
    cells: dict[tuple[str, str, str], Estimate]
    differences: dict[tuple[str, str, str], Estimate]
    behaviour: dict[str, float]
    collected: dict[str, dict]
    raw: list[str]

    @property
    def headline(self) -> str:
        """What the headline is about: the average, or else the first data set."""
        return AVERAGE if AVERAGE in self.datasets else self.datasets[0]


def raw_datasets(collected: dict[str, dict]) -> list[str]:
    return [name for name, content in collected.items() if any(cell["reference"] is None for cell in content["cells"])]


def averaged(collected: dict[str, dict]) -> bool:
    """Whether an average over data sets means something: returns of different tasks have no common scale."""
    return len(collected) > 1 and not raw_datasets(collected)


def read_collected(params: Params) -> dict[str, dict]:
    """dataset → its collected results, for exactly the grid of `params`.

    Raises:
        SystemExit: naming the file, where one is missing or was collected for another grid.
    """
    collected = {}
    for dataset in params.datasets:
        path = Path("results/collected") / f"{dataset}.json"
        content = read_json(path, f"results of {dataset}")
        grid = [(dataset, method, algorithm) for method in params.methods for algorithm in params.algorithms]
        if [(cell["dataset"], cell["method"], cell["algorithm"]) for cell in content["cells"]] != grid:
            raise SystemExit(f"results of {dataset}: {path} holds another grid than params.yaml names; run: dvc repro")
        for cell in content["cells"]:
            if len(cell["seeds"]) != params.seeds:
                name = f"cell {dataset} × {cell['method']} × {cell['algorithm']}"
                counts = f"{len(cell['seeds'])} seeds, params.yaml asks for {params.seeds}"
                raise SystemExit(f"{name}: {path} has {counts}; run: dvc repro")
        collected[dataset] = content
    return collected


def cells_of(collected: dict[str, dict]):
    """Each cell's JSON with the columns that name it, in the order of the grid."""
    for content in collected.values():
        for cell in content["cells"]:
            yield cell, {key: cell[key] for key in ("dataset", "method", "algorithm")}


def episode_frame(collected: dict[str, dict]) -> pd.DataFrame:
    """A row for each episode of a last policy: dataset, method, algorithm, seed, generator, episode, return, score."""
    rows = [
        {
            **names,
            "seed": seed["seed"],
            "generator": seed["generator"],
            "episode": index,
            "return": total,
            "score": score,
        }
        for cell, names in cells_of(collected)
        for seed in cell["seeds"]
        for index, (total, score) in enumerate(zip(seed["returns"], seed["scores"], strict=True))
    ]
    return pd.DataFrame(rows).astype({"generator": "Int64"})


def curve_frame(collected: dict[str, dict]) -> pd.DataFrame:
    """A row for each evaluated snapshot, the last policy included: dataset, method, algorithm, step, seed, score."""
    rows = []
    for cell, names in cells_of(collected):
        seeds = cell["seeds"]
        last = {"step": cell["steps"], "scores": [seed["scores"] for seed in seeds]}
        for point in [*cell["curve"], last]:
            for seed, scores in zip(seeds, point["scores"], strict=True):
                rows.append({**names, "step": point["step"], "seed": seed["seed"], "score": float(np.mean(scores))})
    return pd.DataFrame(rows)


def estimate_cells(collected: dict[str, dict], params: Params) -> dict[tuple[str, str, str], Estimate]:
    """(dataset, method, algorithm) → Estimate, and (`AVERAGE`, …) where an average means something.

    Algorithms share their draws within a data set and method, since policy i of each learns from the same generator.
    """
    confidence = params.report.confidence
    cells = {}
    for cell, names in cells_of(collected):
        rng = numpy_stream("bootstrap", names["dataset"], names["method"])
        values = [np.mean(seed["scores"]) for seed in cell["seeds"]]
        clusters = [seed["generator"] for seed in cell["seeds"]]
        cells[tuple(names.values())] = estimate(values, clusters, rng, params.report.resamples, confidence)
    if averaged(collected):
        for method in params.methods:
            for algorithm in params.algorithms:
                parts = [cells[dataset, method, algorithm] for dataset in collected]
                cells[AVERAGE, method, algorithm] = average(parts, confidence)
    return cells


def score(collected: dict[str, dict], params: Params) -> Scores:
    """Everything that is estimated from the collected results."""
    cells = estimate_cells(collected, params)
    differences = {
        (dataset, method, algorithm): difference(cell, cells[dataset, "real", algorithm], params.report.confidence)
        for (dataset, method, algorithm), cell in cells.items()
        if method != "real" and "real" in params.methods
    }
    behaviour = {dataset: content["data"]["score_mean"] for dataset, content in collected.items()}
    if averaged(collected):
        behaviour[AVERAGE] = float(np.mean(list(behaviour.values())))
    datasets = list(behaviour)
    names = (datasets, params.methods, params.algorithms)
    return Scores(*names, params.report.confidence, cells, differences, behaviour, collected, raw_datasets(collected))


def summary(scores: Scores) -> dict:
    """{dataset: {method: {algorithm: mean score}}}, the handful of numbers that `dvc metrics` compares."""
    return {
        dataset: {
            method: {
                algorithm: round(scores.cells[dataset, method, algorithm].mean, 2) for algorithm in scores.algorithms
            }
            for method in scores.methods
        }
        for dataset in scores.datasets
    }

"""Reads the collected results of exactly the grid in params.yaml, and gives them as data frames."""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.files import read_json
from stages.common.settings import Positive, root
from stages.report.settings import Report
from stages.report.style.words import listed

READS = root("source", "datasets", "methods", "algorithms", "seeds") | {
    "policy.steps": Positive,
    "evaluate.episodes": Positive,
    "report": Report,
}


def mismatch(cell: dict, params) -> str | None:
    """How a cell's file differs from params.yaml; None if it matches."""
    episodes = sorted({len(seed["scores"]) for seed in cell["seeds"]})
    facts = {
        "source": (cell["source"], params.source),
        "seeds": (len(cell["seeds"]), params.seeds),
        "updates": (cell["steps"], params.policy.steps),
        "episodes": (*episodes, params.evaluate.episodes),
    }
    for name, values in facts.items():
        if len(set(values)) > 1:
            *actual, expected = values
            return f"{name}: {listed(actual)}, but params.yaml asks for {expected}"
    return None


def names_of(cell: dict) -> tuple[str, str, str]:
    return cell["dataset"], cell["method"], cell["algorithm"]


def read_collected(params) -> dict[str, dict]:
    """dataset → its collected results, for exactly the grid of `params`, which has the keys of `READS`.

    Raises:
        SystemExit: if a file is missing or was collected for another grid (names the file), or if a cell belongs to
            another run (names the cell).
    """
    collected = {}
    for dataset in params.datasets:
        path = Path("results/collected") / f"{dataset}.json"
        content = read_json(path, f"results of {dataset}")
        grid = [(dataset, method, algorithm) for method in params.methods for algorithm in params.algorithms]
        held, absent = ([names_of(cell) for cell in content[kind]] for kind in ("cells", "absent"))
        if held != [names for names in grid if names not in absent] or not set(absent) <= set(grid):
            raise SystemExit(f"results of {dataset}: the grid in {path} is not that of params.yaml; run: dvc repro")
        for cell in content["cells"]:
            if (difference := mismatch(cell, params)) is not None:
                name = f"cell {dataset} × {cell['method']} × {cell['algorithm']}"
                raise SystemExit(f"{name}: {difference}; run: dvc repro")
        collected[dataset] = content
    return collected


def cells_of(collected: dict[str, dict]):
    """Yields each cell's JSON and the columns that name it, in the order of the grid."""
    for content in collected.values():
        for cell in content["cells"]:
            yield cell, {key: cell[key] for key in ("dataset", "method", "algorithm")}


def episode_frame(collected: dict[str, dict]) -> pd.DataFrame:
    """A row for each episode of a final policy: dataset, method, algorithm, seed, generator, episode, return, score."""
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
    """A row for each evaluated snapshot, the final policy included: dataset, method, algorithm, step, seed, score."""
    rows = []
    for cell, names in cells_of(collected):
        seeds = cell["seeds"]
        last = {"step": cell["steps"], "scores": [seed["scores"] for seed in seeds]}
        for point in [*cell["curve"], last]:
            for seed, scores in zip(seeds, point["scores"], strict=True):
                rows.append({**names, "step": point["step"], "seed": seed["seed"], "score": float(np.mean(scores))})
    return pd.DataFrame(rows)

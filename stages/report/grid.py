"""The collected results, exactly the grid that params.yaml names, and as frames: a row for each episode or snapshot."""

from pathlib import Path

import numpy as np
import pandas as pd

from stages.common.schema import Params
from stages.report.collect import read_json
from stages.report.words import listed


def unlike(cell: dict, params: Params) -> str | None:
    """What tells that a cell is of another run than `params` asks for, None where nothing does."""
    episodes = sorted({len(seed["scores"]) for seed in cell["seeds"]})
    facts = {
        "source": (cell["source"], params.source),
        "seeds": (len(cell["seeds"]), params.seeds),
        "updates": (cell["steps"], params.policy.steps),
        "episodes": (*episodes, params.evaluate.episodes),
    }
    for name, values in facts.items():
        if len(set(values)) > 1:
            found, wanted = listed(values[:-1]), values[-1]
            return f"{name}: {found}, where params.yaml asks for {wanted}"
    return None


def read_collected(params: Params) -> dict[str, dict]:
    """dataset → its collected results, for exactly the grid of `params`.

    Raises:
        SystemExit: naming the file, where one is missing or was collected for another grid, or the cell, where it is of
            another run.
    """
    collected = {}
    for dataset in params.datasets:
        path = Path("results/collected") / f"{dataset}.json"
        content = read_json(path, f"results of {dataset}")
        grid = [(dataset, method, algorithm) for method in params.methods for algorithm in params.algorithms]
        if [(cell["dataset"], cell["method"], cell["algorithm"]) for cell in content["cells"]] != grid:
            raise SystemExit(f"results of {dataset}: {path} holds another grid than params.yaml names; run: dvc repro")
        for cell in content["cells"]:
            if (told := unlike(cell, params)) is not None:
                raise SystemExit(f"cell {dataset} × {cell['method']} × {cell['algorithm']}: {told}; run: dvc repro")
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

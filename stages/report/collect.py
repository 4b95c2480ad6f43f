"""Gathers one data set's results, exactly the cells of params.yaml's grid, into `results/collected/<dataset>.json`.

DVC cannot expand a list in `deps`, and a stage may not depend on a folder that holds its own output. So this stage
reads `results/<dataset>/`, and the report reads only what it gathers; files of an earlier grid stay out of the report.
"""

from pathlib import Path

from stages.common.files import read_json, write_json
from stages.common.settings import root
from stages.common.stage import begin
from stages.common.timing import digest

READS = root("methods", "algorithms")
PHASES = ("diffusion", "idm", "augment", "steering")  # of DAWM; each leaves its own measurements


def collect(dataset: str, methods: list[str], algorithms: list[str], folder: Path) -> dict:
    """All results of one data set that the report needs.

    Returns:
        {"dataset", "data", "phases", "fidelity" of the methods that were run, "cells" in the order of the grid
        with their files' md5, "absent": cells without scores, with what to show and the reason}.

    Raises:
        SystemExit: if a cell's file is missing, holds another cell or has another number of seeds; names cell and file.
    """
    cells, absent = [], []
    for method in methods:
        for algorithm in algorithms:
            path = folder / f"{method}-{algorithm}.json"
            expected = {"dataset": dataset, "method": method, "algorithm": algorithm}
            name = f"cell {dataset} × {method} × {algorithm}"
            cell = read_json(path, name)
            names = {key: cell.get(key) for key in expected}
            if names != expected:
                held = " × ".join(map(str, names.values()))
                raise SystemExit(f"{name}: {path} holds cell {held}; delete it and run: dvc repro")
            if "absent" in cell:
                absent.append(cell)
                continue
            if cells and len(cell["seeds"]) != len(cells[0]["seeds"]):
                first = f"{cells[0]['method']}-{cells[0]['algorithm']}.json has {len(cells[0]['seeds'])}"
                raise SystemExit(f"{name}: {path} has {len(cell['seeds'])} seeds, {first}; run: dvc repro")
            cells.append({**cell, "md5": digest(path)})
    scored = {cell["method"] for cell in cells}
    records = {method: folder / f"fidelity-{method}.json" for method in methods}
    records = {method: path for method, path in records.items() if method in scored or path.exists()}
    phases = PHASES if "dawm" in records else ()
    return {
        "dataset": dataset,
        "data": read_json(folder / "data.json", f"data of {dataset}"),
        "phases": {phase: read_json(folder / f"{phase}.json", f"phase {phase} of {dataset}") for phase in phases},
        "fidelity": {method: read_json(path, f"fidelity of {dataset} × {method}") for method, path in records.items()},
        "cells": cells,
        "absent": absent,
    }


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset = given.dataset
    collected = collect(dataset, params.methods, params.algorithms, Path("results") / dataset)
    write_json(Path("results/collected") / f"{dataset}.json", collected)


if __name__ == "__main__":
    main()

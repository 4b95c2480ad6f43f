"""Gathers one data set's results, exactly the cells that params.yaml names, into `results/collected/<dataset>.json`.

DVC cannot unroll a list into `deps`, and a stage may not depend on a folder that holds its own output. So this stage
reads `results/<dataset>/`, the report what it gathers, and what an earlier grid left there stays out of the report.
"""

import argparse
import json
from pathlib import Path

from stages.common.files import write_json
from stages.common.params import load

READS = ("methods", "algorithms")
PHASES = ("diffusion", "idm", "augment", "steering")  # what DAWM measures of its own parts


def read_json(path: Path, what: str) -> dict:
    """The content of a results file.

    Raises:
        SystemExit: where the file is missing or is not JSON; `what` says what it should hold.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"{what}: {path} is missing; run: dvc repro") from None
    except ValueError as error:
        raise SystemExit(f"{what}: {path} is not JSON ({error}); delete it and run: dvc repro") from None


def collect(dataset: str, methods: list[str], algorithms: list[str], folder: Path) -> dict:
    """Everything the report needs of one data set: {dataset, data, phases, fidelity, cells in the order of the grid}.

    Raises:
        SystemExit: naming cell and file, where one is missing, holds another cell, or has another number of seeds.
    """
    cells = []
    for method in methods:
        for algorithm in algorithms:
            path = folder / f"{method}-{algorithm}.json"
            expected = {"dataset": dataset, "method": method, "algorithm": algorithm}
            name = f"cell {dataset} × {method} × {algorithm}"
            cell = read_json(path, name)
            found = {key: cell.get(key) for key in expected}
            if found != expected:
                held = " × ".join(map(str, found.values()))
                raise SystemExit(f"{name}: {path} holds cell {held}; delete it and run: dvc repro")
            if cells and len(cell["seeds"]) != len(cells[0]["seeds"]):
                first = f"{cells[0]['method']}-{cells[0]['algorithm']}.json has {len(cells[0]['seeds'])}"
                raise SystemExit(f"{name}: {path} has {len(cell['seeds'])} seeds, {first}; run: dvc repro")
            cells.append(cell)
    phases = PHASES if "dawm" in methods else ()
    return {
        "dataset": dataset,
        "data": read_json(folder / "data.json", f"data of {dataset}"),
        "phases": {phase: read_json(folder / f"{phase}.json", f"phase {phase} of {dataset}") for phase in phases},
        "fidelity": {
            method: read_json(folder / f"fidelity-{method}.json", f"fidelity of {dataset} × {method}")
            for method in methods
        },
        "cells": cells,
    }


def main():
    parser = argparse.ArgumentParser(description="Gather one data set's results for the report.")
    parser.add_argument("--dataset", required=True)
    dataset = parser.parse_args().dataset
    params = load(*READS)
    collected = collect(dataset, params.methods, params.algorithms, Path("results") / dataset)
    write_json(Path("results/collected") / f"{dataset}.json", collected)


if __name__ == "__main__":
    main()

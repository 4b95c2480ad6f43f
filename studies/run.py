"""Runs what a study lacks, one method on one data set after the other, and keeps each result in the study's folder."""

import shutil
import subprocess
import sys
from itertools import chain, product
from pathlib import Path

from stages.common.params import read
from studies.cost import hours

PHASES = ("diffusion", "idm", "augment", "steering")  # of DAWM, as `stages/report/collect.py` gathers them


def needed(params: dict, dataset: str, method: str) -> dict[str, str]:
    """File in results/<dataset>/ → the DVC stage that makes it, for one method on one data set."""
    cells = {f"{method}-{name}.json": f"evaluate@{dataset}-{method}-{name}" for name in params["algorithms"]}
    files = {**cells, f"fidelity-{method}.json": f"fidelity@{dataset}-{method}"}
    if method == "dawm":
        files |= {f"{phase}.json": f"{phase}@{dataset}" for phase in PHASES}
    return {**files, "data.json": f"card@{dataset}"}  # the stage before the card


def missing(folder: Path, params: dict, dataset: str, method: str) -> dict[str, str]:
    """What the study lacks of `needed`."""
    there = folder / "results" / dataset
    return {name: stage for name, stage in needed(params, dataset, method).items() if not (there / name).exists()}


def cells_of(lacking: dict[str, str]) -> list[str]:
    """The algorithms of the cells among what is missing."""
    return [stage.rpartition("-")[2] for stage in lacking.values() if stage.startswith("evaluate@")]


def check_data(folder: Path, dataset: str):
    """Ends the run if the study has results of one data set from other data than the project's.

    Raises:
        SystemExit: naming the study's record of its data and what to do.
    """
    theirs, ours = (root / "results" / dataset / "data.json" for root in (folder, Path()))
    if theirs.exists() and ours.exists() and theirs.read_bytes() != ours.read_bytes():
        raise SystemExit(
            f"{theirs} is of other data than {ours}, so their results do not belong together; delete {theirs.parent} to"
            f" run all of {dataset} again"
        )


def keep(folder: Path, dataset: str, names):
    """Copies results of one data set, its card and dvc.lock into the study, if they are of the same data."""
    check_data(folder, dataset)
    target = folder / "results" / dataset
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(Path("results") / dataset / name, target / name)
    cards = folder / "reports/data"
    cards.mkdir(parents=True, exist_ok=True)
    shutil.copy(f"reports/data/{dataset}.png", cards)
    shutil.copy("dvc.lock", folder)


def run(folder: Path, params: dict, datasets: list[str], methods: list[str], cluster: list[str] | None = None):
    """Runs every missing cell of these data sets and methods.

    Arguments:
        cluster: options of `python -m cluster`, which then runs all of them together; None for `dvc repro`, one method
            after the other, each kept before the next begins.

    Raises:
        SystemExit: if the project's params.yaml is not the study's, if the study's results are of other data, or if a
            stage fails.
    """
    if read(Path("params.yaml")) != params:
        raise SystemExit(
            f"params.yaml is not the study's; commit or undo your changes, then: cp {folder}/params.yaml ."
        )
    grid = {names: missing(folder, params, *names) for names in product(datasets, methods)}
    for dataset in datasets:
        if any(grid[dataset, method] for method in methods):
            check_data(folder, dataset)
    cells = [(method, cells_of(lacking)) for (_, method), lacking in grid.items()]
    if count := sum(len(names) for _, names in cells):
        print(
            f"{folder.name}: {count} cells are missing, about {hours(params, cells):.1f} h on two cores",
            file=sys.stderr,
        )
    if cluster is not None and (targets := dict.fromkeys(chain(*map(dict.values, grid.values())))):
        repro([sys.executable, "-m", "cluster", *targets, *cluster], folder.name)
    for dataset, method in grid:
        if not (lacking := missing(folder, params, dataset, method)):
            continue
        if cluster is None:
            print(f"{folder.name}: {dataset} × {method}: {', '.join(lacking)}", file=sys.stderr)
            repro(["dvc", "repro", *lacking.values()], f"{folder.name}: {dataset} × {method}")
        keep(folder, dataset, lacking)


def repro(command: list[str], what: str):
    """Runs a command that makes stages' outputs.

    Raises:
        SystemExit: if it fails; begins with `what` was to be made.
    """
    if status := subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{what} failed with {status}; the same command goes on")

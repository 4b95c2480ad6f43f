"""Tables, figures and page of a study, from the results in its folder."""

import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from stages.common.files import write_json
from stages.report.style.words import NOT_RUN
from studies.run import missing

ROOT = Path(__file__).parents[1]
PARTS = ("tables", "figures", "index.html")  # of reports/


def complete(folder: Path, params: dict) -> dict[str, list[str]]:
    """Data set → methods of which all is there, for data sets with all of real data and DAWM, if the grid has these."""
    methods = params["methods"]
    found = {name: [each for each in methods if not missing(folder, params, name, each)] for name in params["datasets"]}
    needed = {"real", "dawm"} & set(methods)
    return {name: there for name, there in found.items() if there and needed <= set(there)}


def mark(results: Path, dataset: str, methods: list[str], algorithms: list[str]):
    """Writes cells without scores for methods that the data set lacks."""
    why = {"shown": NOT_RUN, "reason": "the study is not complete"}
    for method, algorithm in product(methods, algorithms):
        cell = {"dataset": dataset, "method": method, "algorithm": algorithm, "absent": why}
        write_json(results / dataset / f"{method}-{algorithm}.json", cell)


def draw(folder: Path, params: dict):
    """Writes `folder`/reports/ by the project's own stages, which run in a copy of the study.

    Raises:
        SystemExit: if nothing can be drawn yet, or if a stage fails.
    """
    there = complete(folder, params)
    if not there:
        raise SystemExit(f"{folder}: nothing to draw yet; run: python -m studies {folder.name} --run")
    methods = [name for name in params["methods"] if any(name in each for each in there.values())]
    if rest := [name for key in ("datasets", "methods") for name in params[key] if name not in {*there, *methods}]:
        print(f"{folder.name}: not run yet: {', '.join(rest)}", file=sys.stderr)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(ROOT)}
    with TemporaryDirectory() as scratch:
        for name in ("results", "reports/data"):
            shutil.copytree(folder / name, Path(scratch) / name)
        if (folder / "dvc.lock").exists():
            shutil.copy(folder / "dvc.lock", scratch)
        for dataset, whole in there.items():
            lacking = [name for name in methods if name not in whole]
            mark(Path(scratch) / "results", dataset, lacking, params["algorithms"])
        content = yaml.safe_dump({**params, "datasets": list(there), "methods": methods}, sort_keys=False)
        (Path(scratch) / "params.yaml").write_text(content, encoding="utf-8")
        collects = [["collect", "--dataset", dataset] for dataset in there]
        for module, *arguments in (*collects, ["tables"], ["page"]):
            command = [sys.executable, "-m", f"stages.report.{module}", *arguments]
            if subprocess.run(command, cwd=scratch, env=environment, check=False).returncode:
                raise SystemExit(f"{folder.name}: {' '.join(command[2:])} failed")
        for name in PARTS:
            made, target = Path(scratch) / "reports" / name, folder / "reports" / name
            if target.is_dir():
                shutil.rmtree(target)
            (shutil.copytree if made.is_dir() else shutil.copy)(made, target)
    print(f"{folder}/reports/index.html")

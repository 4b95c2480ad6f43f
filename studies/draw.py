"""Tables, figures and page of a study, from the results in its folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from studies.run import missing

ROOT = Path(__file__).parents[1]
PARTS = ("tables", "figures", "index.html")  # of reports/


def finished(folder: Path, params: dict) -> list[str]:
    """The data sets of which every cell has been run."""
    return [
        dataset
        for dataset in params["datasets"]
        if not any(missing(folder, params, dataset, method) for method in params["methods"])
    ]


def draw(folder: Path, params: dict):
    """Writes `folder`/reports/ by the project's own stages, which run in a copy of the study.

    Raises:
        SystemExit: if no data set is finished, or if a stage fails.
    """
    datasets = finished(folder, params)
    if not datasets:
        raise SystemExit(f"{folder}: no data set has all its cells yet; run: python -m studies {folder.name} --run")
    if rest := [name for name in params["datasets"] if name not in datasets]:
        print(f"{folder.name}: without {', '.join(rest)}, of which cells are missing", file=sys.stderr)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(ROOT)}
    with TemporaryDirectory() as scratch:
        for name in ("results", "reports/data"):
            shutil.copytree(folder / name, Path(scratch) / name)
        if (folder / "dvc.lock").exists():
            shutil.copy(folder / "dvc.lock", scratch)
        content = yaml.safe_dump({**params, "datasets": datasets}, sort_keys=False)
        (Path(scratch) / "params.yaml").write_text(content, encoding="utf-8")
        collects = [["collect", "--dataset", dataset] for dataset in datasets]
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

"""Runs each value as a DVC experiment in a temporary folder.

Experiments share DVC's cache with the workspace and with each other, so a stage that has run with the same code,
parameters and inputs does not run again. The same command therefore resumes an interrupted ablation. The workspace is
not touched; experiments stay in `dvc exp show` until `dvc exp remove`.
"""

import re
import subprocess
import sys

from ablations.finished import Experiment
from stages.report.revisions import experiment


def name_of(param: str, value: str) -> str:
    """The experiment's name, with characters that git allows."""
    return re.sub(r"[^\w.-]+", "-", f"ablation-{param}-{value}").strip("-.")


def run(param: str, value: str, settings: list[str]) -> Experiment | None:
    """Runs one experiment; None if it fails, with a message on stderr.

    Arguments:
        settings: further changes of `params.yaml`, `key=value`, the same for all values.
    """
    name = name_of(param, value)
    print(f"ablation: {param} = {value}", file=sys.stderr, flush=True)
    if experiment(name):  # from an earlier run, perhaps of other code; its stages are in the cache
        subprocess.run(["dvc", "exp", "remove", "-q", name], check=True)
    changes = [part for setting in [*settings, f"{param}={value}"] for part in ("-S", setting)]
    done = subprocess.run(["dvc", "exp", "run", "--temp", "-n", name, *changes], check=False)
    commit = experiment(name)
    if done.returncode or commit is None:
        print(f"ablation: {param} = {value} failed and is left out", file=sys.stderr, flush=True)
        return None
    return Experiment(value, commit)

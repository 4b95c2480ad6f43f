"""Runs each value as a DVC experiment in a temporary folder, and reads the experiment's results from git.

Experiments share DVC's cache with the workspace and with each other, so a stage that has run with the same code,
parameters and inputs does not run again. The same command therefore resumes an interrupted ablation. The workspace is
not touched; experiments stay in `dvc exp show` until `dvc exp remove`.
"""

import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import yaml

from stages.common.timing import seconds
from stages.report.revisions import experiment


def git(*command: str) -> str:
    return subprocess.run(["git", *command], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Experiment:
    """The finished experiment of one value, and its commit."""

    value: str
    commit: str

    def read(self, path: str) -> str:
        return git("show", f"{self.commit}:{path}")

    @property
    def params(self) -> dict:
        return yaml.safe_load(self.read("params.yaml"))

    @property
    def scores(self) -> pd.DataFrame:
        """A row for each episode of a final policy."""
        return pd.read_csv(io.StringIO(self.read("results/scores.csv"))).astype({"generator": "Int64"})

    def json(self, path: str) -> dict | None:
        """The content of a JSON file; None if the experiment has no such file."""
        try:
            return json.loads(self.read(path))
        except subprocess.CalledProcessError:
            return None

    @cached_property
    def digests(self) -> dict[str, str]:
        """path → md5 of each stage output."""
        stages = yaml.safe_load(self.read("dvc.lock"))["stages"].values()
        return {output["path"]: output["md5"] for stage in stages for output in stage.get("outs", [])}

    def seconds(self, *outputs: str) -> float | None:
        """Total time of the stages that wrote those files; None if one was not recorded on this machine."""
        times = [seconds(self.digests[output]) for output in outputs]
        return None if None in times else sum(times)


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

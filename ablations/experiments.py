"""Runs the values as DVC experiments in a temporary folder, and reads what they left in git.

An experiment shares DVC's cache with the workspace and with other experiments: a stage that has run once with the same
code, parameters and inputs, here or there, does not run again. So an ablation that was interrupted is resumed by the
same command. The workspace is not touched; experiments stay in `dvc exp show` until `dvc exp remove`.
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

from stages.common.cost import seconds
from stages.report.revisions import experiment


def git(*command: str) -> str:
    return subprocess.run(["git", *command], check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Experiment:
    """What one value left behind: the commit of a finished experiment."""

    value: str
    commit: str

    def read(self, path: str) -> str:
        return git("show", f"{self.commit}:{path}")

    @property
    def params(self) -> dict:
        return yaml.safe_load(self.read("params.yaml"))

    @property
    def scores(self) -> pd.DataFrame:
        """A row for each episode of a last policy."""
        return pd.read_csv(io.StringIO(self.read("results/scores.csv"))).astype({"generator": "Int64"})

    def json(self, path: str) -> dict | None:
        """None where the experiment has no such file."""
        try:
            return json.loads(self.read(path))
        except subprocess.CalledProcessError:
            return None

    @cached_property
    def digests(self) -> dict[str, str]:
        """The md5 of each file that a stage made."""
        stages = yaml.safe_load(self.read("dvc.lock"))["stages"].values()
        return {output["path"]: output["md5"] for stage in stages for output in stage.get("outs", [])}

    def seconds(self, *outputs: str) -> float | None:
        """What it took to make those files, in sum; None where one was not seen being made here."""
        took = [seconds(self.digests[output]) for output in outputs]
        return None if None in took else sum(took)


def name_of(param: str, value: str) -> str:
    """Of the experiment, as git allows it."""
    return re.sub(r"[^\w.-]+", "-", f"ablation-{param}-{value}").strip("-.")


def run(param: str, value: str, settings: list[str]) -> Experiment | None:
    """One experiment to its end; None where it fails, after saying so.

    Arguments:
        settings: more of `params.yaml` to change, `key=value`, for all values alike.
    """
    name = name_of(param, value)
    print(f"ablation: {param} = {value}", file=sys.stderr, flush=True)
    if experiment(name):  # of an earlier run: its stages are in the cache, and it may be of other code
        subprocess.run(["dvc", "exp", "remove", "-q", name], check=True)
    changes = [part for setting in [*settings, f"{param}={value}"] for part in ("-S", setting)]
    done = subprocess.run(["dvc", "exp", "run", "--temp", "-n", name, *changes], check=False)
    commit = experiment(name)
    if done.returncode or commit is None:
        print(f"ablation: {param} = {value} failed; it is left out", file=sys.stderr, flush=True)
        return None
    return Experiment(value, commit)

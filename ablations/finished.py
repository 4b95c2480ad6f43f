"""A finished run at one value of the ablated parameter: a DVC experiment, or a folder copied from another machine."""

import io
import json
from abc import ABC, abstractmethod
from functools import cached_property
from itertools import product
from pathlib import Path

import pandas as pd
import yaml

from stages.common.timing import seconds
from stages.report.revisions import git
from stages.report.statistics.grid import episode_frame


class Finished(ABC):
    """A finished run.

    Attributes:
        value: of the ablated parameter, as it was given.
    """

    def __init__(self, value: str):
        self.value = value

    @abstractmethod
    def read(self, path: str) -> str:
        """The content of a file; FileNotFoundError if the run has no such file."""

    @cached_property
    def params(self) -> dict:
        return yaml.safe_load(self.read("params.yaml"))

    @property
    def scores(self) -> pd.DataFrame:
        """A row for each episode of a final policy."""
        return pd.read_csv(io.StringIO(self.read("results/scores.csv"))).astype({"generator": "Int64"})

    def json(self, path: str) -> dict | None:
        """The content of a JSON file; None if the run has no such file."""
        try:
            return json.loads(self.read(path))
        except FileNotFoundError:
            return None

    @cached_property
    def digests(self) -> dict[str, str]:
        """path → md5 of each stage output; none if the run has no lock file."""
        try:
            stages = yaml.safe_load(self.read("dvc.lock"))["stages"].values()
        except FileNotFoundError:
            return {}
        return {output["path"]: output["md5"] for stage in stages for output in stage.get("outs", [])}

    def seconds(self, *outputs: str) -> float | None:
        """Total time of the stages that wrote those files; None if one was not recorded on this machine."""
        times = [seconds(self.digests.get(output, "")) for output in outputs]
        return None if None in times else sum(times)


class Experiment(Finished):
    """The finished DVC experiment of one value, by its commit."""

    def __init__(self, value: str, commit: str):
        super().__init__(value)
        self.commit = commit

    def read(self, path: str) -> str:
        text = git("show", f"{self.commit}:{path}")
        if text is None:
            raise FileNotFoundError(f"{self.commit}:{path}")
        return text


class Folder(Finished):
    """A run made elsewhere, whose params.yaml and results/ were copied to `folder`. It may lack cells of its grid."""

    def __init__(self, value: str, folder: Path):
        super().__init__(value)
        self.folder = folder

    def read(self, path: str) -> str:
        return (self.folder / path).read_text(encoding="utf-8")

    @property
    def scores(self) -> pd.DataFrame:
        names = product(*(self.params[key] for key in ("datasets", "methods", "algorithms")))
        cells = [self.json(f"results/{dataset}/{method}-{algorithm}.json") for dataset, method, algorithm in names]
        return episode_frame({"run": {"cells": [cell for cell in cells if cell and "absent" not in cell]}})

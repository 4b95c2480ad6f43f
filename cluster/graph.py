"""The stages that a grid needs, read from DVC's own index, and how long each is expected to take."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import networkx as nx
from dvc.exceptions import DvcException
from dvc.repo import Repo

UNKNOWN = 10.0  # seconds of a stage that has never run here, nor any of its kind


def name_of(stage) -> str:
    """A stage's target relative to the repository's root, wherever the command runs: `dvc.yaml:idm@hopper-medium`."""
    return f"{stage.path_in_repo}:{stage.name}"


def needed(root: str = ".", targets: Sequence[str] = ()) -> tuple[dict[str, object], dict[str, set[str]]]:
    """All that the grid needs: the stages of the top-level dvc.yaml and those they depend on.

    Arguments:
        targets: stages as `dvc repro` takes them, such as `fidelity@DATASET-METHOD`; then only what they need.

    Returns:
        name → DVC's stage, and name → names of the stages that it depends on.

    Raises:
        SystemExit: if there is no such stage.
    """
    repo = Repo(root)
    graph = repo.index.graph  # an edge leads from a stage to one that it depends on
    try:
        top = [stage for target in targets for stage in repo.stage.collect(target)]
    except DvcException as error:
        raise SystemExit(f"cluster: {error}") from error
    top = top or [stage for stage in graph if stage.path_in_repo == "dvc.yaml"]
    stages = {name_of(each): each for each in set(top).union(*(nx.descendants(graph, stage) for stage in top))}
    return stages, {name: {name_of(other) for other in graph.successors(each)} for name, each in stages.items()}


def expected(stages: dict[str, object], records: str = ".timings") -> dict[str, float]:
    """name → seconds that a stage is expected to take.

    Its own last time on this machine; else the median of the stages of its kind, such as `policy`; else `UNKNOWN`.
    """
    seconds = {}
    for path in sorted(Path(records).glob("*.json"), key=lambda path: path.stat().st_mtime):
        record = json.loads(path.read_text(encoding="utf-8"))
        seconds[record["output"]] = record["seconds"]
    own, kinds = {}, {}
    for name, stage in stages.items():
        times = [seconds[out.def_path] for out in stage.outs if out.def_path in seconds]
        if times:
            own[name] = max(times)
            kinds.setdefault(kind(name), []).append(own[name])
    return {name: own.get(name, median(kinds.get(kind(name), [UNKNOWN]))) for name in stages}


def kind(name: str) -> str:
    """The stage's name in its dvc.yaml, without the data set, method and algorithm: `policy`."""
    return name.partition(":")[2].partition("@")[0]

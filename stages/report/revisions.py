"""What a run left in git or in the workspace: its parameters and scores, without checking anything out."""

import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

WORKSPACE = "workspace"
Cell = tuple[str, str, str]  # data set, method, algorithm


@dataclass(frozen=True)
class Run:
    """One side."""

    title: str
    commit: str | None  # None of the workspace
    params: dict
    cells: dict[Cell, tuple[np.ndarray, list[int] | None]]  # scores and generators of the seeds
    raw: set[str]  # data sets without reference scores, whose scores are plain returns


def git(*command: str) -> str | None:
    """What it prints; None where it fails."""
    done = subprocess.run(["git", *command], capture_output=True, encoding="utf-8")
    return None if done.returncode else done.stdout


def experiment(name: str) -> str | None:
    """The commit of the newest DVC experiment of that name, made from whatever commit."""
    command = "for-each-ref", "--sort=creatordate", "--format=%(refname:lstrip=4) %(objectname)", "refs/exps"
    return dict(line.split(" ") for line in git(*command).splitlines()).get(name)  # of refs/exps/ab/cdef/NAME, the name


def commit_of(revision: str) -> str:
    """The commit of a revision, or else of the newest experiment of that name; SystemExit where there is neither."""
    if git("rev-parse", "--git-dir") is None:
        raise SystemExit(f"{revision}: not in a git repository")
    if found := git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"):
        return found.strip()
    if found := experiment(revision):
        return found
    raise SystemExit(f"{revision}: neither a revision nor a DVC experiment")


def cells_of(episodes: pd.DataFrame) -> dict[Cell, tuple[np.ndarray, list[int] | None]]:
    """Of a row for each episode: the seeds' mean scores, and their generators, None where there are none."""
    cells = {}
    for names, part in episodes.groupby(["dataset", "method", "algorithm"], sort=False):
        seeds = part.groupby("seed").agg({"score": "mean", "generator": "first"})
        generators = None if seeds["generator"].isna().all() else seeds["generator"].astype(int).tolist()
        cells[names] = (seeds["score"].to_numpy(), generators)
    return cells


def read(revision: str) -> Run:
    """One side; SystemExit in one line where something is missing."""
    commit, texts = None if revision == WORKSPACE else commit_of(revision), []
    for path, remedy in (("results/scores.csv", "; run: dvc repro"), ("params.yaml", "")):
        found = git("show", f"{commit}:./{path}") if commit else Path(path).is_file() and Path(path).read_text("utf-8")
        if not found:
            raise SystemExit(f"{revision} has no {path}{remedy}")
        texts.append(found)
    episodes, params = pd.read_csv(io.StringIO(texts[0])), yaml.safe_load(texts[1])
    raw = (episodes["score"] == episodes["return"]).groupby(episodes["dataset"]).all()
    title = revision if commit is None or commit.startswith(revision) else f"{revision} ({commit[:7]})"
    return Run(
        title, commit, params, cells_of(episodes), set(raw.index[raw]) if params["source"] == "minari" else set()
    )


def code_changes(a: Run, b: Run) -> list[str]:
    """The Python files of the pipeline that differ between the two."""
    commits = [run.commit for run in (a, b) if run.commit]
    return (git("diff", "--name-only", *commits, "--", "stages/*.py") or "").split() if commits else []

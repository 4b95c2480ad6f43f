"""Reads a run's parameters and scores from git or from the workspace, without checking anything out."""

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
    """One run of a comparison.

    Attributes:
        commit: None for the workspace.
        cells: the seeds' mean scores, (seeds,), and their generators, None without generators.
        raw: data sets without reference returns, whose scores are plain returns.
    """

    title: str
    commit: str | None
    params: dict
    cells: dict[Cell, tuple[np.ndarray, list[int] | None]]
    raw: set[str]


def git(*command: str) -> str | None:
    """The output of a git command; None if it fails."""
    done = subprocess.run(["git", *command], capture_output=True, encoding="utf-8")
    return None if done.returncode else done.stdout


def experiment(name: str) -> str | None:
    """The commit of the newest DVC experiment of that name, derived from any commit; None if there is none."""
    command = "for-each-ref", "--sort=creatordate", "--format=%(refname:lstrip=4) %(objectname)", "refs/exps"
    return dict(line.split(" ") for line in git(*command).splitlines()).get(name)  # refs/exps/ab/cdef/NAME → NAME


def commit_of(revision: str) -> str:
    """The commit of a revision, or else of the newest experiment of that name; SystemExit if there is neither."""
    if git("rev-parse", "--git-dir") is None:
        raise SystemExit(f"{revision}: not in a git repository")
    if commit := git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"):
        return commit.strip()
    if commit := experiment(revision):
        return commit
    raise SystemExit(f"{revision}: neither a revision nor a DVC experiment")


def cells_of(episodes: pd.DataFrame) -> dict[Cell, tuple[np.ndarray, list[int] | None]]:
    """`Run.cells` from a data frame with a row for each episode."""
    cells = {}
    for names, part in episodes.groupby(["dataset", "method", "algorithm"], sort=False):
        seeds = part.groupby("seed").agg({"score": "mean", "generator": "first"})
        generators = None if seeds["generator"].isna().all() else seeds["generator"].astype(int).tolist()
        cells[names] = (seeds["score"].to_numpy(), generators)
    return cells


def read(revision: str) -> Run:
    """Reads a run; SystemExit if one of its files is missing."""
    commit, texts = None if revision == WORKSPACE else commit_of(revision), []
    for path, remedy in (("results/scores.csv", "; run: dvc repro"), ("params.yaml", "")):
        text = git("show", f"{commit}:./{path}") if commit else Path(path).is_file() and Path(path).read_text("utf-8")
        if not text:
            raise SystemExit(f"{revision} has no {path}{remedy}")
        texts.append(text)
    episodes, params = pd.read_csv(io.StringIO(texts[0])), yaml.safe_load(texts[1])
    equal = (episodes["score"] == episodes["return"]).groupby(episodes["dataset"]).all()
    raw = set(equal.index[equal]) if params["source"] == "minari" else set()
    title = revision if commit is None or commit.startswith(revision) else f"{revision} ({commit[:7]})"
    return Run(title, commit, params, cells_of(episodes), raw)


def code_changes(a: Run, b: Run) -> list[str]:
    """The Python files under stages/ that differ between two runs; none if both are the workspace."""
    commits = [run.commit for run in (a, b) if run.commit]
    return (git("diff", "--name-only", *commits, "--", "stages/*.py") or "").split() if commits else []

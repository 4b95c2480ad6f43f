"""Files in DVC's cache, and their way to and from its default remote."""

import json
from collections.abc import Iterable
from pathlib import Path

from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo


def stored(cache: str, md5: str) -> Path:
    """Where DVC's cache, a folder `files/md5`, keeps a file or the listing of a folder."""
    return Path(cache) / md5[:2] / md5[2:]


def listing(cache: str, md5: str) -> dict[str, str]:
    """The hashes of the files in an output that is a folder, by their paths; empty if it is a file or not at hand."""
    if not md5.endswith(".dir") or not (path := stored(cache, md5)).is_file():
        return {}
    return {each["relpath"]: each["md5"] for each in json.loads(path.read_text(encoding="utf-8"))}


def push(folder: Path, stage: str, outputs: dict[str, str]):
    """Sends what a stage made to DVC's default remote: its outputs and its entry of the run-cache.

    `dvc push` leaves out outputs that DVC does not cache, such as results, and other machines would make them again.
    """
    with Repo(str(folder)) as repo:
        cache = repo.cache.local.path
        hashes = {part for each in outputs.values() for part in (each, *listing(cache, each).values())}
        repo.cloud.push({HashInfo("md5", each) for each in hashes})
        repo.push(targets=[str(folder / stage)], run_cache=True)  # else relative to this process's folder


def pull(hashes: Iterable[str]):
    """Brings outputs and the run-cache from the default remote of the repository here, into its cache."""
    with Repo() as repo:
        repo.cloud.pull({HashInfo("md5", each) for each in hashes})
        repo.stage_cache.pull(None)

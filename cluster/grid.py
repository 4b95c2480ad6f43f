"""A grid of stages at one commit with one params.yaml, and what each stage is made from.

Equal stages need to run once, also when several experiments have them or a driver starts again. DVC decides that by
hashes of what a stage reads; here the same hashes are known before the stage is sent anywhere.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import yaml
from dvc.dependency import ParamsDependency

from cluster.graph import expected, needed
from cluster.store import listing, stored
from cluster.worker import Source, command


class Grid:
    """The stages that a folder's grid needs.

    Arguments:
        source: the folder's commit and parameters.
        folder: a checkout of them.
        name: of the experiment; empty for the workspace.
        targets: the stages that are wanted, as `dvc repro` takes them; all if there are none.

    Attributes:
        stages: name → DVC's stage; `depends`: name → names of the stages that it depends on.
        seconds: name → seconds that it is expected to take.
    """

    def __init__(self, source: Source, folder: Path, name: str = "", targets: Sequence[str] = ()):
        self.source, self.root, self.name = source, folder.resolve(), name
        self.stages, self.depends = needed(str(folder), targets)
        self.seconds = expected(self.stages)
        self.params = yaml.safe_load(source.params)
        listed = command(folder, "git", "ls-tree", "-r", "-t", "-z", source.commit).split("\0")
        self.tracked = {path: entry.split()[2] for entry, _, path in (line.partition("\t") for line in listed if line)}
        self.files = source.cache and f"{source.cache}/files/md5"
        self.made: dict[str, str] = {}  # path of an output → its hash

    def label(self, stage: str) -> str:
        return f"{self.name} {stage}" if self.name else stage

    def path(self, part) -> str:
        return os.path.relpath(part.fs_path, self.root)

    def learn(self, stage: str, outputs: dict[str, str]):
        """Takes note of a finished stage's outputs: path as its dvc.yaml has it → hash."""
        for out in self.stages[stage].outs:
            if out.def_path in outputs:
                self.made[self.path(out)] = outputs[out.def_path]

    def before(self, stage: str) -> set[str]:
        """The hashes of all outputs that the stage depends on, directly or not; they must have been learnt."""
        found, left = set(), [stage]
        while left:
            new = self.depends[left.pop()] - found
            found |= new
            left += new
        outputs = (self.path(out) for each in found for out in self.stages[each].outs)
        return {self.made[path] for path in outputs if path in self.made}

    def key(self, stage: str) -> str | None:
        """A hash of all that the stage is made from; None if something that it reads has no known hash.

        Whatever it depends on must have been learnt.
        """
        content = [self.stages[stage].cmd]
        for part in self.stages[stage].deps:
            if isinstance(part, ParamsDependency):
                content += [[name, self.value(name)] for name in part.params] or [self.source.params]
            elif (found := self.hash(self.path(part))) is None:
                return None
            else:
                content.append([self.path(part), found])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def value(self, name: str):
        """The value of a key of params.yaml, `section.key` included."""
        value = self.params
        for word in name.split("."):
            value = value.get(word) if isinstance(value, dict) else None
        return value

    def hash(self, path: str) -> str | None:
        if path == "params.yaml":
            return hashlib.sha256(self.source.params.encode()).hexdigest()
        for folder in (path, *map(str, PurePosixPath(path).parents)):
            if found := self.made.get(folder):
                return found if folder == path else self.member(found, os.path.relpath(path, folder))
        return self.tracked.get(path)

    def member(self, folder: str, path: str) -> str:
        """The hash of a file in an output that is a folder; the folder's own where DVC's cache is not at hand."""
        return listing(self.files, folder).get(path, folder) if self.files else folder

    def cached(self, stage: str) -> bool:
        """Whether all outputs of a learnt stage are still in the shared cache; True if there is none to ask."""
        if not self.files:
            return True
        outputs = [self.made.get(self.path(out)) for out in self.stages[stage].outs if out.use_cache]
        return all(each and stored(self.files, each).exists() for each in outputs)


class Ledger:
    """What finished stages gave, by `Grid.key`, kept in a file so that a second start knows it."""

    def __init__(self, path: Path):
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        self.known = dict(json.loads(line) for line in lines if line.endswith("]"))  # the last may be cut off

    def add(self, key: str, outputs: dict[str, str]):
        self.known[key] = outputs
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, outputs]) + "\n")

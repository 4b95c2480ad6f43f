"""Runs one stage in a clone of the repository, on whatever machine Ray chose.

Each machine keeps a few clones under `Source.scratch`, one for each stage that runs at a time. There DVC restores
whatever the stage depends on from the cache and runs the stage; its results reach others by the cache alone.
"""

import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

GUARD = Path(__file__).with_name("guard.py")


@dataclass(frozen=True)
class Source:
    """What is run: a commit, parameters, and where data come from and go to.

    Attributes:
        repository: that git clones, a path or an address.
        commit: of the code; `ref` is the reference by which the repository hands it out.
        params: the text of params.yaml.
        cache: DVC's cache, if all machines share its file system; None: each clone has its own, and `remote` is used.
        remote: whether results are exchanged through DVC's default remote.
        shared: folder for `.checkpoints` and `.timings` that all machines see, or None.
        scratch: folder for the clones on each machine.
    """

    repository: str
    commit: str
    ref: str
    params: str
    cache: str | None
    remote: bool
    shared: str | None
    scratch: str


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: its exit status, seconds, machine, all that it printed, and what became of its outputs.

    Attributes:
        outputs: path → hash.
        timings: hash → text of the timing record that the stage left, where no folder is shared.
    """

    status: int
    seconds: float
    host: str
    log: str
    outputs: dict[str, str] = field(default_factory=dict)
    timings: dict[str, str] = field(default_factory=dict)


def command(folder: Path, *words: str) -> str:
    """The output of a command in the folder; RuntimeError with what it printed if it fails."""
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def environment() -> dict[str, str]:
    """This process's, with the interpreter's own folder first, so that stages find the same Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def clone(source: Source):
    """A clone that no other stage uses meanwhile: the first free one, or a new one."""
    Path(source.scratch).mkdir(parents=True, exist_ok=True)
    for number in range(10_000):
        folder = Path(source.scratch) / f"clone-{number}"
        lock = os.open(f"{folder}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            prepare(folder, source)
            yield folder, lock
            return
        finally:
            os.close(lock)


def prepare(folder: Path, source: Source):
    """Brings the clone to the source's commit and parameters."""
    if not (folder / ".git/HEAD").is_file():
        command(folder.parent, "git", "clone", "-q", "--no-checkout", source.repository, folder.name)
    for left in (".git/index.lock", ".dvc/tmp/rwlock"):  # by a stage that was killed; nothing else works in this clone
        (folder / left).unlink(missing_ok=True)
    command(folder, "git", "fetch", "-q", source.repository, source.ref)
    current = command(folder, "git", "rev-parse", "--verify", "-q", "FETCH_HEAD").strip()
    if current != source.commit:
        raise RuntimeError(f"{source.repository}: {source.ref} is {current}, not {source.commit}")
    marker = folder / ".git/prepared"
    if not marker.is_file() or marker.read_text() != source.commit:
        command(folder, "git", "checkout", "-q", "--force", "--detach", source.commit)
        marker.write_text(source.commit)
    for name in (".checkpoints", ".timings") if source.shared else ():
        target = Path(source.shared) / name
        target.mkdir(parents=True, exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    config = f"[core]\n    site_cache_dir = {folder / '.dvc/tmp/site-cache'}\n"
    if source.cache:
        config += f"[cache]\n    dir = {source.cache}\n    type = reflink,hardlink,copy\n"
    (folder / ".dvc/config.local").write_text(config)
    (folder / "params.yaml").write_text(source.params)


@cache
def end_with_parent():
    """Ends this process soon after the one that started it, since Ray's own end waits for the running task.

    Ray runs many stages in one process, which needs only one thread to watch.
    """
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(source: Source, stage: str, timings: dict[str, str]) -> Iterator[str | Outcome]:
    """Runs the stage, `path:name`: yields the machine's name, then how it ended; a failure is no exception.

    Arguments:
        timings: hash → text of the timing record, of the stages that this one depends on, where no folder is shared.
    """
    end_with_parent()
    start, host = time.monotonic(), socket.gethostname()
    yield host
    status, printed, outputs, left = 1, "", {}, {}
    try:
        with clone(source) as (folder, lock):
            write_timings(folder, timings)
            words = ["dvc", "repro", *(["--pull"] if source.remote else []), stage]
            done = guarded(folder, words, lock)
            printed = done.stdout
            if done.returncode == 0:
                outputs = locked(folder, stage)
                left = {} if source.shared else read_timings(folder, outputs.values())
                if source.remote:
                    from cluster.store import push  # imports DVC, which a worker does not need otherwise

                    push(folder, stage, outputs)
            status = done.returncode
    except Exception as error:  # a remote's library has its own, which Ray would take for the loss of a machine
        printed += f"{type(error).__name__}: {error}\n"
    yield Outcome(status, time.monotonic() - start, host, printed, outputs, left)


def read_timings(folder: Path, hashes: Iterable[str]) -> dict[str, str]:
    """hash → text of the timing record, for those outputs that have one."""
    paths = {each: folder / ".timings" / f"{each}.json" for each in hashes}
    return {each: path.read_text(encoding="utf-8") for each, path in paths.items() if path.exists()}


def write_timings(folder: Path, timings: dict[str, str]):
    (folder / ".timings").mkdir(exist_ok=True)
    for each, text in timings.items():
        (folder / ".timings" / f"{each}.json").write_text(text, encoding="utf-8")


def locked(folder: Path, stage: str) -> dict[str, str]:
    """The hashes that dvc.lock records of a stage's outputs, by their paths."""
    file, _, name = stage.partition(":")
    stages = yaml.safe_load((folder / file).with_name("dvc.lock").read_text(encoding="utf-8"))["stages"]
    return {each["path"]: each["md5"] for each in stages[name].get("outs", [])}


def guarded(folder: Path, words: list[str], lock: int) -> subprocess.CompletedProcess:
    """Runs a command that ends when this process does; the lock is held for as long as it runs."""
    guard = subprocess.Popen(
        [sys.executable, str(GUARD), *words],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[lock],
    )
    output = guard.stdout.read()
    return subprocess.CompletedProcess(words, guard.wait(), output)

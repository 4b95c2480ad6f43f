"""Hands the stages of a grid to Ray, and restores the results in the workspace."""

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml
from dvc.repo import Repo

from cluster.grid import Grid, Ledger
from cluster.order import Order
from cluster.report import Report
from cluster.schedule import FOLDER, Schedule, log_of, ray
from cluster.store import pull
from cluster.worker import Source, command, environment, prepare

REF = "refs/cluster/run"


@contextmanager
def only_driver():
    """Refuses a second driver in the same clone.

    Raises:
        SystemExit: if there is one.
    """
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "driver.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("cluster: another driver runs in this clone; wait for it or stop it") from None
        yield


def snapshot() -> str:
    """A commit of the code as it stands, changes of tracked files included; the workspace is not touched.

    Raises:
        SystemExit: if there are files under stages/ or cluster/ that git does not know, which other clones would lack.
    """
    here = Path()
    if unknown := command(here, "git", "ls-files", "-o", "--exclude-standard", "stages", "cluster", "dvc.yaml").split():
        raise SystemExit(f"cluster: git does not know {unknown[0]}, so other clones would lack it; git add it first")
    commit = command(here, "git", "stash", "create").strip() or command(here, "git", "rev-parse", "HEAD").strip()
    command(here, "git", "update-ref", REF, commit)
    return commit


def restore(order: Order, remote: bool, targets: list[str]) -> int:
    """Restores in the workspace what ran, by `dvc repro`, which finds all of it in the cache; returns its status."""
    whole = not (order.failed or order.blocked)
    if not whole and not order.done:
        return 1
    words = ["dvc", "repro", *(["--pull"] if remote else []), *(targets if whole else sorted(order.done))]
    return subprocess.run(words, env=environment()).returncode


def collect(order: Order, grids: list[Grid], remote: bool) -> int:
    """Lets DVC make the queued experiments from what is in the cache, if no stage failed; returns its status."""
    if order.failed:
        print("cluster: the queue is left as it is; the same command goes on", file=sys.stderr)
        return 1
    if remote:
        pull({each for grid in grids for each in grid.made.values()})
    return subprocess.run(["dvc", "exp", "run", "--run-all"], env=environment()).returncode


def queued(source: Source) -> list[Grid]:
    """The grids of the experiments that `dvc exp run --queue` collected.

    Raises:
        SystemExit: if there is none.
    """
    grids = []
    for entry in Repo().experiments.celery_queue.iter_queued():
        name = entry.name or entry.stash_rev[:7]
        ref, folder = f"refs/cluster/{name}", FOLDER / "queue" / name
        command(Path(), "git", "update-ref", ref, entry.stash_rev)
        params = command(Path(), "git", "show", f"{entry.stash_rev}:params.yaml")
        own = replace(source, commit=entry.stash_rev, ref=ref, params=params)
        folder.parent.mkdir(exist_ok=True)
        prepare(folder, own)
        grids.append(Grid(own, folder, name))
    return grids or sys.exit("cluster: no experiment is queued; queue some with: dvc exp run --queue -S key=value")


def connect(address: str | None, cpus: int):
    """Connects to a running Ray cluster, or starts one with that many CPUs, reachable from this machine alone."""
    options = {
        "address": address or "local",
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"py_modules": [str(Path(__file__).parent)]},
    }
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(**options)
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray, which sets its own; a shell may have had SIGINT ignored
        signal.signal(number, signal.default_int_handler)


def drive(
    targets: list[str],
    jobs: int | None,
    address: str | None,
    remote: bool,
    shared: str | None,
    scratch: str | None,
    queue: bool,
) -> int:
    """Runs the grid of params.yaml, or those of the queued experiments; returns the exit status.

    Arguments:
        targets: the stages that are wanted, as `dvc repro` takes them; all if there are none.
        jobs: at most so many stages at a time; None: as many as the CPUs allow.
        address: of a running Ray cluster; None: one is started here, on the loopback interface.
        remote: whether machines share no cache and exchange results through DVC's default remote.
        shared: folder that all machines see, for checkpoints and timings; this clone by default if there is no remote.
        scratch: folder for the clones on each machine; .cluster by default.
        queue: whether the queued experiments are run, in place of the workspace.
    """
    with only_driver():
        params, root = Path("params.yaml").read_text(encoding="utf-8"), Path.cwd()
        threads = yaml.safe_load(params)["threads"]
        repo = Repo()
        if remote and not repo.config["core"].get("remote"):
            raise SystemExit("cluster: --remote needs a default remote; add one with: dvc remote add -d NAME URL")
        source = Source(
            repository=str(root),
            commit=snapshot(),
            ref=REF,
            params=params,
            cache=None if remote else repo.cache.local_cache_dir,
            remote=remote,
            shared=shared or (None if remote else str(root)),
            scratch=os.path.abspath(scratch or FOLDER),
        )
        grids = queued(source) if queue else [Grid(source, root, targets=targets)]
        where = {grid.label(stage): (grid, stage) for grid in grids for stage in grid.stages}
        depends = {name: {grid.label(each) for each in grid.depends[stage]} for name, (grid, stage) in where.items()}
        seconds = {name: grid.seconds[stage] for name, (grid, stage) in where.items()}
        connect(address, max(os.cpu_count(), threads))
        order = Order(depends, seconds)
        try:
            with Report(order, FOLDER / "log") as report:
                Schedule(order, where, Ledger(FOLDER / "ledger"), jobs, threads, report)()
        except KeyboardInterrupt:
            report.line("interrupted; the same command goes on")
            return 130
        finally:
            ray.shutdown()
        status = collect(order, grids, remote) if queue else restore(order, remote, targets)
        for name in sorted(order.failed):
            repeat = "" if queue else f"; to repeat it: dvc repro {name}"
            print(f"failed: {name}; its output: {log_of(name)}{repeat}", file=sys.stderr)
        return status or bool(order.failed)

"""Hands the stages of a grid to Ray, and restores the results in the workspace."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import ray
from dvc.repo import Repo

from cluster.graph import kind
from cluster.grid import Grid, Ledger
from cluster.order import Order, makespan
from cluster.worker import Outcome, Source, command, environment, prepare, run

FOLDER = Path(".cluster")
ATTEMPTS = 3  # of a stage whose worker or machine was lost
REF = "refs/cluster/run"
RESOURCES = yaml.safe_load(Path(__file__).with_name("resources.yaml").read_text(encoding="utf-8"))


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


def reserved(stage: str, threads: int, gpus: float) -> dict:
    """Ray's options for a stage.

    Arguments:
        threads: CPU threads that each stage uses.
        gpus: the number of GPUs that the cluster has.
    """
    wanted = {**RESOURCES["default"], **RESOURCES.get(kind(stage), {})}
    cpus = threads if wanted["cpus"] == "threads" else wanted["cpus"]
    memory = {"memory": int(wanted["memory_gb"] * 2**30)} if wanted["memory_gb"] else {}
    return {"num_cpus": cpus, "num_gpus": wanted["gpus"] if gpus else 0, "max_retries": 0, "name": stage, **memory}


@dataclass
class Report:
    """Progress, as plain lines on standard error and in .cluster/log."""

    total: int
    start: float
    known: int = 0  # stages that an earlier start or another experiment made
    left: int | None = None

    def begin(self, order: Order, slots: int):
        self.left = order.left
        known = f", {self.known} known from an earlier start" if self.known else ""
        self.line(f"{order.left} stages{known}, {slots} at a time; about {remaining(order, slots) / 60:.0f} min")

    def line(self, text: str):
        clock = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - self.start))
        print(f"{clock} {text}", file=sys.stderr, flush=True)
        with (FOLDER / "log").open("a", encoding="utf-8") as file:
            file.write(f"{clock} {text}\n")


def log_of(stage: str) -> Path:
    return FOLDER / "logs" / (re.sub(r"[^\w.@-]+", "-", stage) + ".log")


def keep_log(stage: str, text: str):
    log_of(stage).parent.mkdir(parents=True, exist_ok=True)
    log_of(stage).write_text(text, encoding="utf-8")


def ended(order: Order, stage: str, outcome: Outcome, report: Report):
    """Books how a stage ended."""
    keep_log(stage, outcome.log)
    seconds = f"{outcome.seconds:.1f} s on {outcome.host}"
    if outcome.status == 0:
        order.finish(stage)
        report.line(f"{len(order.done)}/{report.total} {stage}: {seconds}, {order.left} left")
    else:
        lost = order.fail(stage)
        report.line(f"{stage} FAILED after {seconds}, {len(lost)} stages depend on it; its output: {log_of(stage)}")


def remaining(order: Order, slots: int) -> float:
    """Seconds that what is left will take, by simulation; running stages count whole."""
    left = order.depends.keys() - order.done - order.failed - order.blocked
    return makespan({stage: order.depends[stage] & left for stage in left}, order.seconds, slots)


def capacity(threads: int) -> int:
    """The number of stages that the cluster's CPUs allow at a time; machines may come and go.

    Raises:
        SystemExit: if no machine has as many CPUs as a stage uses, since Ray would wait for one forever.
    """
    cpus = [each["Resources"].get("CPU", 0) for each in ray.nodes() if each["Alive"]]
    if slots := sum(int(count // threads) for count in cpus):
        return slots
    raise SystemExit(f"cluster: no machine has the {threads} CPUs that a stage uses (threads in params.yaml)")


def schedule(
    order: Order, where: dict[str, tuple[Grid, str]], ledger: Ledger, jobs: int | None, threads: int, report: Report
):
    """Runs every stage of the order, up to `jobs` at a time; None: as many as the CPUs allow.

    Arguments:
        where: the stage that each name in the order stands for.
    """
    gpus, running, attempts = ray.cluster_resources().get("GPU", 0), {}, Counter()
    same: dict[str, list[str]] = {}  # key of a running stage → equal stages of other experiments, which wait for it
    task_of, told, slots = ray.remote(run), time.monotonic(), jobs or capacity(threads)

    def send(name: str):
        grid, stage = where[name]
        key = grid.key(stage)
        if known := ledger.known.get(key):
            grid.learn(stage, known)
            if grid.cached(stage):
                order.finish(name)
                report.known += 1
                return
        if key in same:
            same[key].append(name)
            return
        if key:
            same[key] = []
        attempts[name] += 1
        task = task_of.options(**reserved(name, threads, gpus)).remote(grid.source, stage)
        running[task] = name, key

    def receive(task):
        name, key = running.pop(task)
        for other in same.pop(key, []):
            order.again(other)
        grid, stage = where[name]
        try:
            outcome = ray.get(task)
        except ray.exceptions.RayError as error:  # the worker or its machine was lost
            reason = type(error).__name__
            if attempts[name] < ATTEMPTS:
                order.again(name)
                report.line(f"{name}: {reason}; it runs again")
                return
            outcome = Outcome(1, 0.0, "unknown", f"lost {ATTEMPTS} times: {error}\n")
        if outcome.status == 0:
            grid.learn(stage, outcome.outputs)
            if key:
                ledger.add(key, outcome.outputs)
        ended(order, name, outcome, report)

    try:
        while order.left:
            slots = jobs or capacity(threads)
            while len(running) < slots and (name := order.take()):
                send(name)
            if report.left is None and running:
                report.begin(order, slots)
            finished, _ = ray.wait(list(running), num_returns=1, timeout=30) if running else ([], [])
            for task in finished:
                receive(task)
            if time.monotonic() - told > 60:
                told, minutes = time.monotonic(), remaining(order, slots) / 60
                report.line(f"running: {', '.join(sorted(order.running))}; about {minutes:.0f} min left")
    except KeyboardInterrupt:
        for task in running:
            ray.cancel(task, force=True)  # otherwise Ray lets running stages end first
        ray.wait(list(running), num_returns=len(running), timeout=10)
        raise


def restore(order: Order, remote: bool) -> int:
    """Restores in the workspace what ran, by `dvc repro`, which finds all of it in the cache; returns its status."""
    whole = not (order.failed or order.blocked)
    if not whole and not order.done:
        return 1
    words = ["dvc", "repro", *(["--pull"] if remote else []), *([] if whole else sorted(order.done))]
    return subprocess.run(words, env=environment()).returncode


def collect(order: Order) -> int:
    """Lets DVC make the queued experiments from what is in the cache, if no stage failed; returns its status."""
    if order.failed:
        print("cluster: the queue is left as it is; the same command goes on", file=sys.stderr)
        return 1
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
    jobs: int | None, address: str | None, remote: bool, shared: str | None, scratch: str | None, queue: bool
) -> int:
    """Runs the grid of params.yaml, or those of the queued experiments; returns the exit status.

    Arguments:
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
        if remote and not Repo().config["core"].get("remote"):
            raise SystemExit("cluster: --remote needs a default remote; add one with: dvc remote add -d NAME URL")
        cache = None if remote else command(root, "dvc", "cache", "dir").strip()
        source = Source(
            repository=str(root),
            commit=snapshot(),
            ref=REF,
            params=params,
            cache=cache,
            remote=remote,
            shared=shared or (None if remote else str(root)),
            scratch=os.path.abspath(scratch or FOLDER),
        )
        grids = queued(source) if queue else [Grid(source, root)]
        where = {grid.label(stage): (grid, stage) for grid in grids for stage in grid.stages}
        depends = {name: {grid.label(each) for each in grid.depends[stage]} for name, (grid, stage) in where.items()}
        seconds = {name: grid.seconds[stage] for name, (grid, stage) in where.items()}
        connect(address, max(os.cpu_count(), threads))
        order, report = Order(depends, seconds), Report(len(where), time.monotonic())
        try:
            schedule(order, where, Ledger(FOLDER / "ledger"), jobs, threads, report)
        except KeyboardInterrupt:
            report.line("interrupted; the same command goes on")
            return 130
        finally:
            ray.shutdown()
        status = collect(order) if queue else restore(order, remote)
        for name in sorted(order.failed):
            repeat = "" if queue else f"; to repeat it: dvc repro {name}"
            print(f"failed: {name}; its output: {log_of(name)}{repeat}", file=sys.stderr)
        return status or bool(order.failed)

"""Hands the stages of one or several grids to Ray, in order, and keeps count of how they end."""

import os
import re
import time
from collections import Counter
from pathlib import Path

import yaml

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # such workers, one for each CPU, lack this package
import ray

from cluster.graph import kind
from cluster.grid import Grid, Ledger
from cluster.order import Order
from cluster.report import Report
from cluster.worker import Outcome, read_timings, run, write_timings

FOLDER = Path(".cluster")
ATTEMPTS = 3  # of a stage whose worker or machine was lost
RESOURCES = yaml.safe_load(Path(__file__).with_name("resources.yaml").read_text(encoding="utf-8"))


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
        report.line(f"{len(order.done)}/{len(order.depends)} {stage}: {seconds}, {order.left} left")
    else:
        lost = order.fail(stage)
        report.line(f"{stage} FAILED after {seconds}, {len(lost)} stages depend on it; its output: {log_of(stage)}")


def capacity(threads: int) -> int:
    """The number of stages that the cluster's CPUs allow at a time; machines may come and go.

    Raises:
        SystemExit: if no machine has as many CPUs as a stage uses, since Ray would wait for one forever.
    """
    cpus = [each["Resources"].get("CPU", 0) for each in ray.nodes() if each["Alive"]]
    if slots := sum(int(count // threads) for count in cpus):
        return slots
    raise SystemExit(f"cluster: no machine has the {threads} CPUs that a stage uses (threads in params.yaml)")


class Schedule:
    """Runs every stage of the order, up to `jobs` at a time; None: as many as the CPUs allow.

    Arguments:
        where: the stage that each name in the order stands for.
        threads: CPU threads that each stage uses.
    """

    def __init__(
        self,
        order: Order,
        where: dict[str, tuple[Grid, str]],
        ledger: Ledger,
        jobs: int | None,
        threads: int,
        report: Report,
    ):
        self.order, self.where, self.ledger, self.report = order, where, ledger, report
        self.jobs, self.threads, self.gpus = jobs, threads, ray.cluster_resources().get("GPU", 0)
        self.task = ray.remote(num_returns="streaming")(run)
        self.running: dict[ray.ObjectRefGenerator, tuple[str, str | None]] = {}  # task → name and key of its stage
        self.same: dict[str, list[str]] = {}  # key of a running stage → equal ones, which wait for it
        self.attempts = Counter()

    def __call__(self):
        order, report, running = self.order, self.report, self.running
        try:
            while order.left:
                slots = self.jobs or capacity(self.threads)
                while len(running) < slots and (name := order.take()):
                    self.send(name)
                if running:
                    report.begin(slots)
                    for task in ray.wait(list(running), num_returns=1, timeout=1)[0]:
                        self.receive(task)
                report.repeat()
            if not report.slots:
                report.line(f"all {report.known} stages are known from an earlier start")
        except KeyboardInterrupt:
            for task in running:
                ray.cancel(task, force=True)  # otherwise Ray lets running stages end first
            ray.wait(list(running), num_returns=len(running), timeout=10)
            raise

    def send(self, name: str):
        """Hands a stage to Ray, unless it is known, or an equal one runs."""
        grid, stage = self.where[name]
        key = grid.key(stage)
        if known := self.ledger.known.get(key):
            grid.learn(stage, known)
            if grid.cached(stage):
                self.order.finish(name)
                self.report.known += 1
                return
        if key in self.same:
            self.same[key].append(name)
            return
        if key:
            self.same[key] = []
        self.attempts[name] += 1
        timings = {} if grid.source.shared else read_timings(Path(), grid.before(stage))
        options = reserved(name, self.threads, self.gpus)
        self.running[self.task.options(**options).remote(grid.source, stage, timings)] = name, key

    def receive(self, task: ray.ObjectRefGenerator):
        """Books what a stage says: on what machine it starts, or how it ended."""
        name, key = self.running[task]
        try:
            said = ray.get(next(task))
            if isinstance(said, str):
                self.report.started[name] = said, time.monotonic()
                return
        except ray.exceptions.RayError as error:  # the worker or its machine was lost
            if self.attempts[name] < ATTEMPTS:
                self.report.line(f"{name}: {type(error).__name__}; it runs again")
                said = None
            else:
                said = Outcome(1, 0.0, "unknown", f"lost {ATTEMPTS} times: {error}\n")
        del self.running[task]
        self.report.started.pop(name, None)
        for other in self.same.pop(key, []):
            self.order.again(other)
        if said is None:
            self.order.again(name)
            return
        if said.status == 0:
            grid, stage = self.where[name]
            grid.learn(stage, said.outputs)
            write_timings(Path(), said.timings)
            if key:
                self.ledger.add(key, said.outputs)
        ended(self.order, name, said, self.report)

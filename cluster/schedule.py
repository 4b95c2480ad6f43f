"""Hands the stages of one or several grids to Ray, in order, and keeps count of how they end."""

import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
import ray

from cluster.graph import kind
from cluster.grid import Grid, Ledger
from cluster.order import Order, makespan
from cluster.worker import Outcome, run

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


@dataclass
class Report:
    """Progress, as plain lines on standard error and in .cluster/log."""

    total: int
    start: float
    known: int = 0  # stages that an earlier start or another experiment made
    begun: bool = False  # whether a stage was sent

    def begin(self, order: Order, slots: int):
        self.begun = True
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
            if running and not report.begun:
                report.begin(order, slots)
            finished, _ = ray.wait(list(running), num_returns=1, timeout=30) if running else ([], [])
            for task in finished:
                receive(task)
            if order.running and time.monotonic() - told > 60:
                told, minutes = time.monotonic(), remaining(order, slots) / 60
                report.line(f"running: {', '.join(sorted(order.running))}; about {minutes:.0f} min left")
        if not report.begun:
            report.line(f"all {report.known} stages are known from an earlier start")
    except KeyboardInterrupt:
        for task in running:
            ray.cancel(task, force=True)  # otherwise Ray lets running stages end first
        ray.wait(list(running), num_returns=len(running), timeout=10)
        raise

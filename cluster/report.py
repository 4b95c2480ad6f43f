"""Tells how a run on Ray goes: what runs where, what is left, and about how long that takes."""

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cluster.graph import UNKNOWN
from cluster.order import Order, makespan

ROWS = 15  # of running stages, on a terminal


def clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"


@dataclass
class Report:
    """Progress, as lines on standard error and in a log; on a terminal with a table below them that is drawn anew.

    Attributes:
        log: file that the lines are added to.
        known: number of stages that an earlier start or another experiment made.
        slots: number of stages at a time.
        started: stage → (machine, time at which it began there); a stage of `order.running` that is not here waits
            for a machine, or for an equal stage of another experiment.
    """

    order: Order
    log: Path
    start: float = field(default_factory=time.monotonic)
    known: int = 0
    slots: int = 0
    started: dict[str, tuple[str, float]] = field(default_factory=dict)
    told: float = field(default_factory=time.monotonic)

    def __post_init__(self):
        console = Console(stderr=True)
        self.live = Live(console=console, get_renderable=self.table, transient=True, auto_refresh=False)

    def __enter__(self):
        if self.live.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_):
        self.live.stop()

    def line(self, text: str):
        line = f"{clock(time.monotonic() - self.start)} {text}"
        if self.live.is_started:
            self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def begin(self, slots: int):
        """Says how much there is to do, once, when the first stage was sent."""
        first, self.slots = not self.slots, slots
        if first:
            known = f", {self.known} known from an earlier start" if self.known else ""
            self.line(f"{self.order.left} stages{known}, {slots} at a time{self.estimate('')}")

    def repeat(self, seconds: float = 60):
        """Draws the table anew, and adds a line on what runs every so many seconds, for those who read the log."""
        if self.live.is_started:
            self.live.refresh()
        if self.order.running and time.monotonic() - self.told > seconds:
            self.told, waiting = time.monotonic(), len(self.order.running - self.started.keys())
            running = ", ".join(f"{stage} on {host}" for stage, (host, _) in sorted(self.started.items())) or "nothing"
            queue = f"; waiting: {waiting}" if waiting else ""
            self.line(f"running: {running}{queue}{self.estimate(' left')}")

    def estimate(self, left: str) -> str:
        """About how long the rest takes, in words; empty if no stage was ever timed here."""
        timed = any(seconds != UNKNOWN for seconds in self.order.seconds.values())
        return f"; about {self.remaining() / 60:.0f} min{left}" if timed and self.slots else ""

    def remaining(self) -> float:
        """Seconds that what is left will take, by simulation, from the times that stages are expected to take."""
        order, now = self.order, time.monotonic()
        left = order.depends.keys() - order.done - order.failed - order.blocked
        seconds = {stage: order.seconds[stage] for stage in left}
        for stage, (_, since) in self.started.items():
            seconds[stage] = max(0.0, seconds[stage] - (now - since))
        return makespan({stage: order.depends[stage] & left for stage in left}, seconds, self.slots)

    def table(self) -> Table:
        """What runs, as drawn on a terminal."""
        order, now, started = self.order, time.monotonic(), sorted(self.started.items(), key=lambda each: each[1][1])
        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("running", "on", "for", "expected"):
            table.add_column(heading, overflow="ellipsis", no_wrap=True)
        for stage, (host, since) in started[:ROWS]:
            expected = clock(order.seconds[stage]) if order.seconds[stage] != UNKNOWN else "unknown"
            table.add_row(stage, host, clock(now - since), expected)
        more = [f"{len(started) - ROWS} more run"] if len(started) > ROWS else []
        more += [f"{count} wait"] if (count := len(order.running - self.started.keys())) else []
        more += [f"{len(order.failed)} failed"] if order.failed else []
        done = f"{len(order.done)} of {len(order.depends)} stages done"
        table.caption = "; ".join([done + self.estimate(" left"), *more])
        table.caption_justify = "left"
        return table

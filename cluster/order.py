"""The order in which stages run: of those that are ready, the one with the longest way still ahead goes first."""

import heapq
from collections.abc import Iterable
from graphlib import CycleError, TopologicalSorter


class Order:
    """Which stages are ready, and which of them goes next.

    A stage is ready when all that it depends on are done. Priority has the stage from which the longest path leads to
    the end, its own seconds included (critical-path scheduling, Graham 1969), so trainings start before data cards.

    Arguments:
        depends: stage → the stages that it depends on.
        seconds: stage → how long it is expected to take.

    Attributes:
        ahead: stage → seconds of the longest path from its start to the end.
        done, failed, blocked: stages; a blocked one depends on a failed one.
        running: stages that were taken and have not ended.
    """

    def __init__(self, depends: dict[str, Iterable[str]], seconds: dict[str, float]):
        self.depends = {stage: set(others) for stage, others in depends.items()}
        try:
            order = list(TopologicalSorter(self.depends).static_order())
        except CycleError as error:
            raise ValueError(f"stages depend on each other in a circle: {sorted(set(error.args[1]))}") from None
        self.dependents = {stage: set() for stage in self.depends}
        for stage, others in self.depends.items():
            for other in others:
                self.dependents[other].add(stage)
        self.seconds, self.ahead = seconds, {}
        for stage in reversed(order):
            later = max((self.ahead[each] for each in self.dependents[stage]), default=0.0)
            self.ahead[stage] = seconds[stage] + later
        self.done, self.failed, self.blocked, self.running = set(), set(), set(), set()
        self.ready: list[tuple[float, str]] = []
        self.sorter = TopologicalSorter(self.depends)
        self.sorter.prepare()
        self.push(*self.sorter.get_ready())

    def push(self, *stages: str):
        for stage in stages:
            heapq.heappush(self.ready, (-self.ahead[stage], stage))

    def take(self) -> str | None:
        """The next stage to run, or None if none is ready."""
        if not self.ready:
            return None
        stage = heapq.heappop(self.ready)[1]
        self.running.add(stage)
        return stage

    def again(self, stage: str):
        """Makes a taken stage ready once more: what ran it was lost."""
        self.running.remove(stage)
        self.push(stage)

    def finish(self, stage: str):
        """Marks a taken stage as done."""
        self.running.remove(stage)
        self.done.add(stage)
        self.sorter.done(stage)
        self.push(*self.sorter.get_ready())

    def fail(self, stage: str) -> set[str]:
        """Marks a taken stage as failed; returns the stages that cannot run now because of it."""
        self.running.remove(stage)
        self.failed.add(stage)
        lost, left = set(), [stage]
        while left:
            for each in self.dependents[left.pop()] - lost - self.blocked:
                lost.add(each)
                left.append(each)
        self.blocked |= lost
        return lost

    @property
    def left(self) -> int:
        """The number of stages that are still to run or running."""
        return len(self.depends) - len(self.done) - len(self.failed) - len(self.blocked)


def critical_path(depends: dict[str, Iterable[str]], seconds: dict[str, float]) -> float:
    """Seconds of the longest chain of stages: no number of machines is faster."""
    return max(Order(depends, seconds).ahead.values(), default=0.0)


def makespan(
    depends: dict[str, Iterable[str]], expected: dict[str, float], slots: int, actual: dict[str, float] | None = None
) -> float:
    """Seconds that a run takes with that many slots, by simulation.

    Arguments:
        expected: stage → seconds that the order goes by.
        actual: stage → seconds that it really takes; the expected ones by default.
    """
    order, actual = Order(depends, expected), actual or expected
    now, ends = 0.0, []
    while order.left:
        while len(ends) < slots and (stage := order.take()):
            heapq.heappush(ends, (now + actual[stage], stage))
        now, stage = heapq.heappop(ends)
        order.finish(stage)
    return now

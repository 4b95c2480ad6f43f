"""Estimates of every cell of the grid, from the collected results."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stages.report.statistics.aggregates import Runs, resampled_runs
from stages.report.statistics.bootstrap import Estimate, average, difference, estimate
from stages.report.statistics.grid import cells_of, names_of

AVERAGE = "average"  # takes the place of a data set's name


@dataclass(frozen=True)
class Scores:
    """The numbers that tables, figures and page show.

    Attributes:
        datasets: of the grid; then `AVERAGE`, if there are several and all have normalised scores.
        runs: (dataset, method, algorithm) → the seeds' mean scores and their bootstrap samples.
        cells: the same keys → Estimate of the normalised score. Cells without scores are missing everywhere, and so are
            averages over data sets of which one lacks the cell.
        differences: the same keys → Estimate of method minus `real`; empty if the grid has no `real`.
        behaviour: dataset → average score of the episodes in the data.
        collected: dataset → the content of `results/collected/<dataset>.json`.
        raw: data sets without reference scores, whose "score" is the plain return.
    """

    datasets: list[str]
    methods: list[str]
    algorithms: list[str]
    confidence: float
    runs: dict[tuple[str, str, str], Runs]
    cells: dict[tuple[str, str, str], Estimate]
    differences: dict[tuple[str, str, str], Estimate]
    behaviour: dict[str, float]
    collected: dict[str, dict]
    raw: list[str]

    @property
    def headline(self) -> str:
        """The data set of the headline: the average, or else the first data set."""
        return AVERAGE if AVERAGE in self.datasets else self.datasets[0]

    @cached_property
    def absent(self) -> dict[tuple[str, str, str], dict[str, str]]:
        """(dataset, method, algorithm) → {"shown", "reason"} of a cell without scores."""
        cells = [cell for content in self.collected.values() for cell in content["absent"]]
        return {names_of(cell): cell["absent"] for cell in cells}

    def shown(self, dataset: str, method: str, algorithm: str) -> str:
        """What stands in place of a score that is missing, on one data set or on average."""
        found = [self.absent.get((name, method, algorithm)) for name in self.within(dataset)]
        return next((each["shown"] for each in found if each), "n/a")

    def within(self, dataset: str | None) -> list[str]:
        """The data set alone; for `AVERAGE` or None, all of them."""
        return [dataset] if dataset in self.collected else list(self.collected)

    def methods_with(self, algorithm: str, dataset: str | None = None) -> list[str]:
        """The methods that have scores with the algorithm on the data set, or on all of them."""
        held, within = self.runs, self.within(dataset)
        return [method for method in self.methods if all((name, method, algorithm) in held for name in within)]

    def algorithms_with(self, *methods: str, dataset: str | None = None) -> list[str]:
        """The algorithms that have scores with all of these methods; if none is named, with any method."""
        with_scores = {algorithm: self.methods_with(algorithm, dataset) for algorithm in self.algorithms}
        return [algorithm for algorithm, own in with_scores.items() if own and set(methods) <= set(own)]


def raw_datasets(collected: dict[str, dict]) -> list[str]:
    return [name for name, content in collected.items() if any(cell["reference"] is None for cell in content["cells"])]


def averaged(collected: dict[str, dict]) -> bool:
    """Whether an average over data sets is meaningful: plain returns of different tasks have no common scale."""
    return len(collected) > 1 and not raw_datasets(collected)


def runs_of(collected: dict[str, dict], resamples: int) -> dict[tuple[str, str, str], Runs]:
    """(dataset, method, algorithm) → Runs, with that many resamples."""
    cells = {}
    for cell, names in cells_of(collected):
        values = np.array([np.mean(seed["scores"]) for seed in cell["seeds"]])
        cells[tuple(names.values())] = (values, [seed["generator"] for seed in cell["seeds"]])
    return resampled_runs(cells, resamples)


def estimate_cells(collected: dict[str, dict], runs: dict, params) -> dict[tuple[str, str, str], Estimate]:
    """(dataset, method, algorithm) → Estimate, and (`AVERAGE`, …) if an average is meaningful."""
    confidence = params.report.confidence
    cells = {names: estimate(*run, confidence) for names, run in runs.items()}
    if averaged(collected):
        for pair in dict.fromkeys(names[1:] for names in runs):
            parts = [cells.get((dataset, *pair)) for dataset in collected]
            if None not in parts:
                cells[AVERAGE, *pair] = average(parts, confidence)
    return cells


def score(collected: dict[str, dict], params) -> Scores:
    """All estimates from the collected results."""
    runs = runs_of(collected, params.report.resamples)
    cells = estimate_cells(collected, runs, params)
    differences = {
        (dataset, method, algorithm): difference(cell, cells[dataset, "real", algorithm], params.report.confidence)
        for (dataset, method, algorithm), cell in cells.items()
        if method != "real" and (dataset, "real", algorithm) in cells
    }
    behaviour = {dataset: content["data"]["score_mean"] for dataset, content in collected.items()}
    if averaged(collected):
        behaviour[AVERAGE] = float(np.mean(list(behaviour.values())))
    datasets = list(behaviour)
    return Scores(
        datasets=datasets,
        methods=params.methods,
        algorithms=params.algorithms,
        confidence=params.report.confidence,
        runs=runs,
        cells=cells,
        differences=differences,
        behaviour=behaviour,
        collected=collected,
        raw=raw_datasets(collected),
    )


def summary(scores: Scores) -> dict:
    """{method: {algorithm: mean score, averaged over data sets}}, the few numbers that `dvc metrics` compares.

    Data sets without a common scale have no average; each has its own entry then: {dataset: {method: …}}.
    """

    def of(dataset: str) -> dict:
        return {
            method: {
                algorithm: round(scores.cells[dataset, method, algorithm].mean, 2)
                for algorithm in scores.algorithms_with(method, dataset=dataset)
            }
            for method in scores.methods
        }

    alone = scores.headline == AVERAGE or len(scores.datasets) == 1
    return of(scores.headline) if alone else {dataset: of(dataset) for dataset in scores.datasets}

"""Sentences generated from the numbers: the notes under the tables of scores and differences."""

from stages.report.statistics.bootstrap import LEAST_FREEDOM, Estimate, Resamples
from stages.report.statistics.scores import Scores
from stages.report.style.words import NOT_RUN, TOO_FEW, label, listed, percent, plural
from stages.report.tables.headline import scored

SOURCES = {
    "local": "Locally collected data, not D4RL's files.",
    "d4rl": "D4RL's files.",
    "minari": "Minari data sets, not D4RL's files.",
}
REFERENCES = {  # the returns that score 0 and 100
    "local": "0 is the return of D4RL's random policy, 100 that of its expert",
    "d4rl": "0 is the return of D4RL's random policy, 100 that of its expert",
    "minari": "0 and 100 are the reference returns stored with each Minari data set",
}


def points(scores: Scores) -> str:
    """The unit of the differences."""
    raw = {dataset in scores.raw for dataset in scores.collected}
    names = [name for name, kind in (("normalised score", False), ("return", True)) if kind in raw]
    return f"points of {' or of '.join(names)}"


def verdict(gain: Estimate) -> str:
    """Whether a difference's interval excludes 0, as text."""
    if gain.excludes_zero is None:
        return TOO_FEW
    return "interval excludes 0" if gain.excludes_zero else "interval includes 0"


def counts(values, noun: str) -> str:
    """The distinct counts among `values` with their noun: `3 and 10 episodes`."""
    values = sorted(set(values))
    return listed(f"{value:,}" for value in values) + f" {noun}" + ("" if values == [1] else "s")


def resamples_of(scores: Scores, method: str) -> list[Resamples]:
    """A method's bootstrap samples on each data set, which its algorithms share."""
    algorithm = scores.algorithms_with(method)[0]
    return [scores.runs[dataset, method, algorithm].resamples for dataset in scores.collected]


def interval_notes(scores: Scores) -> list[str]:
    """How the intervals are made, what they do not cover, and which methods have none."""
    clustered, single, few = [], [], {}
    for method in scored(scores):
        strata = resamples_of(scores, method)
        seeds = strata[0].counts.shape[1]
        cells = [cell for content in scores.collected.values() for cell in content["cells"] if cell["method"] == method]
        generators = {seed["generator"] for cell in cells for seed in cell["seeds"]} - {None}
        if generators:
            (clustered if len(generators) > 1 else single).append(label(method))
        if min(stratum.units for stratum in strata) <= LEAST_FREEDOM:
            units = plural(len(generators), "generator") if len(generators) > 1 else plural(seeds, "seed")
            few.setdefault(units, []).append(label(method))
    resamples = len(resamples_of(scores, scored(scores)[0])[0].counts)
    sentences = []
    if any(cell.low is not None for cell in scores.cells.values()):
        kind = f"{percent(scores.confidence)} interval of the mean over seeds"
        sentences.append(
            f"Brackets: {kind}, expanded percentiles of a stratified bootstrap with {resamples:,} resamples. With five"
            " seeds the intervals are still slightly too narrow."
        )
    sentences += [
        f"{listed(names)}: {units} are too few for an interval on one data set; at least {LEAST_FREEDOM + 1} are"
        " needed."
        for units, names in few.items()
    ]
    if clustered:
        shared = "policies that share a generator are not independent, so generators are resampled, then their seeds."
        sentences.append(f"{listed(clustered)}: {shared}")
    if single:
        alone = "the interval covers the randomness of policies and episode starts, not that of the generator."
        sentences.append(f"{listed(single)}: all policies learned from one generator, so {alone}")
    return sentences


MEANINGS = {
    "n/a": "n/a: not applicable",
    "diverged": "Diverged: given up, and counted nowhere; averages over data sets leave it out on all of them",
    NOT_RUN: "Not run yet; averages over data sets leave it out on all of them",
}


def absent(scores: Scores) -> list[str]:
    """A note for each kind of cell without scores: which and why, algorithms that lack the same methods together."""
    lacking, alike = {}, {}
    for (dataset, method, algorithm), why in scores.absent.items():
        where = f" on {dataset}" if why["shown"] != "n/a" and len(scores.collected) > 1 else ""
        methods = lacking.setdefault((algorithm, where, why["shown"], why["reason"]), {})
        methods[label(method)] = None
    for (algorithm, *why), methods in lacking.items():
        alike.setdefault((listed(methods), *why), []).append(label(algorithm))
    cells = {}
    for (methods, where, shown, reason), algorithms in alike.items():
        cells.setdefault(shown, []).append(f"{listed(algorithms)} with {methods}{where}: {reason}.")
    return [f"{MEANINGS[shown]}. {' '.join(sentences)}" for shown, sentences in cells.items()]


def scale_notes(scores: Scores, deviation: str) -> list[str]:
    """The scale of the scores."""
    sentences = []
    if len(scores.raw) < len(scores.collected):
        (kind,) = {content["data"]["source"] for content in scores.collected.values()}
        sentences.append(f"Normalised score: {REFERENCES[kind]}{deviation}.")
    if scores.raw:
        sentences.append(
            f"{listed(scores.raw)}: plain returns{'' if sentences else deviation}, as no reference returns are stored"
            f" for {'it' if len(scores.raw) == 1 else 'them'}. They are comparable with no normalised score"
            f"{', so there is no average over data sets' if len(scores.collected) > 1 else ''}."
        )
    return sentences


OTHER_BYTES = {  # by what a local data set's record says of them; True: as recorded, None: nothing is recorded
    False: "this machine collected other data than recorded in the project, so scores compare only with its own",
    "unknown": "collected by an earlier version of the suite, whose local data were others",
}


def source(scores: Scores) -> str:
    """Where the data come from, and which of them are not those that other machines have."""
    facts = {dataset: content["data"] for dataset, content in scores.collected.items()}
    sentences = [SOURCES[name] for name in sorted({each["source"] for each in facts.values()})]
    for state, meaning in OTHER_BYTES.items():
        local = [name for name, each in facts.items() if each["source"] == "local"]
        if names := [name for name in local if facts[name].get("as_recorded", "unknown") is state]:
            sentences.append(f"{listed(names)}: {meaning}.")
    return " ".join(sentences)


def notes(scores: Scores) -> list[str]:
    """The notes under the score table."""
    cells = [cell for content in scores.collected.values() for cell in content["cells"]]
    seeds = len(cells[0]["seeds"])
    episodes = counts((len(seed["scores"]) for cell in cells for seed in cell["seeds"]), "episode")
    environments = listed(sorted({cell["environment"] for cell in cells}))
    deviation = ", mean ± sample standard deviation (n−1) over seeds" if seeds > 1 else ""
    return [
        source(scores),
        *scale_notes(scores, deviation),
        f"{plural(seeds, 'seed')}, {episodes} each, in {environments}; last checkpoint, no exploration noise.",
        *interval_notes(scores),
        "Behaviour: the average score of the episodes in the data.",
        *absent(scores),
    ]

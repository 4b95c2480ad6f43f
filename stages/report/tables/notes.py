"""Sentences generated from the numbers: the headline, and the notes under the score table."""

from stages.report.statistics.bootstrap import LEAST_FREEDOM, Estimate, Resamples, average, difference
from stages.report.statistics.scores import AVERAGE, Scores
from stages.report.style.words import NOT_RUN, bracket, label, listed, number, percent, plural, sentence

TOO_FEW = "too few seeds for an interval"
FLOORS = ("bc", "bc10")
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


def scored(scores: Scores) -> list[str]:
    """The methods that have scores with some algorithm."""
    return [method for method in scores.methods if scores.algorithms_with(method)]


def subject(scores: Scores) -> str | None:
    """The headline's method: DAWM, or else the first method that adds or replaces data; None if there is none."""
    others = [method for method in scored(scores) if method != "real"]
    return "dawm" if "dawm" in others else next(iter(others), None)


def judges(scores: Scores) -> list[str]:
    """The algorithms that the headline averages over: those that learn from rewards, or all if the grid has none.

    Behaviour cloning is only a floor: it says nothing about a method's rewards. An algorithm that one of the compared
    methods lacks is left out, so that they are compared on the same cells.
    """
    method = subject(scores)
    compared = scored(scores) if method is None or "real" not in scores.methods else [method, "real"]
    common = scores.algorithms_with(*compared)
    return [algorithm for algorithm in common if algorithm not in FLOORS] or common


def overall(scores: Scores, method: str) -> Estimate:
    """A method's average score over `judges`, and over data sets if they have an average."""
    parts = [scores.cells[scores.headline, method, algorithm] for algorithm in judges(scores)]
    return average(parts, scores.confidence)


def certainty(gain: Estimate, confidence: float) -> str:
    """The part of the headline that says whether a difference may be chance."""
    if gain.excludes_zero is None:
        return f"with {TOO_FEW}"
    kind = "excludes" if gain.excludes_zero else "includes"
    return f"and the {percent(confidence)} interval of the difference {kind} 0"


def scope(scores: Scores) -> str:
    """The algorithms and data sets that an overall score is averaged over, as text."""
    several = scores.headline == AVERAGE
    over = f"{len(scores.collected)} data sets" if several else scores.headline
    mean = "" if len(judges(scores)) == 1 and not several else "averaged over "
    return f"{mean}{listed(map(label, judges(scores)))} on {over}"


def headline(scores: Scores) -> tuple[str, str]:
    """The headline, with the same wording whichever method scores more, and a second line with scope and scores."""
    method = subject(scores)
    if method is None or "real" not in scores.methods:
        means = {name: overall(scores, name) for name in scored(scores)}
        best = max(means, key=lambda name: means[name].mean)
        rank = f", the highest of {len(means)} methods" if len(means) > 1 else ""
        title = f"{sentence(label(best))} scores {number(means[best].mean)}{rank}"
        alone = "scores of real data only" if method is None else "no scores of real data"
        return title, f"{sentence(scope(scores))}. The grid has {alone}, so there is no difference to report."
    ours, real = overall(scores, method), overall(scores, "real")
    gain = difference(ours, real, scores.confidence)
    unit = "points of return" if scores.headline in scores.raw else "points"
    size = f"{number(abs(gain.mean))} {unit} {'more' if gain.mean > 0 else 'less'} than real data alone"
    if round(gain.mean, 1) == 0:
        size = f"as many {unit} as real data alone"
    pairs = ((method, ours), ("real", real))
    numbers = [f"{label(name)} {number(mean.mean)} {bracket(mean)}".strip() for name, mean in pairs]
    apart = f"difference {number(gain.mean, sign=True)} {bracket(gain)}".strip()
    line = f"{sentence(scope(scores))}: {', '.join(numbers)}; {apart}."
    return f"{sentence(label(method))} scores {size}, {certainty(gain, scores.confidence)}", line


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
    """Which cells have no scores and why, algorithms that lack the same methods in one sentence."""
    lacking, alike = {}, {}
    for (dataset, method, algorithm), why in scores.absent.items():
        where = f" on {dataset}" if why["shown"] != "n/a" and len(scores.collected) > 1 else ""
        methods = lacking.setdefault((algorithm, where, why["shown"], why["reason"]), {})
        methods[label(method)] = None
    for (algorithm, *why), methods in lacking.items():
        alike.setdefault((listed(methods), *why), []).append(label(algorithm))
    return [
        f"{MEANINGS[shown]}. {listed(algorithms)} with {methods}{where}: {reason}."
        for (methods, where, shown, reason), algorithms in alike.items()
    ]


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


def source(scores: Scores) -> str:
    """Where the data come from."""
    names = {content["data"]["source"] for content in scores.collected.values()}
    return " ".join(SOURCES[name] for name in sorted(names))


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

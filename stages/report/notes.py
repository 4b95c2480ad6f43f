"""What the numbers say, in sentences made from them: the headline, and the notes under the tables."""

from stages.report.scores import AVERAGE, Scores
from stages.report.statistics import LEAST_FREEDOM, Draws, Estimate, average, difference
from stages.report.words import bracket, label, listed, number, percent, plural, sentence

TOO_FEW = "too few seeds for an interval"
FLOORS = ("bc", "bc10")
SOURCES = {
    "local": "Locally collected data, not D4RL's files.",
    "d4rl": "D4RL's files.",
    "minari": "Minari data sets, not D4RL's files.",
}
REFERENCES = {  # whose returns score 0 and 100
    "local": "0 is D4RL's random policy, 100 its expert",
    "d4rl": "0 is D4RL's random policy, 100 its expert",
    "minari": "0 and 100 are the reference returns that each Minari data set stores",
}


def subject(scores: Scores) -> str | None:
    """The method that the headline is about: DAWM, or the first that is not the real data alone."""
    others = [method for method in scores.methods if method != "real"]
    return "dawm" if "dawm" in others else next(iter(others), None)


def judges(scores: Scores) -> list[str]:
    """The algorithms that the headline averages over: those that learn from rewards, where the grid has any.

    Behaviour cloning is the floor; what a method does for it says nothing of the method's rewards or values.
    """
    return [algorithm for algorithm in scores.algorithms if algorithm not in FLOORS] or scores.algorithms


def overall(scores: Scores, method: str) -> Estimate:
    """The average over `judges`, and over data sets where there are several."""
    parts = [scores.cells[scores.headline, method, algorithm] for algorithm in judges(scores)]
    return average(parts, scores.confidence)


def overlap(first: Estimate, second: Estimate, confidence: float) -> str:
    if first.overlaps(second) is None:
        return "with too few seeds for intervals"
    return f"and the {percent(confidence)} intervals {'overlap' if first.overlaps(second) else 'do not overlap'}"


def scope(scores: Scores) -> str:
    """What an overall score is averaged over."""
    several = scores.headline == AVERAGE
    over = f"{len(scores.collected)} data sets" if several else scores.headline
    mean = "" if len(judges(scores)) == 1 and not several else "averaged over "
    return f"{mean}{listed(map(label, judges(scores)))} on {over}"


def headline(scores: Scores) -> tuple[str, str]:
    """One sentence on who did better and by how much, in the same words whoever it is; and a line that qualifies it."""
    method = subject(scores)
    if method is None or "real" not in scores.methods:
        means = {name: overall(scores, name) for name in scores.methods}
        best = max(means, key=lambda name: means[name].mean)
        without = "Without real data alone in the grid there is no difference to report."
        title = f"{sentence(label(best))} scores {number(means[best].mean)}, the most of {plural(len(means), 'method')}"
        return title, f"{sentence(scope(scores))}. {without}"
    ours, real = overall(scores, method), overall(scores, "real")
    gain = difference(ours, real, scores.confidence)
    what = "points of return" if scores.headline in scores.raw else "points"
    size = f"{number(abs(gain.mean))} {what} {'more' if gain.mean > 0 else 'less'} than real data alone"
    if round(gain.mean, 1) == 0:
        size = f"as many {what} as real data alone"
    numbers = [
        f"{label(name)} {number(est.mean)} {bracket(est)}".strip() for name, est in ((method, ours), ("real", real))
    ]
    line = f"{sentence(scope(scores))}: {listed(numbers)}."
    return f"{sentence(label(method))} scores {size}, {overlap(ours, real, scores.confidence)}", line


def points(scores: Scores) -> str:
    """What the differences are counted in."""
    raw = {dataset in scores.raw for dataset in scores.collected}
    names = [name for name, kind in (("normalised score", False), ("return", True)) if kind in raw]
    return f"points of {' or of '.join(names)}"


def verdict(gain: Estimate) -> str:
    """Whether a difference's interval leaves room for none."""
    if gain.excludes_zero is None:
        return TOO_FEW
    return "interval excludes 0" if gain.excludes_zero else "interval includes 0"


def counts(values, noun: str) -> str:
    values = sorted(set(values))
    return listed(f"{value:,}" for value in values) + f" {noun}" + ("" if values == [1] else "s")


def draws_of(scores: Scores, method: str) -> list[Draws]:
    """The bootstrap samples of a method, on each data set."""
    return [scores.runs[dataset, method, scores.algorithms[0]].draws for dataset in scores.collected]


def interval_notes(scores: Scores) -> list[str]:
    """How the intervals were made, what they leave out, and where there are none."""
    clustered, single, few = [], [], {}
    for method in scores.methods:
        draws = draws_of(scores, method)
        seeds = draws[0].times.shape[1]
        cells = [cell for content in scores.collected.values() for cell in content["cells"] if cell["method"] == method]
        generators = {seed["generator"] for cell in cells for seed in cell["seeds"]} - {None}
        if generators:
            (clustered if len(generators) > 1 else single).append(label(method))
        if min(draw.units for draw in draws) <= LEAST_FREEDOM:
            units = plural(len(generators), "generator") if len(generators) > 1 else plural(seeds, "seed")
            few.setdefault(units, []).append(label(method))
    resamples = len(draws_of(scores, scores.methods[0])[0].times)
    found = []
    if any(cell.low is not None for cell in scores.cells.values()):
        kind = f"{percent(scores.confidence)} interval of the mean over seeds"
        found.append(
            f"Brackets: {kind}, expanded percentiles of a stratified bootstrap, {resamples:,} resamples; of five seeds"
            " still a little narrower than its name."
        )
    found += [
        f"{listed(names)}: {units} are too few for an interval on one data set; it takes {LEAST_FREEDOM + 1}."
        for units, names in few.items()
    ]
    if clustered:
        shared = "policies that share a generator are not independent: generators are resampled, then seeds in each."
        found.append(f"{listed(clustered)}: {shared}")
    if single:
        alone = "the interval covers the policies' chance only, not the generator's."
        found.append(f"{listed(single)}: all policies learned from one generator, so {alone}")
    return found


def scale_notes(scores: Scores, deviation: str) -> list[str]:
    """What the numbers mean."""
    found = []
    if len(scores.raw) < len(scores.collected):
        (kind,) = {content["data"]["source"] for content in scores.collected.values()}
        found.append(f"Normalised score: {REFERENCES[kind]}{deviation}.")
    if scores.raw:
        found.append(
            f"{listed(scores.raw)}: plain returns{'' if found else deviation}, since no reference scores are stored for"
            f" {'it' if len(scores.raw) == 1 else 'them'}; they compare with no normalised score"
            f"{', and no average over data sets is made' if len(scores.collected) > 1 else ''}."
        )
    return found


def source(scores: Scores) -> str:
    """Whose data these are."""
    names = {content["data"]["source"] for content in scores.collected.values()}
    return " ".join(SOURCES[name] for name in sorted(names))


def notes(scores: Scores) -> list[str]:
    """The sentences under the score table."""
    cells = [cell for content in scores.collected.values() for cell in content["cells"]]
    seeds = len(cells[0]["seeds"])
    episodes = counts((len(seed["scores"]) for cell in cells for seed in cell["seeds"]), "episode")
    environments = listed(sorted({cell["environment"] for cell in cells}))
    deviation = ", mean ± sample standard deviation (n−1) over seeds" if seeds > 1 else ""
    return [
        source(scores),
        *scale_notes(scores, deviation),
        f"{plural(seeds, 'seed')}, {episodes} each, in {environments}; last checkpoint, deterministic policy.",
        *interval_notes(scores),
        "Behaviour: the average score of the data's own episodes.",
    ]

"""The headline: a sentence on what the first method does to the scores of real data, generated from the numbers."""

from stages.report.statistics.bootstrap import Estimate, average, difference
from stages.report.statistics.scores import AVERAGE, Scores
from stages.report.style.words import TOO_FEW, bracket, label, listed, number, percent, sentence

FLOORS = ("bc", "bc10")


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

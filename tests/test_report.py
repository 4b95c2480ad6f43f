"""The report: statistics against independent calculations, the grid alone, the same bytes, an honest page."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from stages.common.cost import place
from stages.common.files import write_json
from stages.report import collect
from stages.report.__main__ import main as report
from stages.report.page import parameter_sections
from stages.report.statistics import average, difference, estimate, interval, resampled_means
from stages.report.tables import escape
from stages.report.words import blocks, label, number

DATASETS, METHODS, ALGORITHMS = ["hopper-medium", "walker2d-medium"], ["real", "dawm"], ["td3bc", "iql", "bc"]
EPISODES, SEEDS = 3, 4
COST = {
    "trained": ["aa", "bb"],
    "source": None,
    "sampled": "cc",
    "parameters": 12345,
    "evaluations": 2.456,
    "transitions": 1000,
    "counts": {},
}


def rng():
    return np.random.default_rng(7)


def outputs(folder: Path) -> dict[str, bytes]:
    """What the report wrote: path → content."""
    paths = [*folder.glob("results/*.*"), *folder.glob("reports/**/*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def cell(dataset: str, method: str, algorithm: str, gain: float) -> dict:
    """Two generators for DAWM; scores that differ by seed and episode; behaviour cloning gains five times as much."""
    gain = 5 * gain if algorithm == "bc" else gain
    base = 30 + 5 * ALGORITHMS.index(algorithm) + (gain if method == "dawm" else 0)
    scores = [[base + seed + episode / 10 for episode in range(EPISODES)] for seed in range(SEEDS)]
    generators = [None] * SEEDS if method == "real" else [0, 1, 0, 1]
    seeds = [{"seed": k, "generator": generators[k], "returns": row, "scores": row} for k, row in enumerate(scores)]
    names = {"dataset": dataset, "method": method, "algorithm": algorithm, "source": "local", "environment": "Toy-v4"}
    curve = [{"step": 50, "scores": [[row[0] - 8, row[0] - 6] for row in scores]}]
    return {**names, "reference": [0.0, 100.0], "steps": 100, "seeds": seeds, "curve": curve}


def fidelity(method: str, measured: bool) -> dict:
    """A method's record, without physics where the simulator could not be asked."""
    error = {"median": 2e-8, "p90": 1e-7, "p99": 4e-7} if method == "real" else {"median": 0.01, "p90": 0.1, "p99": 0.4}
    steps = 1 if method == "real" else 3
    physics = {
        "overall": error,
        "worst_median": 2 * error["median"],
        "state_error": [{"overall": error}] * steps,
        "reward_error": [{"median": 0.02}] * steps,
        "terminals": {"rate": 0.005, "simulator_rate": 0.006},
        "cut": 0.1,
    }
    return {
        "physics": physics if measured else None,
        "inverse_dynamics": {"r2": 0.95} if method == "real" else None,
        "terminal_rate": {"found": 0.004, "real": 0.006},
        "coverage": {"nearest_neighbour": {"found": 1.5, "floor": 1.2}},
        "cost": None if method == "real" else COST,
        "diversity": {"actions": [[1.0, 1.0]] + [[0.9, 0.97]] * (steps - 1), "states": [[0.98, 1.01]] * steps},
    }


def write_results(folder: Path, monkeypatch, gain: float = 6.0):
    """params.yaml and the results of a whole grid, as the earlier stages leave them, in `folder`; goes there."""
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    params.update(source="local", datasets=DATASETS, methods=METHODS, algorithms=ALGORITHMS, seeds=SEEDS)
    params["report"] = {"resamples": 500, "confidence": 0.9}
    for dataset in DATASETS:
        (folder / "results" / dataset).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    Path("params.yaml").write_text(yaml.safe_dump(params))
    Path("reports/data").mkdir(parents=True, exist_ok=True)
    for k, dataset in enumerate(DATASETS):
        Path(f"reports/data/{dataset}.png").write_bytes(b"the card of " + dataset.encode())
        files = {f"{m}-{a}": cell(dataset, m, a, gain) for m in METHODS for a in ALGORITHMS}
        files["data"] = {"source": "local", "environment": "Toy-v4", "score_mean": 10.0 + 4 * k}
        files |= {phase: {"generator 0": {"loss": "<b>0.25"}} for phase in ("diffusion", "idm", "augment")}
        files |= {f"fidelity-{method}": fidelity(method, measured=k == 0) for method in METHODS}
        files["steering"] = {
            "asked": [0.1, 0.5, 0.3],
            "reached": {"mean": [0.2, 0.4, 0.3], "p10": [0.1, 0.2, 0.2], "p90": [0.3, 0.6, 0.4]},
            "start": 0.25,
            "rank_correlation": {
                "within_starts": 0.75,
                "own": {"asked": 0.8, "unasked": 0.7, "data": 0.9},
                "beyond": {"asked": 0.25, "unasked": 0.15, "data": 0.35},
            },
        }
        for name, content in files.items():
            Path(f"results/{dataset}/{name}.json").write_text(json.dumps(content))


def build(folder: Path, monkeypatch, gain: float = 6.0):
    """Both stages, run in `folder`."""
    write_results(folder, monkeypatch, gain)
    run_collect(monkeypatch)
    report()


def run_collect(monkeypatch):
    for dataset in DATASETS:
        monkeypatch.setattr(sys, "argv", ["collect", "--dataset", dataset])
        collect.main()


def test_interval_takes_three_seeds():
    found = [estimate(range(seeds), None, rng(), 100, 0.95) for seeds in (1, 2, 3)]
    assert [(each.low is None, each.std is None) for each in found] == [(True, True), (True, False), (False, False)]


def test_unclustered_interval_agrees_with_scipy():
    values = np.array([3.0, 4.5, 9.0, 12.0, 12.5, 20.0, 31.0, 33.0])
    ours = interval(values, None, rng(), 40_000, 0.9)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=40_000, confidence_level=0.9, method="percentile", rng=1)
    assert ours == pytest.approx(theirs.confidence_interval, abs=0.2)  # the interval is 12 wide


def test_clustered_variance_in_closed_form():
    values, clusters = np.array([1.0, 3.0, 8.0, 14.0, 20.0, 23.0]), [0, 1, 2, 0, 1, 2]
    groups = np.array([[1.0, 14.0], [3.0, 20.0], [8.0, 23.0]])
    expected = groups.mean(1).var() / 3 + groups.var(1).mean() / 6
    assert resampled_means(values, clusters, rng(), 100_000).var() == pytest.approx(expected, rel=0.03)


def test_unequal_clusters_weigh_by_their_seeds():
    means = resampled_means([0, 0, 0, 1], [5, 5, 5, 2], rng(), 20_000)
    shares = {value: np.mean(means == value) for value in np.unique(means)}
    assert shares == pytest.approx({0.0: 0.25, 0.25: 0.5, 1.0: 0.25}, abs=0.02)


def test_clusters_that_differ_widen_the_interval():
    values = [10, 11, 12, 30, 31, 32]
    none, one, two = (interval(values, clusters, rng(), 5000, 0.95) for clusters in (None, [0] * 6, [0, 0, 0, 1, 1, 1]))
    assert two[0] < one[0] == none[0] < none[1] == one[1] < two[1]


def test_difference_and_average_by_hand():
    three, five = (estimate([value] * 3, None, rng(), 100, 0.9) for value in (3, 5))
    gain = difference(five, three, 0.9)
    assert (gain.mean, gain.low, gain.high, gain.excludes_zero) == (2, 2, 2, True)
    assert not difference(five, five, 0.9).excludes_zero
    assert (three.overlaps(five), three.overlaps(three)) == (False, True)
    other = estimate([0, 4, 8], None, rng(), 100, 0.9)
    mixed = average([other, five], 0.9)
    assert (other.mean, other.std, mixed.mean, mixed.std) == (4, 4, 4.5, 2)  # of n − 1


def test_difference_resamples_both_sides():
    spread = np.array([0.0, 3.0, 4.0, 9.0])
    one, other = (estimate(spread, None, np.random.default_rng(k), 50_000, 0.9) for k in (1, 2))
    assert difference(one, other, 0.9).means.var() == pytest.approx(2 * spread.var() / 4, rel=0.03)


@pytest.mark.parametrize("damage", [None, {"dataset": "walker2d-medium"}, {"seeds": []}, "not JSON"])
def test_bad_cell_is_named(tmp_path, monkeypatch, damage):
    write_results(tmp_path, monkeypatch)
    path = Path("results/hopper-medium/dawm-iql.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}) if isinstance(damage, dict) else "not JSON")
    if damage is None:
        path.unlink()
    with pytest.raises(SystemExit) as stop:
        run_collect(monkeypatch)
    assert re.fullmatch(rf"cell hopper-medium × dawm × iql: {path} .*dvc repro", stop.value.code)  # a single line
    assert not Path("results/collected/hopper-medium.json").exists()


@pytest.mark.parametrize("change", [{"algorithms": ["td3bc"]}, {"seeds": SEEDS + 1}])
def test_results_of_another_grid_are_refused(tmp_path, monkeypatch, change):
    write_results(tmp_path, monkeypatch)
    run_collect(monkeypatch)
    Path("params.yaml").write_text(yaml.safe_dump({**yaml.safe_load(Path("params.yaml").read_text()), **change}))
    with pytest.raises(SystemExit, match=r"hopper-medium.*params\.yaml"):
        report()


def test_same_results_same_bytes_whatever_else_lies_there(tmp_path, monkeypatch):
    write_results(tmp_path / "two", monkeypatch)
    Path("results/hopper-medium/ghost-td3bc.json").write_text(json.dumps(cell("hopper-medium", "ghost", "td3bc", 99.0)))
    build(tmp_path / "one", monkeypatch)
    build(tmp_path / "two", monkeypatch)
    one, two = outputs(tmp_path / "one"), outputs(tmp_path / "two")
    assert (len(one), one) == (14, two)


def test_numbers_reach_every_output(tmp_path, monkeypatch, capsys):
    build(tmp_path, monkeypatch)
    real, dawm = 30 + 1.5 + 0.1, 36 + 1.5 + 0.1  # td3bc: means over seeds 0 … 3 and episodes 0 … 2
    summary = json.loads(Path("results/summary.json").read_text())
    assert list(summary) == [*DATASETS, "average"]
    assert summary["average"]["dawm"] == pytest.approx({"td3bc": dawm, "iql": dawm + 5, "bc": dawm + 10 + 24})
    scores, curves = pd.read_csv("results/scores.csv"), pd.read_csv("results/curves.csv")
    assert len(scores) == len(DATASETS) * len(METHODS) * len(ALGORITHMS) * SEEDS * EPISODES
    assert scores.groupby("method")["generator"].nunique().to_dict() == {"dawm": 2, "real": 0}
    seed = curves.query("dataset == 'hopper-medium' and method == 'real' and algorithm == 'td3bc' and seed == 2")
    assert dict(zip(seed["step"], seed["score"], strict=True)) == pytest.approx({50: 25.0, 100: 32.1})

    table, tex = Path("reports/tables/scores.md").read_text(), Path("reports/tables/scores.tex").read_text()
    assert capsys.readouterr().out == table
    assert f"| hopper-medium | DAWM | **{dawm:.1f}** ± 1.3 [" in table  # std of 0 … 3 is 1.29
    assert f"| hopper-medium | real data | {real:.1f} ± 1.3 [" in table
    assert "| average | behaviour | 12.0 | 12.0 | 12.0 |" in table
    assert "Locally collected data, not D4RL's files" in table
    assert "generators are resampled" in table
    assert rf"\textbf{{{dawm:.1f}}} $\pm$ 1.3" in tex
    assert r"90\% interval" in tex


def test_page_stands_alone_and_is_honest(tmp_path, monkeypatch):
    said = {}
    for gain, word in ((6.0, "more"), (-6.0, "less")):
        build(tmp_path / word, monkeypatch, gain)
        page = Path("reports/index.html").read_text()
        said[word] = re.search(r"<h1>(.*?)</h1>", page)[1]
        assert (
            said[word] == f"DAWM scores 6.0 points {word} than real data alone, and the 90% intervals do not overlap."
        )
        assert "Averaged over TD3+BC and IQL on 2 data sets" in page  # the floor is no judge
        assert number(6 if gain > 0 else -6, sign=True) in page
    tables = " ".join(re.findall(r'<table class="grid">.*?</table>', page, re.S)).lower()
    assert all(label(name).lower() in tables for name in [*METHODS, *ALGORITHMS])
    assert page.count("&lt;b&gt;0.25") == 6  # three phases of two data sets
    assert page.count('src="data:image/png;base64,') == page.count("<img") == page.count('alt="') == 6
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:|//)|url\(|@import|<script""", page)


def test_words_for_numbers_and_tex():
    assert [number(value) for value in (-0.04, -3.14, 2.0)] == ["0.0", "−3.1", "2.0"]
    assert escape(r"50% of a_b & c\d ± 1") == r"50\% of a\_b \& c\textbackslash{}d $\pm$ 1"
    found = blocks({"n": 1234, "real": {"x": 1.5}, "other": {"y": None}, "synthetic": {"x": True}})
    assert [block["columns"] for block in found] == [[], ["real", "synthetic"], ["other"]]
    assert [block["rows"] for block in found] == [[("n", ["1,234"])], [("x", ["1.5", "yes"])], [("y", ["–"])]]


def test_the_page_shows_the_parameters_of_the_grid_s_algorithms_and_data_sets_alone(params):
    changed = params.model_copy(update={"algorithms": ["iql", "bc"], "datasets": ["antmaze-umaze-v2", "hopper-medium"]})
    sections = {section["title"]: section for section in parameter_sections(changed)}
    assert {"run", "policy", "iql"} <= sections.keys()
    assert not {"td3bc", "rebrac", "bc10", "bc"} & sections.keys()  # bc has none of its own
    shown = str(sections["iql"])
    assert "antmaze-*.beta" in shown
    assert "hopper-medium.tau" in shown
    assert "hopper-medium-replay" not in shown
    assert "pen-*" not in shown


def test_costs_are_what_was_seen_here_and_nothing_else(tmp_path, monkeypatch):
    build(tmp_path, monkeypatch)
    lines = (tmp_path / "reports/tables/costs.md").read_text().splitlines()
    assert "| hopper-medium | DAWM | – | – | 2.46 | 12,345 | 1,000 |" in lines
    assert "- –: not seen on this machine." in lines
    for digest, seconds in (("aa", 30.0), ("bb", 12.25), ("cc", 1.5)):
        write_json(place(digest), {"output": digest, "seconds": seconds, "machine": "a desk"})
    report()
    lines = (tmp_path / "reports/tables/costs.md").read_text().splitlines()
    assert "| hopper-medium | DAWM | 42 | 1.5 | 2.46 | 12,345 | 1,000 |" in lines
    assert not [line for line in lines if "real data" in line]  # nothing was made
    assert any(line.startswith("- Measured on a desk, ") for line in lines)
    page = (tmp_path / "reports/index.html").read_text()
    assert '<td class="seconds">42</td><td class="seconds">1.5</td><td>2.46</td>' in page


def test_fidelity_is_a_table_with_its_words_and_two_figures(tmp_path, monkeypatch):
    build(tmp_path, monkeypatch)
    table = (tmp_path / "reports/tables/fidelity.md").read_text().splitlines()
    rows = {
        tuple(line.split(" | ")[:2]): line.split(" | ")[2:] for line in table if line.startswith("| ") and "|" in line
    }
    assert rows["| hopper-medium", "Real data"][:2] == ["2e−8", "4e−8"]
    found = rows["| hopper-medium", "DAWM"]
    assert found[:5] == ["0.01", "0.02", "0.40", "0.02", "0.5%, 0.6%"]
    assert found[5] == "0.90 to 0.97"  # without the first step, whose action is the data's own
    assert rows["| walker2d-medium", "DAWM"][:5] == ["–", "–", "–", "–", "0.4%"]
    page = (tmp_path / "reports/index.html").read_text()
    assert all(
        text in page
        for text in ("Fidelity", "2e−8", "velocity cut at ±10", "rank correlation of 0.75", "which know, 0.35")
    )
    assert (tmp_path / "reports/figures/fidelity.png").exists()
    assert (tmp_path / "reports/figures/steering.png").exists()

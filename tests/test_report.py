"""The report: the grid alone, the same bytes, the numbers in every output, an honest page."""

import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from stages.common.cost import place
from stages.common.files import write_json
from stages.report import collect
from stages.report.__main__ import main as report
from stages.report.page import parameter_sections
from stages.report.table import escape
from stages.report.words import blocks, label, number

DATASETS, METHODS, ALGORITHMS = ["hopper-medium", "walker2d-medium"], ["real", "dawm"], ["td3bc", "iql", "bc"]
EPISODES, SEEDS = 3, 5
COST = {
    "trained": ["aa", "bb"],
    "source": None,
    "sampled": "cc",
    "parameters": 12345,
    "evaluations": 2.456,
    "transitions": 1000,
    "counts": {},
}


def outputs(folder: Path) -> dict[str, bytes]:
    """What the report wrote: path → content."""
    paths = [*folder.glob("results/*.*"), *folder.glob("reports/**/*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def cell(dataset: str, method: str, algorithm: str, gain: float) -> dict:
    """Five generators for DAWM; scores that differ by seed and episode; behaviour cloning gains five times as much."""
    gain = 5 * gain if algorithm == "bc" else gain
    base = 30 + 5 * ALGORITHMS.index(algorithm) + (gain if method == "dawm" else 0)
    scores = [[base + seed + episode / 10 for episode in range(EPISODES)] for seed in range(SEEDS)]
    generators = [None if method == "real" else k for k in range(SEEDS)]
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
    params["policy"]["steps"], params["evaluate"]["episodes"] = 100, EPISODES
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


def change_params(**changes):
    Path("params.yaml").write_text(yaml.safe_dump({**yaml.safe_load(Path("params.yaml").read_text()), **changes}))


@pytest.mark.parametrize("change", [{"algorithms": ["td3bc"]}, {"seeds": SEEDS + 1}])
def test_results_of_another_grid_are_refused(tmp_path, monkeypatch, change):
    write_results(tmp_path, monkeypatch)
    run_collect(monkeypatch)
    change_params(**change)
    with pytest.raises(SystemExit, match=r"hopper-medium.*params\.yaml"):
        report()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"steps": 200}, "updates: 200, where params.yaml asks for 100"),
        ({"source": "d4rl"}, "source: d4rl, where params.yaml asks for local"),
        (
            {"seeds": [{**seed, "scores": seed["scores"][:2]} for seed in cell("x", "dawm", "iql", 0)["seeds"]]},
            "episodes: 2",
        ),
    ],
)
def test_a_cell_that_an_earlier_run_left_is_named_and_shown_nowhere(tmp_path, monkeypatch, damage, told):
    write_results(tmp_path, monkeypatch)
    path = Path("results/hopper-medium/dawm-iql.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    run_collect(monkeypatch)
    with pytest.raises(SystemExit, match=f"^cell hopper-medium × dawm × iql: {told}.*; run: dvc repro$"):
        report()
    assert not list(Path().glob("reports/tables/*"))
    assert not Path("reports/index.html").exists()


def test_what_an_earlier_grid_left_is_shown_nowhere(tmp_path, monkeypatch):
    build(tmp_path, monkeypatch)
    Path("reports/tables/ablation-gone.md").write_text("of old")
    assert "walker2d" in Path("reports/index.html").read_text()
    assert Path("reports/figures/steering.png").exists()
    change_params(datasets=DATASETS[:1], methods=["real"])
    monkeypatch.setattr(sys, "argv", ["collect", "--dataset", DATASETS[0]])
    collect.main()
    report()
    assert Path("results/collected/walker2d-medium.json").exists()  # the stale one lies there, and is not read
    written = {name: content for name, content in outputs(tmp_path).items() if not name.startswith("reports/data")}
    for name, content in written.items():
        text = content.decode("utf-8", "ignore")
        own = text.partition('<script id="library">')[0]
        assert not re.search("walker2d|dawm|DAWM", own.replace("reports/tables", "")), name
    assert not {"reports/figures/steering.png", "reports/tables/ablation-gone.md", "reports/tables/costs.md"} & set(
        written
    )


def test_same_results_same_bytes_and_no_trace_of_others(tmp_path, monkeypatch):
    write_results(tmp_path / "two", monkeypatch)
    Path("results/hopper-medium/phantom-td3bc.json").write_text(
        json.dumps(cell("hopper-medium", "phantom", "td3bc", 99.0))
    )
    build(tmp_path / "one", monkeypatch)
    build(tmp_path / "two", monkeypatch)
    one, two = outputs(tmp_path / "one"), outputs(tmp_path / "two")
    tables = ("scores", "differences", "aggregates", "improvement", "costs", "fidelity")
    figures = ("scores", "learning_curves", "profiles", "improvement", "fidelity", "steering")
    files = {f"reports/tables/{name}.{kind}" for name in tables for kind in ("md", "tex", "csv")}
    files |= {f"reports/figures/{name}.{kind}" for name in figures for kind in ("png", "svg")}
    files |= {"results/scores.csv", "results/curves.csv", "results/summary.json", "reports/index.html"}
    assert one.keys() - {f"reports/data/{dataset}.png" for dataset in DATASETS} == files
    assert one == two
    assert not [name for name, content in two.items() if b"phantom" in content]


def test_numbers_reach_every_output(tmp_path, monkeypatch, capsys):
    build(tmp_path, monkeypatch)
    real, dawm = 30 + 2 + 0.1, 36 + 2 + 0.1  # td3bc: means over seeds 0 … 4 and episodes 0 … 2
    summary = json.loads(Path("results/summary.json").read_text())
    assert list(summary) == METHODS  # the average alone, so that dvc exp show has few columns
    assert summary["dawm"] == pytest.approx({"td3bc": dawm, "iql": dawm + 5, "bc": dawm + 10 + 24})
    scores, curves = pd.read_csv("results/scores.csv"), pd.read_csv("results/curves.csv")
    assert len(scores) == len(DATASETS) * len(METHODS) * len(ALGORITHMS) * SEEDS * EPISODES
    assert scores.groupby("method")["generator"].nunique().to_dict() == {"dawm": 5, "real": 0}
    seed = curves.query("dataset == 'hopper-medium' and method == 'real' and algorithm == 'td3bc' and seed == 2")
    assert dict(zip(seed["step"], seed["score"], strict=True)) == pytest.approx({50: 25.0, 100: 32.1})

    table, tex = Path("reports/tables/scores.md").read_text(), Path("reports/tables/scores.tex").read_text()
    assert capsys.readouterr().out == table
    assert f"| hopper-medium | DAWM | **{dawm:.1f}** ± 1.6 [" in table  # std of 0 … 4 is 1.58
    assert f"| hopper-medium | Real data | {real:.1f} ± 1.6 [" in table
    assert "| Average | Behaviour | 12.0 | 12.0 | 12.0 |" in table
    assert "Locally collected data, not D4RL's files" in table
    assert "generators are resampled" in table
    assert rf"\textbf{{{dawm:.1f}}} $\pm$ 1.6" in tex
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
    tables = " ".join(re.findall(r'<table class="grid[^>]*>.*?</table>', page, re.S)).lower()
    assert all(label(name).lower() in tables for name in [*METHODS, *ALGORITHMS])
    assert page.count("&lt;b&gt;0.25") == 6  # three phases of two data sets
    before, library, after = re.split(r'<script id="library">|(?<=window.vegaLite=__default1;)</script>', page)
    assert len(library) > 500_000
    own = before + after
    images = re.findall(r"<img [^>]*>", own)
    assert len(images) == 2  # the data cards; all else is drawn by the browser
    assert all('src="data:image/png;base64,' in image and 'alt="' in image for image in images)
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:|//)|url\(|@import|<script src""", own)


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
    assert [field.name for field in tmp_path.glob("reports/figures/costs.*")]  # now there is something to draw


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

"""The report: exactly the grid of params.yaml, equal bytes for equal results, the right numbers in every output."""

import io
import json
import re
import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from stages.common.files import write_json
from stages.common.timing import digest, timing_path
from stages.report import collect
from stages.report.page.page import parameter_sections
from stages.report.style.words import blocks, label, number
from stages.report.tables.__main__ import main as tables_main
from stages.report.tables.table import escape
from tests.conftest import report

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
    """The report's files: path → content."""
    paths = [*folder.glob("results/*.*"), *folder.glob("reports/**/*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def cell(dataset: str, method: str, algorithm: str, gain: float) -> dict:
    """Results of a cell: five generators for DAWM, scores that differ by seed and episode.

    DAWM gains `gain` points over real data, with behaviour cloning five times as many.
    """
    gain = 5 * gain if algorithm == "bc" else gain
    base = 30 + 5 * ALGORITHMS.index(algorithm) + (gain if method == "dawm" else 0)
    scores = [[base + seed + episode / 10 for episode in range(EPISODES)] for seed in range(SEEDS)]
    generators = [None if method == "real" else k for k in range(SEEDS)]
    seeds = [{"seed": k, "generator": generators[k], "returns": row, "scores": row} for k, row in enumerate(scores)]
    names = {"dataset": dataset, "method": method, "algorithm": algorithm, "source": "local", "environment": "Toy-v4"}
    curve = [{"step": 50, "scores": [[row[0] - 8, row[0] - 6] for row in scores]}]
    return {**names, "reference": [0.0, 100.0], "steps": 100, "passes": 2, "seeds": seeds, "curve": curve}


def fidelity(method: str, measured: bool) -> dict:
    """A method's fidelity record; `physics` is None unless `measured`."""
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
        "terminal_rate": {"measured": 0.004, "real": 0.006},
        "coverage": {
            "nearest_neighbour": {"measured": 1.5, "floor": 1.2},
            "action_novelty": {"measured": 0.3, "floor": 0.2},
        },
        "cost": None if method == "real" else COST,
        "diversity": {"actions": [[1.0, 1.0]] + [[0.9, 0.97]] * (steps - 1), "states": [[0.98, 1.01]] * steps},
    }


def write_results(folder: Path, monkeypatch, gain: float = 6.0):
    """Writes params.yaml and a whole grid's results to `folder`, as earlier stages leave them, and changes to it."""
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
        files["data"] = {"source": "local", "environment": "Toy-v4", "score_mean": 10.0 + 4 * k, "as_recorded": True}
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
    """Writes results to `folder`, then runs collect, tables and page there."""
    write_results(folder, monkeypatch, gain)
    run_collect(monkeypatch)
    report()


def run_collect(monkeypatch):
    for dataset in DATASETS:
        monkeypatch.setattr(sys, "argv", ["collect", "--dataset", dataset])
        collect.main()


def without_figures(monkeypatch):
    """Makes the table stage draw nothing, which takes most of its time."""
    monkeypatch.setattr("stages.report.tables.__main__.draw", lambda content: None)


def run_tables(monkeypatch):
    """Runs the table stage alone."""
    monkeypatch.setattr(sys, "argv", ["tables"])
    tables_main()


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> SimpleNamespace:
    """A whole report with figures, to be read only: its folder, its files by path, and what the table stage printed."""
    folder, printed = tmp_path_factory.mktemp("report"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        build(folder, patch)
    return SimpleNamespace(folder=folder, files=outputs(folder), printed=printed.getvalue())


@pytest.mark.parametrize("damage", [None, {"dataset": "walker2d-medium"}, {"seeds": []}, "not JSON"])
def test_a_bad_cell_is_named(tmp_path, monkeypatch, damage):
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
        run_tables(monkeypatch)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"steps": 200}, "updates: 200, but params.yaml asks for 100"),
        ({"source": "d4rl"}, "source: d4rl, but params.yaml asks for local"),
        (
            {"seeds": [{**seed, "scores": seed["scores"][:2]} for seed in cell("x", "dawm", "iql", 0)["seeds"]]},
            "episodes: 2",
        ),
    ],
)
def test_a_cell_of_an_earlier_run_is_refused_by_name(tmp_path, monkeypatch, damage, message):
    write_results(tmp_path, monkeypatch)
    path = Path("results/hopper-medium/dawm-iql.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    run_collect(monkeypatch)
    with pytest.raises(SystemExit, match=f"^cell hopper-medium × dawm × iql: {message}.*; run: dvc repro$"):
        report()
    assert not list(Path().glob("reports/tables/*"))
    assert not Path("reports/index.html").exists()


def test_files_of_an_earlier_grid_are_removed_or_ignored(built, tmp_path, monkeypatch):
    shutil.copytree(built.folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("reports/tables/ablation-gone.md").write_text("of an earlier run")
    assert "walker2d" in Path("reports/index.html").read_text()
    assert Path("reports/figures/steering.png").exists()
    change_params(datasets=DATASETS[:1], methods=["real"])
    monkeypatch.setattr(sys, "argv", ["collect", "--dataset", DATASETS[0]])
    collect.main()
    report()
    assert Path("results/collected/walker2d-medium.json").exists()  # still there, but not read
    assert (
        "The grid has scores of real data only, so there is no difference to report."
        in Path("reports/index.html").read_text()
    )
    written = {name: content for name, content in outputs(tmp_path).items() if not name.startswith("reports/data")}
    for name, content in written.items():
        text = content.decode("utf-8", "ignore")
        content_only = text.partition('<script id="library">')[0].replace("reports/tables", "")
        assert not re.search("walker2d|dawm|DAWM", content_only), name
    assert not {"reports/figures/steering.png", "reports/tables/ablation-gone.md", "reports/tables/costs.md"} & set(
        written
    )


@pytest.mark.slow
def test_equal_results_give_equal_bytes_without_trace_of_other_methods(built, tmp_path, monkeypatch):
    write_results(tmp_path, monkeypatch)
    Path("results/hopper-medium/phantom-td3bc.json").write_text(
        json.dumps(cell("hopper-medium", "phantom", "td3bc", 99.0))
    )
    build(tmp_path, monkeypatch)
    one, two = built.files, outputs(tmp_path)
    tables = ("scores", "differences", "aggregates", "improvement", "costs", "acting", "fidelity", "gains", "noise")
    figures = ("scores", "learning_curves", "profiles", "improvement", "fidelity", "steering", "gains")
    files = {f"reports/tables/{name}.{kind}" for name in tables for kind in ("md", "tex", "csv")}
    files |= {f"reports/figures/{name}.{kind}" for name in figures for kind in ("png", "svg")}
    files |= {"results/scores.csv", "results/curves.csv", "results/summary.json", "reports/index.html"}
    assert one.keys() - {f"reports/data/{dataset}.png" for dataset in DATASETS} == files
    assert one == two
    assert not [name for name, content in two.items() if b"phantom" in content]


def test_numbers_reach_every_output(built, monkeypatch):
    monkeypatch.chdir(built.folder)
    real, dawm = 30 + 2 + 0.1, 36 + 2 + 0.1  # td3bc: means over seeds 0 … 4 and episodes 0 … 2
    summary = json.loads(Path("results/summary.json").read_text())
    assert list(summary) == METHODS  # only the average, so that dvc exp show has few columns
    assert summary["dawm"] == pytest.approx({"td3bc": dawm, "iql": dawm + 5, "bc": dawm + 10 + 24})
    scores, curves = pd.read_csv("results/scores.csv"), pd.read_csv("results/curves.csv")
    assert len(scores) == len(DATASETS) * len(METHODS) * len(ALGORITHMS) * SEEDS * EPISODES
    assert scores.groupby("method")["generator"].nunique().to_dict() == {"dawm": 5, "real": 0}
    seed = curves.query("dataset == 'hopper-medium' and method == 'real' and algorithm == 'td3bc' and seed == 2")
    assert dict(zip(seed["step"], seed["score"], strict=True)) == pytest.approx({50: 25.0, 100: 32.1})

    table, tex = Path("reports/tables/scores.md").read_text(), Path("reports/tables/scores.tex").read_text()
    assert built.printed == table
    assert f"| hopper-medium | DAWM | **{dawm:.1f}** ± 1.6 [" in table  # std of 0 … 4 is 1.58
    assert f"| hopper-medium | Real data | {real:.1f} ± 1.6 [" in table
    assert "| Average | Behaviour | 12.0 | 12.0 | 12.0 |" in table
    assert "Locally collected data, not D4RL's files" in table
    assert "generators are resampled" in table
    assert rf"\textbf{{{dawm:.1f}}} $\pm$ 1.6" in tex
    assert r"90\% interval" in tex


def test_page_is_self_contained_and_its_headline_follows_the_scores(built, tmp_path, monkeypatch):
    without_figures(monkeypatch)
    build(tmp_path, monkeypatch, gain=-6.0)
    for folder, word, gain in ((built.folder, "more", 6.0), (tmp_path, "less", -6.0)):
        page = (folder / "reports/index.html").read_text()
        headline = re.search(r"<h1>(.*?)</h1>", page)[1]
        sure = "and the 90% interval of the difference excludes 0"
        assert headline == f"DAWM scores 6.0 points {word} than real data alone, {sure}."
        assert "Averaged over TD3+BC and IQL on 2 data sets" in page  # without behaviour cloning
        assert f"; difference {number(gain, sign=True)} [" in page
    tables = " ".join(re.findall(r'<table class="grid[^>]*>.*?</table>', page, re.S)).lower()
    assert all(label(name).lower() in tables for name in [*METHODS, *ALGORITHMS])
    assert page.count("&lt;b&gt;0.25") == 6  # three phases of two data sets
    before, library, after = re.split(r'<script id="library">|(?<=window.vegaLite=__default1;)</script>', page)
    assert len(library) > 500_000
    content = before + after
    images = re.findall(r"<img [^>]*>", content)
    assert len(images) == 2  # the data cards; the browser draws the charts
    assert all('src="data:image/png;base64,' in image and 'alt="' in image for image in images)
    assert not re.search(r"""(src|href)\s*=\s*["']?\s*(https?:|//)|url\(|@import|<script src""", content)


def test_numbers_records_and_tex_as_text():
    assert [number(value) for value in (-0.04, -3.14, 2.0)] == ["0.0", "−3.1", "2.0"]
    assert escape(r"50% of a_b & c\d ± 1") == r"50\% of a\_b \& c\textbackslash{}d $\pm$ 1"
    parts = blocks({"n": 1234, "real": {"x": 1.5}, "other": {"y": None}, "synthetic": {"x": True}})
    assert [block["columns"] for block in parts] == [[], ["real", "synthetic"], ["other"]]
    assert [block["rows"] for block in parts] == [[("n", ["1,234"])], [("x", ["1.5", "yes"])], [("y", ["–"])]]


def test_page_shows_parameters_of_the_grids_algorithms_and_data_sets_only(tiny_params):
    changed = {**tiny_params, "algorithms": ["iql", "bc"], "datasets": ["antmaze-umaze-v2", "hopper-medium"]}
    changed["bc"] = {"exceptions": {}}
    sections = {section["title"]: section for section in parameter_sections(changed)}
    assert {"run", "policy", "iql"} <= sections.keys()
    assert not {"td3bc", "rebrac", "bc10", "bc"} & sections.keys()  # bc has no parameters here
    shown = str(sections["iql"])
    assert "antmaze-*.beta" in shown
    assert "hopper-medium.tau" in shown
    assert "hopper-medium-replay" not in shown
    assert "pen-*" not in shown


def test_costs_are_those_recorded_on_this_machine(built, tmp_path, monkeypatch):
    lines = (built.folder / "reports/tables/costs.md").read_text().splitlines()
    assert "| hopper-medium | DAWM | – | – | 2.46 | 12,345 | 1,000 |" in lines
    assert "- –: not recorded on this machine." in lines
    assert not list(built.folder.glob("reports/figures/costs.*"))
    write_results(tmp_path, monkeypatch)
    run_collect(monkeypatch)
    others = ("scores.learning_curves", "scores.score_bars", "aggregates.profiles", "aggregates.improvements")
    for other in (*others, "fidelity.errors", "fidelity.steering", "gains.gains"):
        monkeypatch.setattr(f"stages.report.figures.{other}", lambda *_: None)
    for name, seconds in (("aa", 30.0), ("bb", 12.25), ("cc", 1.5)):
        write_json(timing_path(name), {"output": name, "seconds": seconds, "machine": "a desk"})
    run_tables(monkeypatch)
    lines = (tmp_path / "reports/tables/costs.md").read_text().splitlines()
    assert "| hopper-medium | DAWM | 42 | 1.5 | 2.46 | 12,345 | 1,000 |" in lines
    assert not [line for line in lines if "real data" in line]  # it has no synthetic transitions
    assert any(line.startswith("- Measured on a desk, ") for line in lines)
    assert {path.suffix for path in tmp_path.glob("reports/figures/costs.*")} == {".png", ".svg"}


def test_the_cost_of_acting_is_in_passes_and_in_seconds_for_one_episode(tmp_path, monkeypatch):
    write_results(tmp_path, monkeypatch)
    path = Path("results/hopper-medium/dawm-iql.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "passes": 7}))
    Path("results/hopper-medium/real-iql.json").write_text(path.read_text().replace('"dawm"', '"real"'))
    run_collect(monkeypatch)
    without_figures(monkeypatch)
    played = SEEDS * EPISODES + SEEDS * 2  # of the last snapshot, and of the curve's
    write_json(timing_path(digest(path)), {"output": str(path), "seconds": 0.25 * played, "machine": "a desk"})
    run_tables(monkeypatch)
    lines = (tmp_path / "reports/tables/acting.md").read_text().splitlines()
    assert "| hopper-medium | Network passes for one action | 2 | 7 | 2 |" in lines
    assert "| hopper-medium | Real data | – | – | – |" in lines
    assert "| hopper-medium | DAWM | – | 0.25 | – |" in lines
    assert any(line.startswith("- Measured on a desk, ") for line in lines)
    assert "- –: not recorded on this machine." in lines
    frame = pd.read_csv("reports/tables/acting.csv")
    assert frame["seconds_for_one_episode"].dropna().tolist() == [0.25]
    assert len(frame) == len(DATASETS) * len(METHODS) * len(ALGORITHMS)


def test_fidelity_has_a_table_with_notes_and_two_figures(built):
    table = (built.folder / "reports/tables/fidelity.md").read_text().splitlines()
    rows = {
        tuple(line.split(" | ")[:2]): line.split(" | ")[2:] for line in table if line.startswith("| ") and "|" in line
    }
    assert rows["| hopper-medium", "Real data"][:2] == ["2e−8", "4e−8"]
    dawm = rows["| hopper-medium", "DAWM"]
    assert dawm[:5] == ["0.01", "0.02", "0.40", "0.02", "0.5%, 0.6%"]
    assert dawm[5] == "0.90 to 0.97"  # without the first step, whose action is from the data
    assert rows["| walker2d-medium", "DAWM"][:5] == ["–", "–", "–", "–", "0.4%"]
    page = (built.folder / "reports/index.html").read_text()
    assert all(text in page for text in ("Fidelity", "2e−8", "was clipped to ±10"))
    assert re.search(r"rank correlation\D*0\.75\b", page)
    assert re.search(r"data\D*0\.35\b", page)  # of the real windows
    assert (built.folder / "reports/figures/fidelity.png").exists()
    assert (built.folder / "reports/figures/steering.png").exists()

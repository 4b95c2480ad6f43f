"""Ablations: an experiment's numbers by hand, file names, table and figure; test_experiments.py runs an ablation."""

import hashlib
import json
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml

from ablations.experiments import name_of
from ablations.finished import Experiment, Folder
from ablations.table import frame
from stages.common.files import write_json, write_text
from stages.common.timing import seconds, timed, timing
from stages.report.figures.ablations import draw
from stages.report.revisions import git
from stages.report.tables.ablations import Ablation, difference_table, differences, score_table, tables
from stages.report.tables.table import markdown


def test_a_timing_is_found_by_its_output_with_revision_and_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "stages").mkdir()
    monkeypatch.chdir(tmp_path)
    revisions = []
    for content in ("", "x = 1\n", "x = 2\n"):
        with timed(tmp_path / "model"):
            (tmp_path / "model").write_bytes(b"weights")
        revisions.append(timing(hashlib.md5(b"weights").hexdigest())["revision"])
        (tmp_path / "stages/code.py").write_text(content)
        if content == "":
            identity = ("-c", "user.name=t", "-c", "user.email=t@t")
            for command in (["init", "-q"], ["add", "stages"], ["commit", "-qm", "code"]):
                subprocess.run(["git", *identity, *command], check=True)
        (tmp_path / "stages/dvc.lock").write_text("DVC rewrites its lock file during a run")
    commit = git("rev-parse", "--short=10", "HEAD").strip()
    assert revisions == [None, commit, f"{commit} with changes"]
    assert timing(hashlib.md5(b"weights").hexdigest())["packages"]["numpy"] == np.__version__
    assert 0 <= seconds(hashlib.md5(b"weights").hexdigest()) < 60
    assert seconds("0" * 32) is None


def test_experiment_names_are_valid_git_refs():
    assert name_of("idm.hidden", "[64, 64]") == "ablation-idm.hidden--64-64"
    assert name_of("target_return", "-1.5") == "ablation-target_return--1.5"
    assert Ablation("idm.hidden/2", [], pd.DataFrame()).name == "idm.hidden-2"


def record(error: float, digests: list[str] | None) -> dict:
    """A fidelity record; `digests` are the md5 of the method's models and, last, of its transitions."""
    overall = {"median": error, "p90": 10 * error, "p99": 20 * error}
    physics = {"overall": overall, "state_error": [{"overall": overall}, {"overall": {**overall, "median": 2 * error}}]}
    cost = digests and {"trained": digests[:-1], "source": None, "sampled": digests[-1]}
    return {"physics": physics, "diversity": {"actions": [[1.0, 1.0], [0.8, 0.9]]}, "cost": cost}


@pytest.fixture
def finished(tmp_path, monkeypatch) -> list[Experiment]:
    """Two finished experiments, horizon 1 and 3, as commits of a repository made for the test, with their timings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    finished = []
    subprocess.run(["git", "init", "-q"], check=True)
    for value, error in (("1", 0.01), ("3", 0.02)):
        scores = [
            {"dataset": d, "method": m, "algorithm": "td3bc", "seed": s, "generator": g, "episode": e, "score": score}
            for d in ("hopper-medium", "hopper-medium-replay")
            for m, g in (("real", None), ("dawm", 0))
            for s in range(3)
            for e in range(2)
            for score in [10 * int(value) + s + e]
        ]
        files = {
            "results/scores.csv": pd.DataFrame(scores).astype({"generator": "Int64"}).to_csv(index=False),
            "params.yaml": yaml.safe_dump({"seeds": 3, "report": {"resamples": 100, "confidence": 0.9}}),
        }
        stages = {}
        for k, dataset in enumerate(("hopper-medium", "hopper-medium-replay")):
            files[f"results/{dataset}/steering.json"] = json.dumps({"rank_correlation": {"beyond": {"asked": 0.5}}})
            sources = {"real": None, "dawm": [f"{value}{phase}{k}0" for phase in ("diffusion", "idm", "augment")]}
            for method, digests in sources.items():
                files[f"results/{dataset}/fidelity-{method}.json"] = json.dumps(record(error, digests))
            for phase, output in (
                ("diffusion", "models/{}/diffusion.safetensors"),
                ("idm", "models/{}/idm.safetensors"),
                ("augment", "data/{}/dawm.npz"),
                ("policy", "models/{}/dawm-td3bc.safetensors"),
                ("policy", "models/{}/real-td3bc.safetensors"),
            ):
                digest = f"{value}{phase}{k}{output.count('real')}"
                name = f"{phase}@{dataset}" + ("" if phase != "policy" else f"-{output[10:14]}-td3bc")
                stages[name] = {"outs": [{"path": output.format(dataset), "md5": digest}]}
                timing_file = tmp_path / ".timings" / f"{digest}.json"
                timing_file.parent.mkdir(exist_ok=True)
                timing_file.write_text(json.dumps({"seconds": 10.0 if "real" not in output else 1000.0}))
        files["dvc.lock"] = yaml.safe_dump({"stages": {**stages, "check": {"cmd": "x"}}})
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        subprocess.run(["git", "add", "-A"], check=True)
        author = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", *author, "commit", "-qm", value], check=True)
        finished.append(Experiment(value, git("rev-parse", "HEAD").strip()))
    return finished


def test_each_row_has_scores_fidelity_and_cost_of_its_own_data_set(finished):
    rows = frame(finished)
    assert len(rows) == 2 * 2 * 2
    dawm = rows[(rows["method"] == "dawm") & (rows["dataset"] == "hopper-medium")]
    assert dawm["value"].tolist() == ["1", "3"]
    assert dawm["score"].tolist() == [11.5, 31.5]
    assert dawm["low"].isna().all()  # three seeds
    assert dawm["error_median"].tolist() == [0.01, 0.02]
    assert dawm["error_last_step"].tolist() == [0.02, 0.04]
    assert dawm["action_spread"].tolist() == pytest.approx([0.85, 0.85])
    assert dawm["seconds_making"].tolist() == [30, 30]
    assert dawm["seconds_policy"].tolist() == [10, 10]
    assert rows[rows["method"] == "real"]["seconds_policy"].eq(1000).all()
    assert rows[rows["method"] == "real"]["seconds_making"].isna().all()


def test_a_time_that_was_not_recorded_is_missing(finished, tmp_path):
    next(tmp_path.glob(".timings/1idm0*.json")).unlink()
    rows = frame(finished).set_index(["value", "dataset", "method"])["seconds_making"]
    assert np.isnan(rows["1", "hopper-medium", "dawm"])
    assert rows["3", "hopper-medium", "dawm"] == 30
    assert "| hopper-medium, DAWM | 1 | 11.5" in markdown(
        score_table(Ablation("horizon", ["A note."], frame(finished)))
    )


def test_figure_and_table_show_every_value(finished, tmp_path):
    numbers = frame(finished)
    draw(numbers, "horizon", tmp_path / "horizon.png")
    assert (tmp_path / "horizon.png").stat().st_size > 10_000
    assert (tmp_path / "horizon.svg").stat().st_size > 10_000
    text = markdown(score_table(Ablation("horizon", ["A note."], numbers)))
    assert "| data set, method | horizon | TD3+BC | error, median |" in text
    assert "| hopper-medium, real data | 1 | 11.5 |" in text  # three seeds are too few for an interval
    assert "| hopper-medium-replay, DAWM | 3 | 31.5 |" in text
    assert "- A note." in text


def test_runs_in_folders_give_the_same_rows_without_times(finished, tmp_path):
    """A cell that the folder lacks is left out."""
    copies = []
    for run in finished:
        folder, scores = tmp_path / "copies" / run.value, run.scores
        names = {f"{key}s": scores[key].unique().tolist() for key in ("dataset", "method", "algorithm")}
        write_text(folder / "params.yaml", yaml.safe_dump({**run.params, **names, "algorithms": ["td3bc", "iql"]}))
        for (dataset, method), cell in scores.groupby(["dataset", "method"]):
            seeds = [
                {"seed": seed, "generator": None if method == "real" else 0, "scores": own, "returns": own}
                for seed, own in cell.groupby("seed")["score"].apply(list).items()
            ]
            content = {"dataset": dataset, "method": method, "algorithm": "td3bc", "seeds": seeds}
            write_json(folder / f"results/{dataset}/{method}-td3bc.json", content)
            for name in (f"fidelity-{method}", "steering"):
                write_json(folder / f"results/{dataset}/{name}.json", run.json(f"results/{dataset}/{name}.json"))
        copies.append(Folder(run.value, folder))
    times = ["seconds_making", "seconds_policy"]
    theirs, ours = frame(copies), frame(finished)
    assert theirs["seconds_policy"].isna().all()
    pd.testing.assert_frame_equal(theirs.drop(columns=times), ours.drop(columns=times))


def test_a_method_that_the_parameter_does_not_change_has_one_row(finished):
    numbers = frame(finished)
    real = numbers[(numbers["method"] == "real") & (numbers["value"] == "1")]
    numbers = pd.concat([numbers[numbers["method"] != "real"], real, real.assign(value="3", seconds_policy=7.0)])
    text = markdown(score_table(Ablation("horizon", ["A note."], numbers)))
    assert "| hopper-medium, real data | every value | 11.5 |" in text
    assert "| hopper-medium, DAWM | 1 | 11.5 |" in text
    assert text.count("| hopper-medium, real data |") == 1


def test_a_cell_that_was_not_run_is_a_dash(finished):
    numbers = frame(finished)
    iql = numbers[numbers["method"] == "real"].assign(algorithm="iql")
    text = markdown(score_table(Ablation("horizon", ["A note."], pd.concat([numbers, iql]))))
    assert "| hopper-medium, DAWM | 1 | 11.5 | – |" in text
    assert "| hopper-medium, real data | 1 | 11.5 | 11.5 |" in text


def test_differences_are_from_real_data_at_the_same_value_with_intervals_of_both():
    """Each side's interval ends: real data 4 [1, 5] and 20 without, DAWM 10 [8, 13] and 15 without."""
    rows = [
        ("1", "real", 4, 1, 5),
        ("1", "dawm", 10, 8, 13),
        ("3", "real", 20, None, None),
        ("3", "dawm", 15, None, None),
    ]
    numbers = pd.DataFrame(rows, columns=["value", "method", "score", "low", "high"])
    numbers = numbers.assign(dataset="d", algorithm="iql", seconds_making=np.nan, seconds_policy=np.nan)
    first, second = differences(numbers).itertuples()
    assert first.difference == 6
    assert (first.difference_low, first.difference_high) == pytest.approx((6 - 5**0.5, 6 + 18**0.5))
    assert second.difference == -5
    assert np.isnan(second.difference_low)

    made = difference_table(Ablation("horizon", ["A note."], numbers))
    text = markdown(made)
    assert "| d, DAWM | 1 | +6.0 [3.8, 10.2] |" in text
    assert "| d, DAWM | 3 | −5.0 |" in text
    assert "real data |" not in text
    assert "- A note." in text
    assert made.frame.columns.tolist()[-3:] == ["difference", "difference_low", "difference_high"]
    assert difference_table(Ablation("horizon", [], numbers[numbers["method"] != "real"])) is None


def test_the_table_of_differences_needs_real_data(finished):
    numbers = frame(finished)
    names = ["ablation-horizon", "ablation-horizon-differences"]
    assert [each.name for each in tables(Ablation("horizon", [], numbers))] == names
    without = Ablation("horizon", [], numbers[numbers["method"] != "real"])
    assert [each.name for each in tables(without)] == names[:1]

"""Comparison of two runs in a git repository made for the test: numbers by hand, verdicts, notes and errors."""

import subprocess
import sys

import numpy as np
import pytest
import yaml

from stages.common.rng import numpy_stream
from stages.report import compare
from stages.report.compare import main, markdown
from stages.report.revisions import commit_of, read
from stages.report.statistics.bootstrap import difference, estimate, resample

HEAD = "dataset,method,algorithm,seed,generator,episode,return,score"
PARAMS = {
    "source": "local",
    "horizon": 5,
    "idm": {"hidden": [256, 256], "head": "mean"},
    "report": {"resamples": 500, "confidence": 0.9},
}
HOPPER, WALKER, CHEETAH = "hopper-medium", "walker2d-medium", "halfcheetah-medium"
LOW, HIGH = [10, 11, 12, 13, 14], [30, 31, 32, 33, 34]
A = {
    (HOPPER, "real", "td3bc"): LOW,
    (HOPPER, "dawm", "td3bc"): LOW,
    (HOPPER, "dawm", "iql"): HIGH,
    (WALKER, "real", "td3bc"): [20, 20, 20, 20, 25],
    (WALKER, "dawm", "td3bc"): LOW,
    (WALKER, "synther", "td3bc"): [1, 2],
    (CHEETAH, "real", "bc"): LOW,
}
B = {
    (HOPPER, "real", "td3bc"): LOW,
    (HOPPER, "dawm", "td3bc"): HIGH,
    (HOPPER, "dawm", "iql"): LOW,
    (WALKER, "real", "td3bc"): [19, 21, 20, 22, 24],
    (WALKER, "dawm", "td3bc"): HIGH,
    (WALKER, "synther", "td3bc"): [30, 40],
    (WALKER, "dwm", "iql"): HIGH,
}


def write(scores: dict, params: dict, shift: float = 1000, generators: int = 5):
    """Writes results of two episodes a seed, half a point around its score; returns are scores plus `shift`."""
    lines = [
        f"{','.join(names)},{seed},{'' if names[1] == 'real' else seed % generators},{k},{value + shift},{value}"
        for names, values in scores.items()
        for seed, mean in enumerate(values)
        for k, value in enumerate((mean - 0.5, mean + 0.5))
    ]
    with open("params.yaml", "w") as file:
        yaml.safe_dump(params, file, sort_keys=False)
    with open("results/scores.csv", "w") as file:
        file.write("\n".join([HEAD, *lines]) + "\n")


def git(*command: str) -> str:
    author = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *author, *command], check=True, capture_output=True, text=True).stdout.strip()


def commit(scores: dict, params: dict, **options) -> str:
    """Commits those results; returns the commit."""
    write(scores, params, **options)
    git("add", "-A")
    git("commit", "-qm", "results")
    return git("rev-parse", "HEAD")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A repository whose only commit has no results; git does not search the folders above it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "results").mkdir()
    git("init", "-q")
    git("commit", "-qm", "nothing", "--allow-empty")
    return tmp_path


@pytest.fixture
def runs(empty):
    """A repository: A as tag `first`, experiment `feral-guan` with horizon 7, B as last commit and as workspace."""
    commit(A, PARAMS)
    git("tag", "first")
    git("checkout", "-q", "--detach")
    git("update-ref", "refs/exps/ab/cdef0123/feral-guan", commit(A, {**PARAMS, "horizon": 7}))
    git("checkout", "-q", "-")
    commit(B, {**PARAMS, "idm": {"hidden": [64], "head": "mean"}})
    return empty


def rows(text: str) -> dict[str, list[str]]:
    """`data set | method | algorithm` → the other cells of the row."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {" | ".join(line[:3]): line[3:] for line in lines[1:]}


def test_scores_and_verdicts_by_hand(runs):
    table = rows(markdown(read("first"), read("HEAD")))
    assert table[f"{HOPPER} | real data | TD3+BC"] == ["12.0 ± 1.6", "12.0 ± 1.6", "+0.0", "identical results"]
    a, b, gain, verdict = table[f"{HOPPER} | DAWM | TD3+BC"]
    assert (a, b, verdict) == ("12.0 ± 1.6", "32.0 ± 1.6", "more")
    assert gain.startswith("+20.0 [1")
    a, b, gain, verdict = table[f"{HOPPER} | DAWM | IQL"]
    assert (a, b, verdict) == ("32.0 ± 1.6", "12.0 ± 1.6", "less")
    assert gain.startswith("−20.0 [−2")
    a, b, gain, verdict = table[f"{WALKER} | real data | TD3+BC"]
    assert (a, b, verdict) == ("21.0 ± 2.2", "21.2 ± 1.9", "no difference shown")
    assert gain.startswith("+0.2 [−")
    assert table[f"{WALKER} | SynthER | TD3+BC"] == ["1.5 ± 0.7", "35.0 ± 7.1", "+33.5", "too few seeds"]


def test_the_interval_resamples_the_two_sides_independently(runs):
    sides = []
    for side, values in (("a", LOW), ("b", HIGH)):
        stratum = (side, HOPPER, "dawm")
        resamples = resample(stratum, 5, range(5), numpy_stream("bootstrap", "compare", *stratum), 500)
        sides.append(estimate(values, resamples, 0.9))
    gain = difference(sides[1], sides[0], 0.9)
    text = markdown(read("first"), read("HEAD"))
    assert rows(text)[f"{HOPPER} | DAWM | TD3+BC"][2] == f"+20.0 [{gain.low:.1f}, {gain.high:.1f}]"
    assert (
        "90% interval of the difference, expanded bootstrap percentiles, 500 resamples; A and B resampled indep" in text
    )


def test_confidence_is_that_of_b(runs):
    strict = read(commit(B, {**PARAMS, "report": {"resamples": 500, "confidence": 0.99}}))
    narrow, wide = (compare.compared(read("first"), run)[1].gain for run in (read("HEAD~"), strict))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert "99% interval of the difference" in markdown(read("first"), strict)


def test_algorithms_share_the_resamples_of_a_data_set_and_method(runs):
    first, second = compare.compared(read("first"), read("HEAD"))[1:3]
    assert first.names[1:] == ("dawm", "td3bc")
    assert second.names[1:] == ("dawm", "iql")
    for side in ("a", "b"):  # the two algorithms' seeds are 20 apart, A's one way and B's the other
        shares = [row.gain.parts["compare", side, HOPPER, "dawm"][0] for row in (first, second)]
        assert np.ptp(shares[0] - shares[1]) == pytest.approx(0, abs=1e-9)
        assert np.ptp(shares[0]) > 1


def test_averages_are_over_the_data_sets_that_both_have(runs):
    table = rows(markdown(read("first"), read("HEAD")))
    averages = {name: cells for name, cells in table.items() if name.startswith("average")}
    assert list(averages) == ["average of 2 | real data | TD3+BC", "average of 2 | DAWM | TD3+BC"]
    assert list(table)[-2:] == list(averages)
    real, dawm = averages.values()
    assert (real[0], real[1], real[3]) == ("16.5 ± 1.8", "16.6 ± 1.7", "no difference shown")
    assert (dawm[0], dawm[1], dawm[3]) == ("12.0 ± 1.6", "32.0 ± 1.6", "more")


def test_identical_results_add_no_variance_to_an_average(runs):
    gains = {row.names: row.gain for row in compare.compared(read("first"), read("HEAD"))}
    alone, average = gains[WALKER, "real", "td3bc"], gains["average of 2", "real", "td3bc"]
    assert (average.low, average.high) == pytest.approx((alone.low / 2, alone.high / 2))
    same = compare.compared(read("first"), read("feral-guan"))
    assert {compare.verdict(row) for row in same} == {"identical results"}
    assert all(row.gain.mean == 0 and row.gain.low is None for row in same)


@pytest.mark.parametrize(
    ("source", "shift", "expected"), [("minari", 0, True), ("minari", 1, False), ("local", 0, False)]
)
def test_plain_returns_enter_no_average(runs, source, shift, expected):
    params = {**PARAMS, "source": source}
    text = markdown(read(commit(A, params, shift=shift)), read(commit(B, params, shift=shift)))
    assert ("average of 2" not in text) == expected
    assert (f"{HOPPER} and {WALKER}: plain returns" in text) == expected


def test_only_parameters_that_differ_are_listed(runs):
    text = markdown(read("feral-guan"), read("HEAD"))
    changed = [line for line in text.splitlines() if "→" in line]
    assert changed == ["- `horizon`: 7 → 5", "- `idm.hidden`: [256, 256] → [64]"]
    assert "Same parameters." not in text
    assert "Same parameters." in markdown(read("HEAD"), read("workspace"))


def test_parameters_of_one_run_are_absent_in_the_other():
    more = {"idm": {"head": None, "exceptions": {}}, "dwm": {"futures": 4}, "long": {f"key{k}": k for k in range(20)}}
    assert compare.changes({"idm": {"head": "mean", "exceptions": {"antmaze-*": 1}}}, more) == [
        "`idm.head`: mean → null",
        "`idm.exceptions.antmaze-*`: 1 → absent",
        "`dwm`: absent → {futures: 4}",
        "`long`: absent → {…}",
    ]


def test_cells_in_one_run_only_are_listed_and_not_compared(runs):
    text = markdown(read("first"), read("HEAD"))
    assert f"- only A: {CHEETAH} × real data × BC\n- only B: {WALKER} × DWM × IQL\n" in text
    assert text.count("- only") == 2
    assert not any(CHEETAH in name or "DWM" in name for name in rows(text))
    assert "only" not in markdown(read("first"), read("feral-guan"))


def test_runs_without_a_common_cell(runs):
    text = markdown(read(commit({(CHEETAH, "real", "bc"): LOW}, PARAMS)), read(commit(B, PARAMS)))
    assert "A and B have no cell in common." in text
    assert rows(text) == {}


def test_number_of_differences_expected_by_chance(runs):
    # with an interval: real data and DAWM on two data sets, less the identical results
    text = markdown(read("first"), read("HEAD"))
    assert "0 for 3 of 4 differences, averages not counted; by chance alone, about 0.4 would." in text
    assert "by chance" not in markdown(read("first"), read("feral-guan"))


def test_generators_are_the_units_if_there_are_several(runs):
    first, second = commit(A, PARAMS, generators=2), commit(B, PARAMS, generators=2)
    text = markdown(read(first), read(second))
    assert rows(text)[f"{HOPPER} | DAWM | TD3+BC"][2:] == ["+20.0", "too few seeds"]  # five seeds of two generators
    assert "- Too few seeds: Σ (n − 1) is below 4" in text
    assert "one generator" not in text
    first, second = commit(A, PARAMS, generators=1), commit(B, PARAMS, generators=1)
    text = markdown(read(first), read(second))
    assert rows(text)[f"{HOPPER} | DAWM | TD3+BC"][3] == "more"
    note = "DAWM and SynthER: all policies of a side learned from one generator, whose randomness no interval covers."
    assert note in text
    assert "one generator" not in markdown(read(first), read(first))


def test_revisions_are_found_and_nothing_is_checked_out(runs, monkeypatch, capsys):
    write({(HOPPER, "dawm", "td3bc"): [50] * 5}, PARAMS)
    before = git("status", "--porcelain"), git("rev-parse", "HEAD")
    monkeypatch.setattr(sys, "argv", ["compare", "feral-guan", "--out", "reports/compare.md"])
    main()
    printed = capsys.readouterr().out
    assert printed == (runs / "reports/compare.md").read_text(encoding="utf-8")
    assert printed.startswith(f"A: feral-guan ({commit_of('feral-guan')[:7]}). B: workspace.\n")
    assert list(rows(printed)) == [f"{HOPPER} | DAWM | TD3+BC"]
    assert rows(printed)[f"{HOPPER} | DAWM | TD3+BC"][:2] == ["12.0 ± 1.6", "50.0 ± 0.0"]
    (runs / "reports/compare.md").unlink()
    assert (git("status", "--porcelain"), git("rev-parse", "HEAD")) == before


def test_the_newest_of_several_experiments_with_one_name_is_used(runs, monkeypatch):
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2090-01-01T00:00:00Z")
    newest = commit(A, {**PARAMS, "horizon": 9})
    git("update-ref", "refs/exps/aa/aaaa/feral-guan", newest)  # its ref sorts before the other's
    git("update-ref", "refs/exps/exec/EXEC_HEAD", "first")
    assert commit_of("feral-guan") == newest
    with pytest.raises(SystemExit, match=r"^guan: neither a revision nor a DVC experiment$"):
        commit_of("guan")


def test_runs_on_different_sources_are_refused(runs):
    theirs = read(commit(B, {**PARAMS, "source": "d4rl"}))
    message = r"^the data come from different sources \(local, d4rl\): the scores are not comparable$"
    with pytest.raises(SystemExit, match=message):
        markdown(read("first"), theirs)


def test_errors_are_one_line(empty):
    with pytest.raises(SystemExit, match=r"^nope: neither a revision nor a DVC experiment$"):
        read("nope")
    for revision in ("HEAD", "workspace"):
        with pytest.raises(SystemExit, match=rf"^{revision} has no results/scores.csv; run: dvc repro$"):
            read(revision)
    write(A, PARAMS)
    (empty / "params.yaml").unlink()
    with pytest.raises(SystemExit, match=r"^workspace has no params.yaml$"):
        read("workspace")
    (empty / ".git").rename(empty / "hidden")
    with pytest.raises(SystemExit, match=r"^HEAD: not in a git repository$"):
        read("HEAD")


def test_changed_code_is_reported(runs):
    assert "code differs" not in markdown(read("HEAD"), read("workspace"))
    (runs / "stages").mkdir()
    (runs / "stages/one.py").write_text("x = 1\n")
    subprocess.run(["git", "add", "stages"], cwd=runs, check=True)
    assert "- The code differs as well: 1 file under stages." in markdown(read("HEAD"), read("workspace"))

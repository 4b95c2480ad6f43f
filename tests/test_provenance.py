"""Provenance of numbers: lineages in hand-written lock files, and the notes where a record is missing."""

from pathlib import Path

import pytest
import yaml

from stages.common.files import write_json
from stages.common.timing import digest, timing_path
from stages.report.page.provenance import NOT_RECORDED, anchor, lineage, locked, record

RESULT = "results/d/m-a.json"


def entry(outputs: dict[str, str], deps: dict[str, str], params: dict | None = None) -> dict:
    """A stage's entry in a lock file."""
    content = {"cmd": "x", "deps": [{"path": path, "md5": md5} for path, md5 in deps.items()]}
    content["outs"] = [{"path": path, "md5": md5} for path, md5 in outputs.items()]
    return {**content, **({"params": {"params.yaml": params}} if params else {})}


@pytest.fixture
def stages(tmp_path, monkeypatch):
    """The stages of a project whose cell depends on a baseline; only its evaluation has a timing record."""
    monkeypatch.chdir(tmp_path)
    Path(RESULT).parent.mkdir(parents=True)
    Path(RESULT).write_text("{}")
    top = {
        "check": entry({"data/checked": "c"}, {"params.yaml": "p"}),
        "evaluate@d-m-a": entry(
            {RESULT: digest(RESULT)}, {"models/d/m-a": "m", "stages/evaluate": "e.dir"}, {"seeds": 5}
        ),
        "data@d": entry({"data/d/real.npz": "r"}, {"data/checked": "c", "stages/data": "s.dir"}, {"source": "local"}),
        "policy@d-m-a": entry(
            {"models/d/m-a": "m"}, {"data/d/real.npz": "r", "data/d/m.npz": "n"}, {"td3bc": {"tau": 0.1}}
        ),
        "other@d": entry({"data/d/other.npz": "o"}, {"data/d/real.npz": "r"}),
    }
    Path("stages/baselines/m").mkdir(parents=True)
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": top}))
    below = {"m@d": entry({"data/d/m.npz": "n"}, {"data/d/real.npz": "r"})}
    Path("stages/baselines/m/dvc.lock").write_text(yaml.safe_dump({"stages": below}))
    timing = {"output": RESULT, "seconds": 12.3, "machine": "a desk", "revision": "abc", "packages": {"numpy": "2.4"}}
    write_json(timing_path(digest(RESULT)), timing)
    return locked()


def test_a_lineage_lists_every_stage_behind_a_file_once_in_execution_order(stages):
    names = [stage.name for stage in lineage(RESULT, stages)]
    assert names == ["data@d", "stages/baselines/m/dvc.yaml:m@d", "policy@d-m-a", "evaluate@d-m-a"]
    assert lineage("data/d/unknown.npz", stages) == []


def test_a_record_holds_stages_parameters_code_and_timings(stages):
    shown = record("d/m/a", "Title", RESULT, stages, ["Fact."])
    first, *_, policy, last = shown["stages"]
    assert shown["notes"] == ["Fact."]
    assert shown["command"] == "dvc repro evaluate@d-m-a"
    assert (last["revision"], last["seconds"], last["code"]) == ("abc", "12", [("stages/evaluate", "e.dir")])
    assert last["outputs"] == [(RESULT, digest(RESULT))]
    assert policy["parameters"] == [("td3bc.tau", "0.1")]
    assert (first["revision"], first["seconds"]) == (NOT_RECORDED, NOT_RECORDED)
    assert shown["ran_on"] == ["a desk · numpy 2.4"]


def test_a_file_that_the_lock_does_not_record_is_reported(stages):
    Path(RESULT).write_text('{"edited": true}')
    assert record("k", "t", RESULT, stages, [])["notes"] == [
        f"{RESULT} differs from the file in dvc.lock; dvc repro would make it again."
    ]
    Path(RESULT).unlink()
    assert "no longer exists" in record("k", "t", RESULT, stages, [])["notes"][0]
    (unknown,) = record("k", "t", "results/d/x.json", stages, [])["notes"]
    assert unknown == "No lock file lists results/d/x.json: DVC did not make it."
    assert record("k", "t", "results/d/x.json", stages, [])["ran_on"] == [NOT_RECORDED]


def test_an_anchor_replaces_special_characters():
    assert anchor("D4RL/pointmaze/umaze-v2/dawm") == "from-D4RL-pointmaze-umaze-v2-dawm"

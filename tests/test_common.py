"""The hall: files that appear whole, streams with names, progress in a log, the device."""

import json

import numpy as np
import pytest
import torch

from stages.common.files import atomic, write_json
from stages.common.params import BadParameters, check, load
from stages.common.progress import progress
from stages.common.rng import numpy_stream, seed_of, torch_stream
from stages.common.torch_setup import setup
from tests.conftest import ROOT


def interrupted(path):
    with atomic(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt


def test_a_file_that_was_not_finished_does_not_appear(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic(path) as temporary:
        temporary.write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_json_takes_arrays_and_refuses_what_json_has_not(tmp_path):
    write_json(tmp_path / "a.json", {"a": np.float32(1 / 3), "b": np.arange(2), "c": [True, None, 12345678]}, digits=3)
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 0.333, "b": [0, 1], "c": [True, None, 12345678]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_a_stream_is_its_name():
    assert numpy_stream("a", 1).random() == numpy_stream("a", 1).random()
    assert torch.equal(torch.rand(3, generator=torch_stream("a", 1)), torch.rand(3, generator=torch_stream("a", 1)))
    assert len({seed_of("a", 1), seed_of("a", 2), seed_of("a1"), seed_of("b", 1), seed_of(1, "a")}) == 5


def test_a_log_gets_plain_lines_and_everything_passes_through(capsys):
    assert list(progress(range(3), "work", every=0)) == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("work: 3/3 steps, ")


def test_cuda_is_not_silently_replaced():
    if torch.cuda.is_available():
        assert setup("cuda", 1).type == "cuda"
    else:
        with pytest.raises(SystemExit, match="device = 'cuda': no CUDA device here"):
            setup("cuda", 1)
    assert setup("cpu", 1) == torch.device("cpu")


def test_the_budget_fills_what_a_section_leaves_to_it_and_nothing_else(tmp_path, monkeypatch):
    content = (ROOT / "params.yaml").read_text().replace("  transitions: shared", "  transitions: 77", 1)
    (tmp_path / "params.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    seen = load("budget", "idm", "augment", "synther", "dwm")
    assert (seen.idm.steps, seen.idm.batch) == (seen.budget.steps, seen.budget.batch)
    assert seen.augment.transitions == 77
    assert (seen.synther.transitions, seen.synther.denoiser.steps) == (seen.budget.transitions, seen.budget.steps)
    part = load("budget", "synther.denoiser", "augment.margin", "augment.max_drop")
    assert part.synther.denoiser == seen.synther.denoiser
    assert vars(part.augment).keys() == {"margin", "max_drop"}
    assert load("idm").idm.steps == "shared"  # a stage that does not declare the budget cannot see it


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("horizon: 5 ", "horizon: 5.5 ", "horizon = 5.5: "),
        ("horizon: 5 ", "horison: 5 ", "horison = 5: Extra inputs are not permitted"),
        ("  alpha: 2.5", "  alpha: -1", "td3bc.alpha = -1: "),
        (
            "source: local ",
            "source: d4rl ",
            "'hopper-medium-replay' is not known; allowed with source d4rl",
        ),
        ("- dawm\n- synther\n", "- real\n", "methods = ['real', 'real']: names one thing twice"),
        ("seeds: 5 ", "seeds: [ ", "not YAML: "),
        (
            "  transitions: shared",
            "  transitions: 0.5",
            "augment.transitions = 0.5: should be a whole number above 0, or",
        ),
        ("  futures: 4 ", "  futures: 0 ", "dwm.futures = 0: "),  # a baseline's own record is checked, too
    ],
)
def test_bad_parameters_are_told_by_key_and_value(tmp_path, old, new, line):
    content = (ROOT / "params.yaml").read_text()
    assert old in content
    (tmp_path / "params.yaml").write_text(content.replace(old, new))
    with pytest.raises(BadParameters) as refused:
        check(tmp_path / "params.yaml")
    assert line in str(refused.value)
    assert all(row.startswith(f"{tmp_path}/params.yaml: ") for row in str(refused.value).splitlines())

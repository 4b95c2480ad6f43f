"""The benchmarks' part `gpu`: its tables, with a substitute for the graph, and its one line without CUDA."""

import sys
from argparse import Namespace

import pytest
import torch

from benchmarks import __main__ as benchmarks
from benchmarks import agreement, gpu, markdown, policies, world_model
from tests.conftest import ROOT

GIVEN = Namespace(algorithms=["td3bc", "mopo"], seeds=[1, 2], rounds=1, seconds=0.01, compile="auto")
GENERATORS = 5


@pytest.fixture
def params(params):
    """The tiny parameters, with a small U-Net and small batches."""
    unet = params.diffusion.unet.model_copy(update={"multipliers": [1, 2], "embedding": 8})
    diffusion = params.diffusion.model_copy(update={"unet": unet, "batch": 8})
    augment = params.augment.model_copy(update={"batch": 8})
    return params.model_copy(update={"diffusion": diffusion, "augment": augment})


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Benchmarks of small networks on few transitions, in which the compiler changes nothing."""
    for module, name, value in (
        (policies, "SIZE", {"hidden": [16], "batch": 16}),
        (policies, "TRANSITIONS", 3000),
        (world_model, "TRANSITIONS", 3000),
        (world_model, "UNET_WIDTH", 8),
        (agreement, "UPDATES", 20),
        (agreement, "SEEDS", 2),
        (torch, "compile", lambda function: function),
        (torch.compiler, "reset", lambda: None),
    ):
        monkeypatch.setattr(module, name, value)


def replayed(function):
    """The substitute for a graph: it runs nothing while it captures."""
    return lambda: function()


def forgotten(function):
    """A wrong graph, whose replay does nothing."""
    return lambda: None


def lines(capsys) -> list[list[str]]:
    """The cells of the printed rows, without the heads of tables."""
    printed = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    heads = (f"{agreement.UPDATES} updates of", "algorithm", "world model", "sampler")
    return [cells for cells in printed if cells[0] not in heads]


def test_captured_updates_agree_with_eager_ones(params, device, capsys):
    assert agreement.table(params, device, GIVEN, replayed) == GIVEN.algorithms
    rows = lines(capsys)
    assert [row[:2] for row in rows[:4]] == [
        [algorithm, way] for algorithm in GIVEN.algorithms for way in ("captured", "captured and compiled")
    ]
    assert len(rows) == 4 + 2 * GENERATORS
    assert {row[3] for row in rows} == {"yes"}
    assert max(float(row[2]) for row in rows) < 1e-6


def test_wrong_captured_updates_are_found(params, device, capsys):
    given = Namespace(algorithms=["bc", "iql"], compile="false")
    assert agreement.table(params, device, given, forgotten) == given.algorithms
    rows = lines(capsys)
    assert {row[1] for row in rows} == {"captured"}
    assert [row[3] for row in rows] == ["**no**"] * (2 + GENERATORS)


def test_an_error_is_a_row_and_the_next_training_begins(params, device, capsys, monkeypatch):
    def refused(function):
        raise RuntimeError("operation not permitted | when stream\nis capturing")

    monkeypatch.setattr(agreement, "trainings", lambda *_: {"bc": broken, "iql": lambda compile: weights})
    weights = {"weight": torch.ones(2)}

    def broken(compile):
        return weights if not compile else refused(None)

    assert agreement.table(params, device, Namespace(algorithms=["bc", "iql"], compile="auto")) == ["iql"]
    assert lines(capsys) == [
        ["bc", "captured", "0.0e+00", "yes"],
        ["bc", "captured and compiled", "RuntimeError: operation not permitted / when stream is capturing", "**no**"],
        ["iql", "captured", "0.0e+00", "yes"],
        ["iql", "captured and compiled", "0.0e+00", "yes"],
    ]


def test_the_difference_is_relative_to_each_tensor_and_shows_what_is_not_a_number():
    expected = {"large": torch.full((4,), 100.0), "small": torch.full((4,), 0.1), "zero": torch.zeros(2)}
    assert agreement.difference(expected, expected) == 0
    assert agreement.difference({**expected, "small": torch.full((4,), 0.11)}, expected) == pytest.approx(0.1, rel=1e-5)
    assert agreement.difference({**expected, "zero": torch.ones(2)}, expected) == float("inf")
    broken = agreement.difference({**expected, "large": torch.full((4,), float("nan"))}, expected)
    assert broken != broken


def test_the_table_of_policies_has_a_row_for_each_loop_and_names_who_is_missing(params, device, capsys):
    policies.table(params, device, GIVEN)
    printed = capsys.readouterr().out
    rows = [line.split(" | ")[:3] for line in printed.splitlines() if line.startswith("| td3bc")]
    assert rows == [["| td3bc", name, seeds] for name, seeds in (("plain", "1"), ("ours", "1"), ("ours", "2"))]
    assert printed.endswith("Without a plain loop, so not measured: mopo.\n")


def test_the_tables_of_the_world_model_have_a_row_for_each_loop_and_sampler(params, device, capsys, monkeypatch):
    monkeypatch.setattr(world_model, "synther_sampler", lambda *_: lambda count: None)  # its network is large
    world_model.table(params, device, GIVEN)
    rows = lines(capsys)
    assert [row[1] for row in rows[:8]] == ["plain", "ours"] * 4
    assert [row[0] for row in rows[8:]] == ["SynthER", "DAWM"]


def test_on_cuda_a_table_has_a_column_for_memory(capsys):
    markdown.head(torch.device("cuda"), "algorithm", "loop", "updates/s", texts=2)
    markdown.row("bc", "ours", "3.0", memory=1.234)
    expected = "| algorithm | loop | updates/s | peak GiB |\n|:--|:--|--:|--:|\n| bc | ours | 3.0 | 1.23 |\n"
    assert capsys.readouterr().out == expected


def test_without_cuda_one_line_takes_the_place_of_the_part_gpu(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(benchmarks, "setup", lambda device, threads: torch.device("cpu"))
    monkeypatch.setitem(benchmarks.PARTS, "policies", lambda *_: print("a table"))

    def printed(*parts: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["benchmarks", *parts])
        benchmarks.main()
        return capsys.readouterr().out.splitlines()

    assert gpu.NEEDS_CUDA.startswith("gpu: needs a CUDA device")
    assert printed("gpu") == [gpu.NEEDS_CUDA]
    assert printed("policies", "gpu")[1:] == ["", "a table", "", gpu.NEEDS_CUDA]

"""Shared code: atomic files, named random streams, progress in a log, the device, parameters, imports."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from stages.baselines.dwm.settings import Settings as Dwm
from stages.baselines.synther.settings import Denoiser
from stages.baselines.synther.settings import Settings as Synther
from stages.check.schema import Params
from stages.common.descent import descend
from stages.common.files import atomic, write_json
from stages.common.params import BadParameters, load, read, validate
from stages.common.progress import progress
from stages.common.rng import numpy_stream, seed_of
from stages.common.settings import Budget, Fraction, NonNegative, Positive, budget, root
from stages.common.torch_setup import setup, torch_stream
from stages.idm.settings import Idm
from stages.synthetic_data.settings import Augment
from tests.conftest import ROOT


def interrupted(path):
    with atomic(path) as temporary:
        temporary.write_text("ha")
        raise KeyboardInterrupt


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic(path) as temporary:
        temporary.write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        interrupted(path)
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_json_accepts_arrays_and_rejects_nan(tmp_path):
    write_json(tmp_path / "a.json", {"a": np.float32(1 / 3), "b": np.arange(2), "c": [True, None, 12345678]}, digits=3)
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 0.333, "b": [0, 1], "c": [True, None, 12345678]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


def test_a_random_stream_depends_on_its_name_alone():
    assert numpy_stream("a", 1).random() == numpy_stream("a", 1).random()
    assert torch.equal(torch.rand(3, generator=torch_stream("a", 1)), torch.rand(3, generator=torch_stream("a", 1)))
    assert len({seed_of("a", 1), seed_of("a", 2), seed_of("a1"), seed_of("b", 1), seed_of(1, "a")}) == 5


def test_progress_passes_items_through_and_prints_plain_lines_in_a_log(capsys):
    assert list(progress(range(3), "work", every=0)) == [0, 1, 2]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("work: 3/3 steps, ")


def test_setup_refuses_cuda_if_it_is_not_available():
    if torch.cuda.is_available():
        assert setup("cuda", 1).type == "cuda"
    else:
        with pytest.raises(SystemExit, match="device = 'cuda': no CUDA device here"):
            setup("cuda", 1)
    assert setup("cpu", 1) == torch.device("cpu")


def test_the_budget_replaces_shared_and_nothing_else(tmp_path, monkeypatch):
    content = (ROOT / "params.yaml").read_text().replace("  transitions: shared", "  transitions: 77", 1)
    (tmp_path / "params.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    whole = {"budget": Budget}
    params = load(whole | {"idm": Idm, "augment": Augment, "synther": Synther, "dwm": Dwm})
    assert (params.idm.steps, params.idm.batch) == (params.budget.steps, params.budget.batch)
    assert params.augment.transitions == 77
    steps = params.synther.denoiser.steps
    assert (params.synther.transitions, steps) == (params.budget.transitions, params.budget.steps)
    parts = {"synther.denoiser": Denoiser, "augment.margin": NonNegative, "augment.max_drop": Fraction}
    part = load(whole | parts)
    assert part.synther.denoiser == params.synther.denoiser
    assert dict(part.augment).keys() == {"margin", "max_drop"}
    assert load(budget("steps", "batch") | {"idm": Idm}).idm == params.idm
    assert load({"idm": Idm}).idm.steps == "shared"  # without `budget` among the keys, nothing is replaced


def test_load_returns_only_the_declared_keys(monkeypatch):
    monkeypatch.chdir(ROOT)
    params = load(root("horizon") | {"policy.snapshot_every": Positive})
    assert dict(params).keys() == {"horizon", "policy"}
    assert dict(params.policy).keys() == {"snapshot_every"}


TORCH_FREE = ("check", "data", "baselines.copy", "baselines.shuffled", "baselines.oracle")
TORCH_FREE += ("report.collect", "report.cards", "report.tables", "report.page")


def test_stages_without_torch_import_no_slow_library():
    """torch and seaborn each take over a second to import, scipy.stats and scipy.signal nearly as long."""
    modules = [f"stages.{name}" for name in TORCH_FREE]
    modules = [f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name for name in modules]
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "numpy" in loaded.split()
    assert not {"torch", "seaborn", "scipy.stats", "scipy.signal", "matplotlib.pyplot"} & set(loaded.split())


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("horizon: 5 ", "horizon: 5.5 ", "horizon = 5.5: "),
        ("horizon: 5 ", "horison: 5 ", "horison = 5: Extra inputs are not permitted"),
        ("  alpha: 2.5", "  alpha: -1", "td3bc.alpha = -1: "),
        (
            "source: local ",
            "source: d4rl ",
            "'halfcheetah-medium-replay' is not known; allowed with source d4rl",
        ),
        ("- dawm\n- corrected\n", "- real\n", "methods = ['real', 'real']: contains a name twice"),
        ("seeds: 5 ", "seeds: [ ", "not valid YAML: "),
        (
            "  transitions: shared",
            "  transitions: 0.5",
            "augment.transitions = 0.5: should be a whole number above 0, or",
        ),
        ("  futures: 4 ", "  futures: 0 ", "dwm.futures = 0: "),  # the section of a baseline that is not in the grid
    ],
)
def test_bad_parameters_are_reported_by_key_and_value(tmp_path, old, new, line):
    content = (ROOT / "params.yaml").read_text()
    assert old in content
    (tmp_path / "params.yaml").write_text(content.replace(old, new))
    with pytest.raises(BadParameters) as refused:
        validate(Params, read(tmp_path / "params.yaml"), tmp_path / "params.yaml")
    assert line in str(refused.value)
    assert all(row.startswith(f"{tmp_path}/params.yaml: ") for row in str(refused.value).splitlines())


def test_a_step_does_not_depend_on_how_a_gradient_lies_in_memory():
    """A compiled loss may return gradients with other strides than the weights."""

    class Transposed(torch.autograd.Function):
        @staticmethod
        def forward(context, weight):
            return weight.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient.mT.contiguous().mT

    def stepped(through):
        weight = torch.linspace(-1, 1, 24).view(2, 3, 4).requires_grad_()
        optimizer = torch.optim.Adam([weight], lr=0.1, fused=True)
        for _ in range(2):
            descend(optimizer, (through(weight) * torch.arange(24.0).view(2, 3, 4).sin()).square().sum())
        return weight.detach()

    assert torch.equal(stepped(Transposed.apply), stepped(torch.clone))


@pytest.mark.slow
def test_the_first_tanh_of_a_process_has_the_bytes_of_the_second():
    """Without the call in `setup`, about one process in six differs, so nine in ten runs of this test find it."""
    code = (
        "import torch; from stages.common.torch_setup import setup; setup('cpu', 2);"
        "x = torch.randn(30720, generator=torch.Generator().manual_seed(0));"
        "raise SystemExit(not torch.equal(x.tanh(), x.tanh()))"
    )
    processes = [subprocess.run([sys.executable, "-c", code], cwd=ROOT) for _ in range(12)]
    assert [process.returncode for process in processes] == [0] * 12

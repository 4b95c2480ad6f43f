"""What tests share: the project's parameters made tiny, and small data sets with known answers."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from stages.check.algorithms import resolve
from stages.check.schema import Params
from stages.common.transitions import Transitions
from stages.data.local import collect
from stages.diffusion import training
from stages.diffusion.training import Training
from stages.report.page.__main__ import main as page_main
from stages.report.tables.__main__ import main as tables_main

ROOT = Path(__file__).parents[1]

IMAGINING = {
    "hidden": [16, 16],
    "model_hidden": [16, 16],
    "members": 3,
    "elites": 2,
    "rollouts": 50,
    "rollout_every": 10,
}
TINY = {
    "threads": 1,
    "seeds": 2,
    "horizon": 3,
    "datasets": ["hopper-medium-replay"],
    "methods": ["real", "dawm"],
    "algorithms": ["td3bc", "iql", "bc"],
    "local": {"transitions": 2000},
    "diffusion": {"mlp": {"width": 32, "blocks": 1}, "steps": 200, "batch": 64},
    "sampler": {"steps": 2},
    "idm": {"hidden": [32], "steps": 60, "batch": 64},
    "budget": {"steps": 60, "batch": 64, "transitions": 500},
    "synther": {"denoiser": {"width": 32, "blocks": 1}, "sampler": {"steps": 4}, "sample_batch": 200},
    "onestep": {"dynamics": {"members": 3, "elites": 2, "hidden": [32, 32]}},
    "reverse": {"dynamics": {"members": 3, "elites": 2, "hidden": [32, 32]}},
    "corrected": {"dynamics": {"hidden": [32, 32]}},
    "augment": {"transitions": 500, "batch": 64, "margin": 10.0, "max_drop": 1.0},
    "policy": {"hidden": [16, 16], "steps": 40, "snapshot_every": 20, "batch": 32},
    "rebrac": {"hidden": [16, 16], "batch": 32},
    "fql": {"hidden": [16, 16]},
    "rsp": {"hidden": [16, 16], "batch": 32},
    "sorl": {"hidden": [16, 16]},
    "saq": {"hidden": [16, 16], "codes": 8},
    "gtp": {"hidden": [16, 16]},
    "dd": {"hidden": [16, 16], "width": 16, "blocks": 1, "horizon": 3},
    "diffuser": {"hidden": [16, 16], "width": 16, "blocks": 1, "horizon": 3},
    "mpdiffuser": {"hidden": [16, 16], "width": 16, "blocks": 1, "horizon": 3},
    "mopo": IMAGINING,
    "mobile": IMAGINING,
    "evaluate": {"episodes": 2, "curve_episodes": 1},
    "fidelity": {"transitions": 300, "neighbours": 5, "starts": 50},
    "report": {"resamples": 200},
}


def overlaid(base: dict, changes: dict) -> dict:
    return {
        **base,
        **{
            key: overlaid(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
            for key, value in changes.items()
        },
    }


# a file is one process's, so these begin first
LONGEST = ["cluster_grid", "experiments", "cluster", "pipeline", "captured", "policy", "grids", "page", "generative"]


def pytest_collection_modifyitems(items):
    place = {f"test_{name}.py": k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def settings_for(policy, section, dataset: str) -> SimpleNamespace:
    """An algorithm's settings on a data set, as its policies are trained with."""
    return SimpleNamespace(**resolve(policy, section, dataset))


def report():
    """The last two stages: tables with figures, and the page."""
    for main in (tables_main, page_main):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["report"])
            main()


def killed_and_resumed(train, updates: tuple[int, ...], monkeypatch):
    """What `train()` returns after it was killed before each of those updates in turn, and the ranges of updates that
    each training had ahead.
    """

    class Killed(Exception):
        pass

    original, ahead = Training.__call__, []
    monkeypatch.setattr(training, "progress", lambda steps, what: ahead.append(steps) or steps)
    for update in updates:

        def until_killed(self, update=update):
            if self.done == update:
                raise Killed
            original(self)

        with monkeypatch.context() as patch:
            patch.setattr(Training, "__call__", until_killed)
            with pytest.raises(Killed):
                train()
    return train(), ahead


SHORT = 10


@pytest.fixture
def short_chunks(monkeypatch):
    """A policy's training draws the random numbers of `SHORT` updates together, so few updates reach a second chunk."""
    for module in ("updates", "trainer"):
        monkeypatch.setattr(f"stages.policy.{module}.CHUNK", SHORT)


@pytest.fixture(scope="session")
def tiny_params() -> dict:
    """The default params.yaml, shrunk until a whole run takes seconds."""
    return overlaid(yaml.safe_load((ROOT / "params.yaml").read_text()), TINY)


@pytest.fixture(scope="session")
def params(tiny_params) -> Params:
    return Params.model_validate(tiny_params)


@pytest.fixture
def device() -> torch.device:
    return torch.device("cpu")


@pytest.fixture(scope="session")
def episodes() -> Transitions:
    """40 episodes of 3 to 12 steps in a linear system: s' = s + 0.1 B a, r = s₀; every other one ends in a terminal."""
    rng = np.random.default_rng(0)
    b = np.array([[1.0, 0.5], [0.0, 1.0], [-1.0, 0.3]], dtype=np.float32)
    rows = []
    for episode in range(40):
        state, length = rng.standard_normal(3).astype(np.float32), int(rng.integers(3, 13))
        for k in range(length):
            action = rng.uniform(-1, 1, 2).astype(np.float32)
            following = state + 0.1 * b @ action
            last, terminal = k == length - 1, k == length - 1 and episode % 2 == 0
            rows.append((state, action, state[0], following, 0.0 if terminal else 0.99, episode, last and not terminal))
            state = following
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    types = [np.float32] * 5 + [np.int32, bool]
    return Transitions(*(column.astype(kind) for column, kind in zip(columns, types, strict=True)))


@pytest.fixture(scope="session")
def synthetic(episodes):
    """Rows of two generators, recognisable by their rewards 100 and 200; real rewards are below 50."""
    n = 30
    rows = {
        name: getattr(episodes, name)[: 2 * n] for name in ("observations", "actions", "next_observations", "discounts")
    }
    generator = np.repeat(np.arange(2, dtype=np.int8), [n - 10, n + 10])
    return Transitions(
        **rows, rewards=100 * (1 + generator).astype(np.float32), generator=generator, real_fraction=np.float32(0.25)
    )


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def collected_hopper() -> Transitions:
    """A thousand real transitions, from the simulator."""
    return collect("hopper-medium-replay", 1000, 0.99, 1)

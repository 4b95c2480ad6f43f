"""The data card: its numbers computed by hand, D4RL's for comparison, and how close a tier is to its target."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from stages.common.files import write_json
from stages.data.__main__ import summary
from stages.report.cards.__main__ import main
from stages.report.cards.card import aim, card, d4rl_observations, markdown, trainings
from stages.tasks.tasks import TIERS, gym_mujoco
from tests.conftest import ROOT

DATASET = "hopper-medium-replay"


@pytest.fixture
def here(collected_hopper, tmp_path, monkeypatch):
    """A folder with the outputs of the data stage for a local and for a Minari data set."""
    monkeypatch.chdir(tmp_path)
    task = gym_mujoco("hopper")
    for dataset, source, known in [(DATASET, "local", task), ("test/h-v0", "minari", replace(task, reference=None))]:
        collected_hopper.save(f"data/{dataset}/real.npz")
        known.save(dataset)
        facts = {"as_recorded": None} if source == "local" else {}
        write_json(f"results/{dataset}/data.json", {**summary(collected_hopper, known, source), **facts})
    return tmp_path


def test_the_card_shows_the_numbers_computed_by_hand(here, collected_hopper):
    text = markdown(card(DATASET, "local"))
    lengths = np.unique(collected_hopper.episode, return_counts=True)[1]
    returns = [collected_hopper.rewards[collected_hopper.episode == k].sum() for k in range(len(lengths))]
    ended = (collected_hopper.discounts == 0).sum()
    assert f"| episodes | {len(lengths):,}, of which {ended:,} ended by themselves |" in text
    assert " · ".join(f"{value:,.0f}" for value in np.percentile(lengths, (0, 25, 50, 75, 100))) in text
    assert " · ".join(f"{value:,.0f}" for value in np.percentile(returns, (0, 25, 50, 75, 100))) in text
    mean, std = collected_hopper.observations.mean(0), collected_hopper.observations.std(0)
    assert f"| 0 | {mean[0]:.3f} | 1.231 | {std[0]:.3f} | 0.176 |" in text  # D4RL's 1.2305 and 0.1757
    assert text.count("\n| ") == (1 + 13) + (1 + 11)  # two tables with their heads
    assert "20 SAC snapshots, run0, at step 10,000 to 210,000" in text


@pytest.mark.parametrize(
    ("state", "text"), [(True, "as recorded in stages"), (False, "**not as recorded** in stages"), (None, "none is")]
)
def test_the_card_says_whether_the_data_are_those_of_other_machines(here, state, text):
    content = card(DATASET, "local")
    assert f"| md5 | {text}" in markdown(replace(content, facts={**content.facts, "as_recorded": state}))


def test_a_card_without_d4rl_s_numbers_or_references(here):
    content = card("test/h-v0", "minari")
    text = markdown(content)
    assert (content.theirs, content.trainings, aim(content)) == (None, {}, None)
    assert "| normalised score | – |" in text
    assert "![test/h-v0](h-v0.png)" in text
    assert "D4RL" not in text


@pytest.mark.parametrize(
    ("dataset", "facts", "text"),
    [
        ("hopper-medium", {"return_mean": 1500.0}, "1,422; this one is +5.5% from it, within the 15% aimed at"),
        ("walker2d-medium", {"return_mean": 2000.0}, "2,852; this one is -29.9% from it, beyond the 15% aimed at"),
        ("halfcheetah-expert", {"return_mean": 1.0, "score_mean": 85.0}, "at least 85: reached"),
        ("hopper-expert", {"return_mean": 1.0, "score_mean": 97.5}, "at least 100: missed by 2.5"),
    ],
)
def test_the_distance_of_a_tier_from_its_target(here, dataset, facts, text):
    assert text in aim(replace(card(DATASET, "local"), dataset=dataset, facts={"source": "local", **facts}))


def test_d4rl_s_observations_are_known_with_and_without_a_version():
    for task, size in (("hopper", 11), ("walker2d", 17), ("halfcheetah", 17)):
        mean, std = d4rl_observations(f"{task}-medium")
        assert len(mean) == len(std) == size
        np.testing.assert_array_equal(mean, d4rl_observations(f"{task}-medium-v2")[0])
    assert d4rl_observations("hopper-random") is None


@pytest.mark.parametrize("tier", TIERS)
def test_every_local_data_set_s_training_is_known(tier):
    for task in ("hopper", "walker2d", "halfcheetah"):
        runs = trainings(f"{task}-{tier}")
        assert bool(runs) == (tier != "random")
        for run in runs.values():
            assert set(run.snapshots) <= set(run.curve["step"])
            assert run.curve["step"].is_monotonic_increasing


@pytest.mark.slow
def test_a_card_written_twice_has_the_same_bytes(here, monkeypatch):
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    written = []
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["card", "--dataset", DATASET])
        main()
        written.append([(here / f"reports/data/{DATASET}.{kind}").read_bytes() for kind in ("md", "png")])
    assert written[0] == written[1]
    assert written[0][1].startswith(b"\x89PNG")
    params = yaml.safe_load(Path("params.yaml").read_text())
    Path("params.yaml").write_text(yaml.safe_dump({**params, "source": "minari", "datasets": ["test/h-v0"]}))
    monkeypatch.setattr("sys.argv", ["card", "--dataset", "test/h-v0"])
    main()
    assert (here / "reports/data/test/h-v0.png").exists()

"""DWM's value expansion: sums of several steps by hand, the λ-return by its recursion, and expansion in a world whose
every future is known.
"""

import json
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import yaml

from stages.augment.joined import joined
from stages.baselines.dwm import __main__ as stage
from stages.baselines.dwm.__main__ import expand
from stages.baselines.dwm.value_expansion import lengths, n_step
from stages.common.algorithm_settings import settings_for
from stages.common.cost import digest, made, parameters
from stages.common.tasks import Task
from stages.common.transitions import Transitions
from stages.diffusion import world_model
from stages.diffusion.samplers import evaluations
from stages.diffusion.world_model import Imagined, WorldModel
from stages.policy.trainer import begin, of_lambda

GAMMA = 0.9


def expanded(rewards, states, ended, steps, believable=None):
    """`n_step` of windows of one dimension, given as lists."""
    believable = np.ones_like(rewards, dtype=bool) if believable is None else np.array(believable)
    arrays = np.array(states, dtype=np.float32)[..., None], np.array(rewards, dtype=np.float32), np.array(ended)
    sums, following, discounts, sound = n_step(*arrays, np.array(steps), GAMMA, believable)
    return sums, following[:, 0], discounts, sound


def test_a_transition_of_n_steps_has_their_discounted_rewards_and_the_state_reached():
    window = [1, 2, 4], [10, 20, 30], [False, False, False]
    found = expanded(*([part] * 3 for part in window), steps=[1, 2, 3])
    np.testing.assert_allclose(found[0], [1, 1 + 0.9 * 2, 1 + 0.9 * 2 + 0.81 * 4], rtol=1e-6)
    assert found[1].tolist() == [10, 20, 30]
    np.testing.assert_allclose(found[2], [0.9, 0.81, 0.729], rtol=1e-6)
    assert found[3].all()
    assert {part.dtype for part in found[:3]} == {np.dtype(np.float32)}


def test_a_task_that_ends_sooner_is_summed_up_to_its_end_and_has_no_discount():
    """The end within, at and beyond the n steps; of two ends, the first."""
    ends = [[True, False, False], [False, True, False], [False, False, True], [False, True, True]]
    rewards, states = [[1, 2, 4]] * 4, [[10, 20, 30]] * 4
    sums, following, discounts, _ = expanded(rewards, states, ends, steps=[3, 2, 2, 3])
    np.testing.assert_allclose(sums, [1, 2.8, 2.8, 2.8], rtol=1e-6)
    assert following.tolist() == [10, 20, 20, 20]
    np.testing.assert_allclose(discounts, [0, 0, 0.81, 0], rtol=1e-6)


def test_what_is_not_believable_matters_only_within_the_steps_taken():
    nan, doubt = float("nan"), [[True, True, False], [True, False, True], [False, True, True], [True, True, False]]
    ends = [[False, False, False]] * 3 + [[False, True, False]]
    rewards, states = [[1, 2, nan], [1, nan, 4], [nan, 2, 4], [1, 2, nan]], [[10, 20, nan], *[[10, 20, 30]] * 3]
    for n, expected in [(1, [True, True, False, True]), (2, [True, False, False, True]), (3, [False] * 3 + [True])]:
        sums, following, _, sound = expanded(rewards, states, ends, [n] * 4, doubt)
        assert sound.tolist() == expected
        assert np.isfinite(sums[sound]).all()
        assert np.isfinite(following[sound]).all()


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.95, 1.0])
def test_numbers_of_steps_are_as_frequent_as_the_lambda_return_weights_them(weight):
    count, horizon = 200_000, 5
    drawn = lengths(count, horizon, weight, np.random.default_rng(0))
    expected = np.array([(1 - weight) * weight**n for n in range(horizon - 1)] + [weight ** (horizon - 1)])
    found = np.bincount(drawn, minlength=horizon + 1)
    assert found[0] == 0
    assert len(found) == horizon + 1
    error = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(found[1:] / count - expected) <= 4 * error).all()


def value(states):
    return 3 * np.sin(states) + 5


@pytest.mark.parametrize("end", [None, 0, 1, 3])
@pytest.mark.parametrize("weight", [0.0, 0.5, 0.95, 1.0])
def test_the_mean_target_is_the_lambda_return(weight, end):
    """By its recursion (Sutton and Barto 2018, eq. 12.18): G = r + γ ((1 - λ) V(s') + λ G'), and V after the last."""
    rng = np.random.default_rng(1)
    rewards, states, ended = rng.standard_normal(4), rng.uniform(0, 10, 4), np.arange(4) == (-1 if end is None else end)
    following = value(states[-1])
    for reward, state, over in list(zip(rewards, states, ended, strict=True))[::-1]:
        ahead = (1 - weight) * value(state) + weight * following
        following = reward + GAMMA * ahead * (not over)
    count = 100_000
    steps = lengths(count, 4, weight, np.random.default_rng(2))
    sums, reached, discounts, _ = expanded(*(np.tile(part, (count, 1)) for part in (rewards, states, ended)), steps)
    targets = sums + discounts * value(reached)
    assert targets.mean() == pytest.approx(following, abs=4 * targets.std() / np.sqrt(count) + 1e-5)


DRIFT = np.array([0.3, -0.1, 0.2], dtype=np.float32)


class Drift:
    """A world that moves by the same step whatever is done: s' = s + DRIFT, r = s₀."""

    def __init__(self, horizon: int, terminals=None):
        self.horizon, self.terminals, self.asked, self.started = horizon, terminals, [], []

    def imagine(self, states, actions, returns, sampler, stream):
        self.asked += returns.tolist()
        self.started.append(torch.cat([states, actions], dim=1).numpy())
        moved = states[:, None] + torch.arange(self.horizon + 1)[:, None] * torch.from_numpy(DRIFT)
        ended = self.terminals and self.terminals(moved[:, 1:])
        return Imagined(moved[:, :-1, 0], moved[:, 1:], ended, None)


@dataclass(frozen=True)
class Rule:
    """A task with that rule for terminals."""

    healthy: object = None
    return_scale: float = 10.0


def with_dwm(params, futures=3, lambda_returns=(1.0, 0.95, 0.0), **augment):
    dwm = params.dwm.model_copy(update={"futures": futures, "lambda_returns": list(lambda_returns)})
    return params.model_copy(update={"dwm": dwm, "augment": params.augment.model_copy(update=augment)})


def below(line):
    return lambda states: states[..., 0] < line


def grown(data, params, task=None, model=None, generator=0):
    return expand(data, "hopper", task or Rule(), generator, model or Drift(4), params, torch.device("cpu"))


def taken(part: dict) -> np.ndarray:
    """The number of steps of each row, from how far it came."""
    steps = (part["next_observations"] - part["observations"]) / DRIFT
    np.testing.assert_allclose(steps, np.broadcast_to(steps.round()[:, :1], steps.shape), atol=1e-3)
    return steps[:, 0].round().astype(int)


def of(part: dict, weight: float) -> dict:
    return {name: column[part["lambda_return"] == np.float32(weight)] for name, column in part.items()}


def closed_form(states, steps):
    """Σ γʰ (s₀ + h DRIFT₀) over the steps, by the sums of a geometric and an arithmetic-geometric series."""
    g, n = GAMMA, steps
    geometric = (1 - g**n) / (1 - g)
    return states[:, 0] * geometric + DRIFT[0] * (g * (1 - n * g ** (n - 1) + (n - 1) * g**n) / (1 - g) ** 2)


def test_every_real_state_and_action_starts_as_many_futures_for_each_lambda(params, episodes):
    config, model = with_dwm(params), Drift(4)
    found, counts = grown(episodes, config, model=model)
    n = len(episodes)
    assert counts == {"windows": 3 * n, "kept": 9 * n, "dropped": 0}
    assert len(model.started) > 2  # in batches
    np.testing.assert_array_equal(
        np.concatenate(model.started), np.tile(np.c_[episodes.observations, episodes.actions], (3, 1))
    )
    for weight in config.dwm.lambda_returns:
        own = of(found, weight)
        seen = Counter(map(bytes, np.c_[own["observations"], own["actions"]]))
        assert seen == Counter({bytes(row): 3 for row in np.c_[episodes.observations, episodes.actions]})
    assert set(model.asked) == {params.target_return}


def test_targets_are_the_closed_form_of_the_steps_taken(params, episodes):
    config = with_dwm(params.model_copy(update={"discount": GAMMA}))
    found, _ = grown(episodes, config)
    for weight, means in [(1.0, 4), (0.95, (1 - 0.95**4) / 0.05), (0.0, 1)]:  # of the number of steps
        own = of(found, weight)
        steps = taken(own)
        assert steps.mean() == pytest.approx(means, abs=0.15)
        np.testing.assert_allclose(own["rewards"], closed_form(own["observations"], steps), atol=1e-4)
        np.testing.assert_allclose(own["discounts"], GAMMA**steps, rtol=1e-6)
        np.testing.assert_allclose(own["next_observations"], own["observations"] + steps[:, None] * DRIFT, atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_a_future_ends_where_the_task_s_rule_says_or_where_that_is_not_known_the_model(params, episodes, known):
    config, line = with_dwm(params.model_copy(update={"discount": GAMMA})), 0.5
    task = Rule(below(line)) if known else Rule()
    model = Drift(4, lambda states: states[..., 0] >= (99 if known else line))
    found, counts = grown(episodes, config, task, model)
    assert counts["kept"] == 9 * len(episodes)
    first = np.ceil((line - found["observations"][:, 0]) / DRIFT[0]).clip(1)  # steps to the line
    steps = taken(found)
    np.testing.assert_array_equal(found["discounts"] == 0, steps == first)
    assert (steps <= first).all()
    assert (found["discounts"] == 0).any()
    assert (found["discounts"] > 0).any()
    np.testing.assert_allclose(found["rewards"], closed_form(found["observations"], steps), atol=1e-4)
    longest = of(found, 1.0)
    np.testing.assert_array_equal(taken(longest), np.minimum(4, first[found["lambda_return"] == 1]))


def test_without_a_rule_or_a_channel_no_future_ends(params, episodes):
    assert (grown(episodes, with_dwm(params))[0]["discounts"] > 0).all()


def test_futures_that_leave_the_data_s_bounds_are_dropped_and_counted(params, episodes):
    config = with_dwm(params, futures=1, margin=0.0, max_drop=1.0)
    found, counts = grown(episodes, config)
    every = np.concatenate([episodes.observations, episodes.next_observations])
    low, high, n = every.min(0), every.max(0), len(episodes)
    paths = episodes.observations[:, None] + np.arange(5)[:, None] * DRIFT
    inside = ((paths[:, 1:] >= low) & (paths[:, 1:] <= high)).all(2) & (paths[:, :-1, 0] <= episodes.rewards.max())
    inside = np.logical_and.accumulate(inside, axis=1)
    assert 0 < inside[:, 0].sum() < n
    for weight, last in [(1.0, 3), (0.0, 0)]:
        np.testing.assert_array_equal(of(found, weight)["observations"], episodes.observations[inside[:, last]])
    some = len(of(found, 0.95)["rewards"])
    assert inside[:, 3].sum() <= some <= inside[:, 0].sum()
    assert counts == {"windows": n, "kept": len(found["rewards"]), "dropped": 3 * n - len(found["rewards"])}
    share = counts["dropped"] / (3 * n)
    grown(episodes, with_dwm(params, futures=1, margin=0.0, max_drop=share + 1e-6))
    told = rf"^dwm hopper 4: dropped [\d,]+ of {3 * n:,} transitions, outside the data's bounds"
    with pytest.raises(SystemExit, match=told):
        grown(episodes, with_dwm(params, futures=1, margin=0.0, max_drop=share - 0.01), generator=4)


def test_the_same_names_draw_the_same_numbers_of_steps_and_others_do_not(params, episodes):
    one, same = (grown(episodes, with_dwm(params))[0] for _ in range(2))
    other = grown(episodes, with_dwm(params), generator=1)[0]
    assert all(one[name].tobytes() == column.tobytes() for name, column in same.items())
    assert not np.array_equal(one["rewards"], other["rewards"])


@pytest.fixture
def several(params, episodes, tmp_path) -> Transitions:
    """Two generators' futures for λ of 1 and 0.95, as a file gives them back."""
    parts = [grown(episodes, with_dwm(params, 2, (1.0, 0.95)), generator=k)[0] for k in range(2)]
    joined(parts, 0.0, made([], 7, 12, {"kept": 0})).save(tmp_path / "dwm.npz")
    return Transitions.load(tmp_path / "dwm.npz")


@pytest.mark.parametrize("wanted", [0.95, 1.0])
def test_an_algorithm_learns_from_the_rows_of_its_own_lambda(several, episodes, wanted):
    own = of_lambda(several, wanted, ("hopper", "dwm", "iql"))
    assert len(own) == len(several) / 2 == 2 * 2 * len(episodes)
    assert set(own.lambda_return) == {np.float32(wanted)}
    np.testing.assert_array_equal(own.rewards, several.rewards[several.lambda_return == np.float32(wanted)])
    assert own.generator.tolist() == sorted(own.generator)
    assert set(own.generator) == {0, 1}
    assert own.real_fraction == 0
    assert json.loads(str(own.made)) == json.loads(str(several.made))


def test_sets_without_lambda_returns_are_left_as_they_are(episodes):
    assert of_lambda(episodes, 0.5, ("hopper", "dawm", "iql")) is episodes


def test_a_lambda_that_was_not_made_ends_the_stage_naming_the_cell(several):
    told = r"^policy hopper dwm iql: lambda_return = 0.5, the method was made for 0.95, 1; see its section"
    with pytest.raises(SystemExit, match=told):
        of_lambda(several, 0.5, ("hopper", "dwm", "iql"))


@pytest.mark.parametrize(("algorithm", "weight"), [("td3bc", 1.0), ("iql", 0.95)])
def test_training_begins_with_the_rows_that_the_algorithm_s_settings_name(
    params, episodes, several, device, algorithm, weight
):
    settings = settings_for(params.policy, getattr(params, algorithm), "walker2d-medium")
    assert settings.lambda_return == weight
    updates = begin(episodes, several, ("walker2d-medium", "dwm", algorithm), settings, 2, device)
    rows = updates.batches.rows[len(episodes) :]
    np.testing.assert_array_equal(rows[:, 3 + 2], several.rewards[several.lambda_return == np.float32(weight)])
    batch = updates.batches(torch.rand(2, settings.batch, dtype=torch.float64))
    for learner in range(2):
        own = several.rewards[(several.lambda_return == np.float32(weight)) & (several.generator == learner)]
        assert set(batch.rewards[learner].tolist()) <= set(own.tolist())


def test_the_stage_writes_a_training_set_that_says_what_it_took(params, tiny_params, episodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["stage", "--dataset", "line"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({**tiny_params, "generators": 2}))
    episodes.save("data/line/real.npz")
    Task({"id": "PointMaze_UMaze-v3"}, 300, 10.0, None).save("line")
    models = []
    for k in range(2):
        torch.manual_seed(k)
        models.append(WorldModel(3, 2, 3, False, params.diffusion).eval())
        steps = np.c_[episodes.rewards, episodes.next_observations]
        models[-1].fit(torch.from_numpy(episodes.observations), torch.from_numpy(steps))
    world_model.save(models, "models/line/diffusion.safetensors")
    stage.main()
    found, futures, n = Transitions.load("data/line/dwm.npz"), params.dwm.futures, len(episodes)
    told, asked = json.loads(str(found.made)), 2 * futures * n
    assert told["trained"] == [digest("models/line/diffusion.safetensors")]
    assert told["source"] is None
    assert told["parameters"] == parameters(models[0].network)
    assert told["counts"] == {"windows": asked, "kept": len(found), "dropped": 2 * asked - len(found)}
    assert told["evaluations"] == pytest.approx(evaluations(params.sampler) * asked / (len(found) / 2), abs=1e-3)
    assert set(found.lambda_return) == {np.float32(1), np.float32(0.95)}
    assert found.real_fraction == params.dwm.real_fraction
    assert set(found.generator) == {0, 1}
    given = {bytes(row) for row in np.c_[episodes.observations, episodes.actions]}
    assert {bytes(row) for row in np.c_[found.observations, found.actions]} <= given

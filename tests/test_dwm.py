"""DWM's value expansion: n-step sums by hand, λ-returns by recursion, expansion in a world with known futures, and the
training set, which is written batch by batch.
"""

import json
import os
import subprocess
import sys
import weakref
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
import yaml

from stages.baselines.dwm import __main__ as stage
from stages.baselines.dwm.__main__ import write
from stages.baselines.dwm.value_expansion import lengths, n_step
from stages.common.timing import digest
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.policy.trainer import build_updates, select_lambda
from stages.synthetic_data import join
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.join import joined, streamed
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model.model import SampledWindows, WorldModel
from tests.conftest import settings_for

GAMMA = 0.9


def expanded(rewards, states, ended, steps, plausible=None):
    """`n_step` of windows with one-dimensional states, given as lists."""
    plausible = np.ones_like(rewards, dtype=bool) if plausible is None else np.array(plausible)
    arrays = np.array(states, dtype=np.float32)[..., None], np.array(rewards, dtype=np.float32), np.array(ended)
    columns, valid = n_step(*arrays, np.array(steps), GAMMA, plausible)
    return columns["rewards"], columns["next_observations"][:, 0], columns["discounts"], valid


def test_an_n_step_transition_has_the_discounted_sum_of_rewards_and_the_last_state():
    window = [1, 2, 4], [10, 20, 30], [False, False, False]
    sums, next_states, discounts, valid = expanded(*([part] * 3 for part in window), steps=[1, 2, 3])
    np.testing.assert_allclose(sums, [1, 1 + 0.9 * 2, 1 + 0.9 * 2 + 0.81 * 4], rtol=1e-6)
    assert next_states.tolist() == [10, 20, 30]
    np.testing.assert_allclose(discounts, [0.9, 0.81, 0.729], rtol=1e-6)
    assert valid.all()
    assert {part.dtype for part in (sums, next_states, discounts)} == {np.dtype(np.float32)}


def test_a_future_whose_task_ends_is_summed_up_to_the_end_and_has_discount_0():
    """Ends before, at and beyond step n; of two ends the first counts."""
    ends = [[True, False, False], [False, True, False], [False, False, True], [False, True, True]]
    rewards, states = [[1, 2, 4]] * 4, [[10, 20, 30]] * 4
    sums, next_states, discounts, _ = expanded(rewards, states, ends, steps=[3, 2, 2, 3])
    np.testing.assert_allclose(sums, [1, 2.8, 2.8, 2.8], rtol=1e-6)
    assert next_states.tolist() == [10, 20, 20, 20]
    np.testing.assert_allclose(discounts, [0, 0, 0.81, 0], rtol=1e-6)


def test_implausible_values_matter_only_within_the_steps_taken():
    nan = float("nan")
    plausible = [[True, True, False], [True, False, True], [False, True, True], [True, True, False]]
    ends = [[False, False, False]] * 3 + [[False, True, False]]
    rewards, states = [[1, 2, nan], [1, nan, 4], [nan, 2, 4], [1, 2, nan]], [[10, 20, nan], *[[10, 20, 30]] * 3]
    for n, expected in [(1, [True, True, False, True]), (2, [True, False, False, True]), (3, [False] * 3 + [True])]:
        sums, next_states, _, valid = expanded(rewards, states, ends, [n] * 4, plausible)
        assert valid.tolist() == expected
        assert np.isfinite(sums[valid]).all()
        assert np.isfinite(next_states[valid]).all()


@pytest.mark.parametrize("lambda_return", [0.0, 0.3, 0.95, 1.0])
def test_the_frequencies_of_n_are_the_weights_of_the_lambda_return(lambda_return):
    count, horizon = 200_000, 5
    drawn = lengths(count, horizon, lambda_return, np.random.default_rng(0))
    weights = [(1 - lambda_return) * lambda_return**n for n in range(horizon - 1)]
    expected = np.array([*weights, lambda_return ** (horizon - 1)])
    counts = np.bincount(drawn, minlength=horizon + 1)
    assert counts[0] == 0
    assert len(counts) == horizon + 1
    error = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(counts[1:] / count - expected) <= 4 * error).all()


def value(states):
    return 3 * np.sin(states) + 5


@pytest.mark.parametrize("end", [None, 0, 1, 3])
@pytest.mark.parametrize("lambda_return", [0.0, 0.5, 0.95, 1.0])
def test_the_mean_target_is_the_lambda_return(lambda_return, end):
    """G = r + γ ((1 - λ) V(s') + λ G') (Sutton and Barto 2018, eq. 12.18), with V after the last step."""
    rng = np.random.default_rng(1)
    rewards, states, ended = rng.standard_normal(4), rng.uniform(0, 10, 4), np.arange(4) == (-1 if end is None else end)
    expected = value(states[-1])
    for reward, state, over in list(zip(rewards, states, ended, strict=True))[::-1]:
        ahead = (1 - lambda_return) * value(state) + lambda_return * expected
        expected = reward + GAMMA * ahead * (not over)
    count = 100_000
    steps = lengths(count, 4, lambda_return, np.random.default_rng(2))
    sums, reached, discounts, _ = expanded(*(np.tile(part, (count, 1)) for part in (rewards, states, ended)), steps)
    targets = sums + discounts * value(reached)
    assert targets.mean() == pytest.approx(expected, abs=4 * targets.std() / np.sqrt(count) + 1e-5)


DRIFT = np.array([0.3, -0.1, 0.2], dtype=np.float32)


class Drift:
    """A world model without randomness that ignores actions: s' = s + DRIFT, r = s₀."""

    def __init__(self, horizon: int, terminals=None):
        self.horizon, self.terminals, self.targets, self.starts = horizon, terminals, [], []

    def sample(self, states, actions, returns, sampler, stream):
        self.targets += returns.tolist()
        self.starts.append(torch.cat([states, actions], dim=1).numpy())
        moved = states[:, None] + torch.arange(self.horizon + 1)[:, None] * torch.from_numpy(DRIFT)
        ended = self.terminals and self.terminals(moved[:, 1:])
        return SampledWindows(moved[:, :-1, 0], moved[:, 1:], ended, None)


@dataclass(frozen=True)
class Rule:
    """A task with the rule `healthy` for terminals."""

    healthy: object = None
    return_scale: float = 10.0


def with_dwm(params, futures=3, lambda_returns=(1.0, 0.95, 0.0), **augment):
    dwm = params.dwm.model_copy(update={"futures": futures, "lambda_returns": list(lambda_returns)})
    return params.model_copy(update={"dwm": dwm, "augment": params.augment.model_copy(update=augment)})


def below(line):
    return lambda states: states[..., 0] < line


class Parts:
    """Stands in for `Stream` and keeps the batches in memory."""

    def __init__(self):
        self.parts = []

    def add(self, columns, generator):
        self.parts.append(columns)


def expansion(data, params, task=None, model=None, generator=0):
    """All columns of one generator, and the counts of `write`."""
    output, device = Parts(), torch.device("cpu")
    counts = write(output, data, "hopper", task or Rule(), generator, model or Drift(4), params, device)
    return {name: np.concatenate([part[name] for part in output.parts]) for name in output.parts[0]}, counts


def taken(part: dict) -> np.ndarray:
    """The number of steps of each row, from the distance between its states."""
    steps = (part["next_observations"] - part["observations"]) / DRIFT
    np.testing.assert_allclose(steps, np.broadcast_to(steps.round()[:, :1], steps.shape), atol=1e-3)
    return steps[:, 0].round().astype(int)


def of(part: dict, lambda_return: float) -> dict:
    """The rows for this λ."""
    return {name: column[part["lambda_return"] == np.float32(lambda_return)] for name, column in part.items()}


def closed_form(states, steps):
    """Σ γʰ (s₀ + h DRIFT₀) over the steps: a geometric and an arithmetico-geometric series."""
    g, n = GAMMA, steps
    geometric = (1 - g**n) / (1 - g)
    return states[:, 0] * geometric + DRIFT[0] * (g * (1 - n * g ** (n - 1) + (n - 1) * g**n) / (1 - g) ** 2)


def test_every_real_state_and_action_starts_the_same_number_of_futures_for_each_lambda(params, episodes):
    config, model = with_dwm(params), Drift(4)
    columns, counts = expansion(episodes, config, model=model)
    n = len(episodes)
    assert counts == {"windows": 3 * n, "kept": 9 * n, "dropped": 0}
    assert len(model.starts) > 2  # batches
    np.testing.assert_array_equal(
        np.concatenate(model.starts), np.tile(np.c_[episodes.observations, episodes.actions], (3, 1))
    )
    for lambda_return in config.dwm.lambda_returns:
        rows = of(columns, lambda_return)
        starts = Counter(map(bytes, np.c_[rows["observations"], rows["actions"]]))
        assert starts == Counter({bytes(row): 3 for row in np.c_[episodes.observations, episodes.actions]})
    assert set(model.targets) == {params.target_return}


def test_targets_are_the_closed_form_of_the_steps_taken(params, episodes):
    config = with_dwm(params.model_copy(update={"discount": GAMMA}))
    columns, _ = expansion(episodes, config)
    for lambda_return, mean_steps in [(1.0, 4), (0.95, (1 - 0.95**4) / 0.05), (0.0, 1)]:
        rows = of(columns, lambda_return)
        steps = taken(rows)
        assert steps.mean() == pytest.approx(mean_steps, abs=0.15)
        np.testing.assert_allclose(rows["rewards"], closed_form(rows["observations"], steps), atol=1e-4)
        np.testing.assert_allclose(rows["discounts"], GAMMA**steps, rtol=1e-6)
        np.testing.assert_allclose(rows["next_observations"], rows["observations"] + steps[:, None] * DRIFT, atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_futures_end_by_the_rule_or_if_none_is_known_by_the_model(params, episodes, known):
    config, line = with_dwm(params.model_copy(update={"discount": GAMMA})), 0.5
    task = Rule(below(line)) if known else Rule()
    model = Drift(4, lambda states: states[..., 0] >= (99 if known else line))
    columns, counts = expansion(episodes, config, task, model)
    assert counts["kept"] == 9 * len(episodes)
    first = np.ceil((line - columns["observations"][:, 0]) / DRIFT[0]).clip(1)  # steps to the line
    steps = taken(columns)
    np.testing.assert_array_equal(columns["discounts"] == 0, steps == first)
    assert (steps <= first).all()
    assert (columns["discounts"] == 0).any()
    assert (columns["discounts"] > 0).any()
    np.testing.assert_allclose(columns["rewards"], closed_form(columns["observations"], steps), atol=1e-4)
    longest = of(columns, 1.0)
    np.testing.assert_array_equal(taken(longest), np.minimum(4, first[columns["lambda_return"] == 1]))


def test_without_a_rule_or_a_terminal_channel_no_future_ends(params, episodes):
    assert (expansion(episodes, with_dwm(params))[0]["discounts"] > 0).all()


def test_futures_that_leave_the_range_of_the_data_are_dropped_and_counted(params, episodes):
    config = with_dwm(params, futures=1, margin=0.0, max_drop=1.0)
    columns, counts = expansion(episodes, config)
    every = np.concatenate([episodes.observations, episodes.next_observations])
    low, high, n = every.min(0), every.max(0), len(episodes)
    paths = episodes.observations[:, None] + np.arange(5)[:, None] * DRIFT
    inside = ((paths[:, 1:] >= low) & (paths[:, 1:] <= high)).all(2) & (paths[:, :-1, 0] <= episodes.rewards.max())
    inside = np.logical_and.accumulate(inside, axis=1)
    assert 0 < inside[:, 0].sum() < n
    for lambda_return, last in [(1.0, 3), (0.0, 0)]:
        rows = of(columns, lambda_return)
        np.testing.assert_array_equal(rows["observations"], episodes.observations[inside[:, last]])
    count = len(of(columns, 0.95)["rewards"])
    assert inside[:, 3].sum() <= count <= inside[:, 0].sum()
    assert counts == {"windows": n, "kept": len(columns["rewards"]), "dropped": 3 * n - len(columns["rewards"])}
    share = counts["dropped"] / (3 * n)
    expansion(episodes, with_dwm(params, futures=1, margin=0.0, max_drop=share + 1e-6))
    message = rf"^dwm hopper generator 4: dropped [\d,]+ of {3 * n:,} imagined transitions, which lie outside"
    with pytest.raises(SystemExit, match=message):
        expansion(episodes, with_dwm(params, futures=1, margin=0.0, max_drop=share - 0.01), generator=4)


def test_generators_of_equal_names_draw_equal_numbers_of_steps_and_others_do_not(params, episodes):
    one, same = (expansion(episodes, with_dwm(params))[0] for _ in range(2))
    other = expansion(episodes, with_dwm(params), generator=1)[0]
    assert all(one[name].tobytes() == column.tobytes() for name, column in same.items())
    assert not np.array_equal(one["rewards"], other["rewards"])


@pytest.fixture
def loaded(params, episodes, tmp_path) -> Transitions:
    """Futures of two generators for λ of 1 and 0.95, saved and loaded."""
    parts = [expansion(episodes, with_dwm(params, 2, (1.0, 0.95)), generator=k)[0] for k in range(2)]
    joined(parts, 0.0, cost_record([], 7, 12, {"kept": 0})).save(tmp_path / "dwm.npz")
    return Transitions.load(tmp_path / "dwm.npz")


@pytest.mark.parametrize("wanted", [0.95, 1.0])
def test_an_algorithm_learns_from_the_rows_for_its_own_lambda(loaded, episodes, wanted):
    rows = select_lambda(loaded, wanted, ("hopper", "dwm", "iql"))
    assert len(rows) == len(loaded) / 2 == 2 * 2 * len(episodes)
    assert set(rows.lambda_return) == {np.float32(wanted)}
    np.testing.assert_array_equal(rows.rewards, loaded.rewards[loaded.lambda_return == np.float32(wanted)])
    assert rows.generator.tolist() == sorted(rows.generator)
    assert set(rows.generator) == {0, 1}
    assert rows.real_fraction == 0
    assert json.loads(str(rows.cost)) == json.loads(str(loaded.cost))


def test_sets_without_lambda_returns_are_used_whole(episodes):
    assert select_lambda(episodes, 0.5, ("hopper", "dawm", "iql")) is episodes


def test_a_lambda_without_rows_ends_the_stage_naming_the_cell(loaded):
    message = r"^policy hopper dwm iql: lambda_return = 0.5, the training set has λ = 0.95, 1; see its section"
    with pytest.raises(SystemExit, match=message):
        select_lambda(loaded, 0.5, ("hopper", "dwm", "iql"))


@pytest.mark.parametrize(("algorithm", "wanted"), [("td3bc", 1.0), ("iql", 0.95)])
def test_training_uses_the_rows_for_the_lambda_of_the_algorithm_s_settings(
    params, episodes, loaded, device, algorithm, wanted
):
    settings = settings_for(params.policy, getattr(params, algorithm), "walker2d-medium")
    assert settings.lambda_return == wanted
    settings.reward_scale = 1.0
    updates = build_updates(episodes, loaded, ("walker2d-medium", "dwm", algorithm), settings, 2, device)
    rewards = loaded.rewards[loaded.lambda_return == np.float32(wanted)]
    np.testing.assert_array_equal(updates.batches.rows[len(episodes) :, 3 + 2], rewards)
    batch = updates.batches(torch.rand(2, settings.batch, dtype=torch.float64))
    for learner in range(2):
        rewards = loaded.rewards[(loaded.lambda_return == np.float32(wanted)) & (loaded.generator == learner)]
        assert set(batch.rewards[learner].tolist()) <= set(rewards.tolist())


@pytest.mark.parametrize("end", [None, 0, 2])
def test_a_reward_shift_before_and_after_the_sum_agree(end):
    """AntMaze's shift of −1 applies to the reward of every step, not once to their sum."""
    rng = np.random.default_rng(3)
    rewards, states = (rng.standard_normal(shape).astype(np.float32) for shape in ((50, 4), (50, 4, 1)))
    ended = np.tile(np.arange(4) == (-1 if end is None else end), (50, 1))
    steps, plausible = rng.integers(1, 5, 50), np.ones((50, 4), dtype=bool)
    after, _ = n_step(states, rewards, ended, steps, GAMMA, plausible)
    before, _ = n_step(states, rewards - 1, ended, steps, GAMMA, plausible)
    steps_taken = np.minimum(steps, 4 if end is None else end + 1)
    np.testing.assert_allclose(after["discount_sum"], (1 - GAMMA**steps_taken) / (1 - GAMMA), rtol=1e-6)
    np.testing.assert_allclose(after["rewards"] - after["discount_sum"], before["rewards"], atol=1e-5)


class Shifted(Drift):
    """`Drift` with rewards 2 r - 1, as AntMaze's policies see them at a reward scale of 2."""

    def sample(self, *arguments):
        windows = super().sample(*arguments)
        return replace(windows, rewards=2 * windows.rewards - 1)


@pytest.mark.parametrize("algorithm", ["td3bc", "iql"])
def test_batches_shift_the_reward_of_every_step(params, episodes, device, algorithm):
    """The same as shifting the rewards of the world model; many tasks end within their futures."""
    settings = settings_for(params.policy, getattr(params, algorithm), "antmaze-umaze-v2")
    assert settings.reward_shift == -1
    names, task = ("antmaze-umaze-v2", "dwm", algorithm), Rule(below(0.5))
    sets, tables = [], []
    for model, scale, shift in ((Drift(4), 2.0, -1.0), (Shifted(4), 1.0, 0.0)):
        columns, _ = expansion(episodes, with_dwm(params, 2, (1.0, 0.95)), task, model)
        sets.append(joined([columns], 0.0, cost_record([], 7, 12, {"kept": 0})))
        vars(settings).update(reward_scale=scale, reward_shift=shift)
        batches = build_updates(episodes, sets[-1], names, settings, 1, device).batches
        tables.append(batches.rows)
    taken_steps = sets[0].discount_sum[sets[0].lambda_return == np.float32(settings.lambda_return)]
    assert len(set(taken_steps.round(4))) == 4
    assert sets[0].terminal().any()
    torch.testing.assert_close(tables[0][len(episodes) :], tables[1][len(episodes) :], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(tables[0][: len(episodes), 3 + 2], 2 * episodes.rewards - 1, rtol=1e-6)


def test_a_streamed_set_has_the_bytes_of_one_saved_whole(params, episodes, tmp_path):
    parts = [expansion(episodes, with_dwm(params, 2, (1.0, 0.95)), generator=k)[0] for k in range(2)]
    cost = cost_record([], 7, 12, {"kept": 0})
    joined(parts, 0.25, cost).save(tmp_path / "whole.npz")
    with streamed(tmp_path / "streamed.npz") as output:
        for k, part in enumerate(parts):
            for start in range(0, len(part["rewards"]), 100):
                output.add({name: column[start : start + 100] for name, column in part.items()}, k)
        output.save(tmp_path / "streamed.npz", 0.25, cost)
    assert (tmp_path / "streamed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"streamed.npz", "whole.npz"}
    record = Transitions.load(tmp_path / "streamed.npz")
    assert record.generator.tolist() == [0] * len(parts[0]["rewards"]) + [1] * len(parts[1]["rewards"])
    np.testing.assert_array_equal(record.rewards, np.concatenate([part["rewards"] for part in parts]))


@pytest.mark.parametrize("fault", ["add", "save", "between"])
def test_a_failed_stream_leaves_the_folder_as_it_was(params, episodes, tmp_path, monkeypatch, fault):
    (tmp_path / "dwm.npz").write_bytes(b"the last run's")
    columns = expansion(episodes, with_dwm(params, 1, (1.0,)))[0]
    wrong = {**columns, "rewards": np.full_like(columns["rewards"], np.nan)}
    if fault == "save":
        monkeypatch.setattr(join.shutil, "copyfileobj", lambda *arguments: 1 / 0)

    def write_set():
        with streamed(tmp_path / "dwm.npz") as output:
            output.add(columns, 0)
            if fault == "add":
                output.add(wrong, 0)
            if fault == "between":
                raise KeyboardInterrupt
            output.save(tmp_path / "dwm.npz", 0.0, cost_record([], 7, 12, {"kept": 0}))

    errors = {"add": ValueError, "save": ZeroDivisionError, "between": KeyboardInterrupt}
    with pytest.raises(errors[fault], match="rewards has values that are not finite" if fault == "add" else None):
        write_set()
    assert [path.name for path in tmp_path.iterdir()] == ["dwm.npz"]
    assert (tmp_path / "dwm.npz").read_bytes() == b"the last run's"


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path):
    done = subprocess.Popen(["true"])
    done.wait()
    left, own = (f".dwm.npz.{pid}.a1b2.tmp" for pid in (done.pid, os.getpid()))
    for name in (left, own, f".other.npz.{done.pid}.a1b2.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rewards").write_bytes(b"1234")
    (tmp_path / f".dwm.npz.{done.pid}.tmp").write_bytes(b"killed while it saved")
    with streamed(tmp_path / "dwm.npz"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {own, f".other.npz.{done.pid}.a1b2.tmp"}


def test_no_more_than_one_batch_of_transitions_is_held_in_memory(params, episodes, tmp_path, monkeypatch):
    """When a batch is added, the arrays of all earlier ones are gone; the file is copied together in small parts."""
    added, sizes, copied, add, copy = [], [], [], join.Stream.add, join.shutil.copyfileobj

    def counting_add(self, columns, generator):
        assert not any(reference() is not None for reference in added)
        added.extend(weakref.ref(column) for column in columns.values())
        sizes.append(len(columns["rewards"]))
        add(self, columns, generator)

    def counting_copy(source, target, length):
        copied.append(length)
        copy(source, target, length)

    monkeypatch.setattr(join.Stream, "add", counting_add)
    monkeypatch.setattr(join.shutil, "copyfileobj", counting_copy)
    config = with_dwm(params, futures=4)
    with streamed(tmp_path / "dwm.npz") as output:
        counts = write(output, episodes, "hopper", Rule(), 0, Drift(4), config, torch.device("cpu"))
        output.save(tmp_path / "dwm.npz", 0.0, cost_record([], 7, 12, {"kept": 0}))
    assert sum(sizes) == counts["kept"] == 12 * len(episodes)
    assert max(sizes) <= config.augment.batch
    columns = Transitions.load(tmp_path / "dwm.npz").arrays().keys() - {"real_fraction", "cost"}
    assert copied == [join.COPY_BYTES] * len(columns)
    assert not any(reference() is not None for reference in added)


def test_the_stage_writes_a_training_set_with_its_cost(params, tiny_params, episodes, tmp_path, monkeypatch):
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
    dwm = Transitions.load("data/line/dwm.npz")
    cost, windows = json.loads(str(dwm.cost)), 2 * params.dwm.futures * len(episodes)
    assert cost["trained"] == [digest("models/line/diffusion.safetensors")]
    assert cost["source"] is None
    assert cost["parameters"] == parameter_count(models[0].network)
    assert cost["counts"] == {"windows": windows, "kept": len(dwm), "dropped": 2 * windows - len(dwm)}
    assert cost["evaluations"] == pytest.approx(evaluations(params.sampler) * windows / (len(dwm) / 2), abs=1e-3)
    assert set(dwm.lambda_return) == {np.float32(1), np.float32(0.95)}
    assert dwm.real_fraction == params.dwm.real_fraction
    assert set(dwm.generator) == {0, 1}
    given = {bytes(row) for row in np.c_[episodes.observations, episodes.actions]}
    assert {bytes(row) for row in np.c_[dwm.observations, dwm.actions]} <= given

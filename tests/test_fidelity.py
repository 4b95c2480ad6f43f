"""Fidelity: the simulator's floor, errors put in by hand and found again, spread and coverage of known data."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from stages.common.environments import ENVIRONMENTS
from stages.common.tasks import Task, gym_mujoco
from stages.common.transitions import Transitions
from stages.data.local import collect
from stages.diffusion.world_model import Imagined
from stages.fidelity.__main__ import action_errors, fidelity, some
from stages.fidelity.coverage import coverage, diversity
from stages.fidelity.physics import Physics, physics_errors
from stages.fidelity.steering import rank_correlation, reached, real_windows, steer
from stages.fidelity.value import Value


@pytest.fixture(scope="module")
def hopper():
    return Physics(ENVIRONMENTS["hopper"])


def one_step(data: Transitions) -> np.ndarray:
    return np.zeros(len(data), dtype=int)


@pytest.mark.parametrize("task", ["hopper", "walker2d", "halfcheetah"])
def test_the_simulator_gives_real_transitions_back(task):
    """The floor; where a velocity was cut the true state is not known, and the row is left out."""
    data = collect(f"{task}-medium-replay", 1000, 0.99, 1)
    errors = physics_errors(data, one_step(data), data, Physics(ENVIRONMENTS[task]))
    assert errors["worst_median"] < 1e-5  # float32, over the small std of few transitions
    assert errors["reward_error"][0]["median"] < 1e-6
    assert errors["terminals"]["agreement"] == 1
    assert errors["terminals"]["rate"] == errors["terminals"]["simulator_rate"]


def test_the_simulator_s_answer_does_not_depend_on_what_was_asked_before(hopper, collected_hopper):
    states, actions = collected_hopper.observations[:50], collected_hopper.actions[:50]
    forwards, backwards = hopper(states, actions), hopper(states[::-1], actions[::-1])
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other[::-1])


def test_errors_put_in_by_hand_are_found_where_they_were_put(hopper, collected_hopper):
    data, std = collected_hopper, collected_hopper.observations.std(0)
    step = np.arange(len(data)) % 3
    following, rewards, discounts = data.next_observations.copy(), data.rewards.copy(), data.discounts.copy()
    following[step == 1, 4] += 0.25 * std[4]
    following[step == 2, 7] -= 0.5 * std[7]
    rewards[step == 2] += 2 * data.rewards.std()
    flipped = np.flatnonzero(discounts > 0)[::10]
    discounts[flipped] = 0
    changed = replace(data, next_observations=following, rewards=rewards, discounts=discounts)
    errors = physics_errors(changed, step, data, hopper)
    medians = np.array([found["median"] for found in errors["state_error"]])
    expected = np.zeros((3, 11))
    expected[1, 4], expected[2, 7] = 0.25, 0.5
    np.testing.assert_allclose(medians, expected, atol=1e-5)
    assert errors["worst_median"] == pytest.approx(0.5, abs=1e-5)
    assert [found["median"] for found in errors["reward_error"]] == pytest.approx([0, 0, 2], abs=1e-5)
    assert errors["terminals"]["missed"] == 0
    kept = ~hopper.cut(data.observations)
    assert errors["terminals"]["agreement"] == pytest.approx(1 - kept[flipped].sum() / kept.sum())


def test_rows_that_start_from_a_cut_velocity_are_counted_and_left_out(hopper, collected_hopper):
    states = collected_hopper.observations.copy()
    states[::2, 9] = -10.0
    errors = physics_errors(
        replace(collected_hopper, observations=states), one_step(collected_hopper), collected_hopper, hopper
    )
    assert errors["cut"] >= 0.5
    assert errors["worst_median"] < 1e-5  # float32, over the small std of few transitions
    states[:, 9] = 10.0
    everywhere = replace(collected_hopper, observations=states)
    assert physics_errors(everywhere, one_step(everywhere), collected_hopper, hopper) is None
    cheetah = Physics(ENVIRONMENTS["halfcheetah"])
    assert not cheetah.cut(np.full((3, 17), 20.0)).any()


def test_spread_is_by_dimension_and_step_and_among_neighbours(collected_hopper):
    real, rng = collected_hopper, np.random.default_rng(0)
    place = np.arange(len(real)) - np.searchsorted(real.episode, real.episode)
    step = np.where(rng.random(len(real)) < 0.5, 0, np.minimum(place, 1))
    actions = real.actions.copy()
    actions[step == 1] *= [0.5, 1.0, 0.25]
    found = diversity(replace(real, actions=actions), step, real, place, real, 10)
    np.testing.assert_allclose(found["actions"][0], 1, atol=0.08)  # half of the rows, at random
    np.testing.assert_allclose(found["actions"][1], [0.5, 1.0, 0.25], rtol=0.08)
    np.testing.assert_allclose(found["states"][1], 1, atol=0.08)
    alike = diversity(real, one_step(real), real, place, real, 10)
    np.testing.assert_allclose(alike["actions_among_neighbours"], 1)
    narrow = replace(real, actions=real.actions * np.float32(0.5))
    halved = diversity(narrow, one_step(real), real, place, real, 10)
    np.testing.assert_allclose(halved["actions_among_neighbours"], 0.5, rtol=1e-5)


def test_coverage_of_the_other_half_is_the_floor_and_distance_grows_with_a_shift(collected_hopper):
    half = collected_hopper.held_out(0.5, np.random.default_rng(0))
    first, second = collected_hopper.rows(half), collected_hopper.rows(~half)
    same = coverage(second, first, second)
    assert all(record["found"] == record["floor"] for record in same.values())
    shifted = replace(second, observations=second.observations + 3 * second.observations.std(0))
    far = coverage(shifted, first, second)
    assert far["nearest_neighbour"]["found"] > 1.5 * far["nearest_neighbour"]["floor"]
    assert far["marginal"]["found"] > far["marginal"]["floor"] + 0.1
    mixed = replace(second, actions=np.random.default_rng(1).permuted(second.actions, axis=0))
    found = coverage(mixed, first, second)  # the same marginals, without what ties them to states
    assert found["marginal"]["found"] == pytest.approx(found["marginal"]["floor"])
    assert found["correlation"]["found"] > found["correlation"]["floor"]


class Inverse:
    """Finds the action of the linear system of `episodes`, or is wrong by a constant."""

    def __init__(self, off: float = 0.0):
        self.off = off

    def infer(self, states, following):
        b = torch.tensor([[1.0, 0.5], [0.0, 1.0], [-1.0, 0.3]])
        return (following - states) / 0.1 @ torch.linalg.pinv(b).T + self.off


def test_the_inverse_model_is_judged_on_the_steps_whose_action_is_known(episodes, device):
    actions, step = episodes.actions.copy(), (np.arange(len(episodes)) % 2).astype(np.int16)
    actions[step == 1] = 0.77  # whatever: not looked at
    data = replace(episodes, actions=actions, step=step, generator=one_step(episodes).astype(np.int8))
    found = action_errors(data, [Inverse()], device)
    assert found["r2"] == pytest.approx(1, abs=1e-6)
    assert action_errors(data, [Inverse(0.25)], device)["median_absolute_error"] == pytest.approx(0.25, abs=1e-4)


def small(params):
    return params.model_copy(update={"fidelity": params.fidelity.model_copy(update={"transitions": 400})})


def test_the_record_of_real_data_is_the_floor_and_of_many_steps_has_no_physics(params, collected_hopper, device):
    data, task = collected_hopper, gym_mujoco("hopper")
    inverse = SimpleNamespace(infer=lambda states, following: torch.zeros(len(states), 3))
    arguments = (data, task, [inverse], small(params), "hopper-medium-replay")
    record = fidelity(data, *arguments, "real", device)
    assert record["physics"]["worst_median"] < 1e-5
    assert record["coverage"]["marginal"]["found"] == record["coverage"]["marginal"]["floor"]
    assert record["terminal_rate"]["found"] == record["terminal_rate"]["real"]
    several = replace(data, discounts=np.where(data.discounts > 0, 0.99**3, 0).astype(np.float32))
    record = fidelity(several, *arguments, "dwm", device)
    assert record["physics"] is None
    assert record["inverse_dynamics"] is None
    elsewhere = fidelity(data, data, Task({"id": "Pendulum-v1"}, 200, 1.0, None), *arguments[2:], "real", device)
    assert elsewhere["physics"] is None
    assert elsewhere["inverse_dynamics"] is not None


def test_some_rows_are_distinct_in_order_and_from_among_those_asked(collected_hopper):
    among = collected_hopper.rewards > np.median(collected_hopper.rewards)
    picked = some(collected_hopper, 100, np.random.default_rng(0), among)
    assert len(picked) == 100
    assert (picked.rewards > np.median(collected_hopper.rewards)).all()
    assert (np.diff(picked.episode) >= 0).all()
    assert len(some(collected_hopper, 10**6, np.random.default_rng(0))) == len(collected_hopper)


def test_rank_correlation_is_spearman_s():
    rng = np.random.default_rng(0)
    asked, got = np.arange(6.0), rng.standard_normal((5, 6))
    expected = np.mean([spearmanr(asked, row).statistic for row in got])
    assert rank_correlation(asked, got) == pytest.approx(expected)
    assert rank_correlation(asked, np.ones((2, 6))) == 0


def test_what_a_window_reaches_by_hand():
    states = np.array([[[0.0], [1.0], [2.0], [3.0]]] * 2)
    rewards, ended = np.array([[1.0, 10.0, 100.0]] * 2), np.array([[False] * 3, [False, True, False]])
    found = reached(states, rewards, ended, 0.5, lambda last: last[:, 0], 10.0)
    assert found.tolist() == pytest.approx([(1 + 5 + 25) / 10 + 0.125 * 3, (1 + 5) / 10])


def test_a_value_is_the_mean_of_what_follows(device):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((5000, 2)) * [1, 100] + [0, 500]
    truth = np.sin(inputs[:, 0]) + inputs[:, 1] / 100
    value = Value(inputs, truth + rng.standard_normal(5000), "test", device)
    assert np.abs(value(inputs) - truth).mean() < 0.2


def test_real_windows_are_consecutive_rows(episodes):
    rows = np.array([0, 1])
    states, rewards, ended = real_windows(episodes, rows, 2)
    np.testing.assert_array_equal(states[:, 0], episodes.observations[rows])
    np.testing.assert_array_equal(states[:, 2], episodes.next_observations[rows + 1])
    np.testing.assert_array_equal(rewards, episodes.rewards[[[0, 1], [1, 2]]])
    assert ended.shape == (2, 2)


@pytest.mark.parametrize(("obeys", "expected"), [(1.0, 1.0), (0.0, 0.0), (-1.0, -1.0)])
def test_steering_tells_who_obeys(params, episodes, device, obeys, expected):
    """A world model whose rewards follow what is asked, or do not, or go the other way; with no guidance, never."""

    def imagine(states, actions, returns, sampler, stream):
        rewards = obeys * (sampler.guidance > 0) * returns[:, None].expand(-1, 2)
        return Imagined(rewards, states[:, None].expand(-1, 2, -1), None)

    model = SimpleNamespace(imagine=imagine, sizes={"horizon": 2})
    inverse = SimpleNamespace(infer=lambda states, following, stream: torch.zeros(*states.shape[:-1], 2))
    task = Task({"id": "Pendulum-v1"}, 200, 1.0, None)
    record = steer(episodes, "test", task, [model], [inverse], params, device)
    found = record["rank_correlation"]
    assert found["within_starts"] == pytest.approx(expected)
    assert np.sign(found["beyond"]["asked"] - found["beyond"]["unasked"]) == np.sign(expected)
    assert found["own"]["data"] > 0.3  # real windows reach what their trajectories did
    assert len(record["asked"]) == len(record["reached"]["mean"]) == len(params.fidelity.asked) + 1
    assert record["target"] == params.target_return

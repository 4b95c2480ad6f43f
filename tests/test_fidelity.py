"""Fidelity: the simulator's floor, injected errors, spread and coverage of known data, steering of toy models."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from stages.common.transitions import Transitions
from stages.data.local import collect
from stages.fidelity.__main__ import action_errors, fidelity, sample_rows
from stages.fidelity.coverage import action_novelty, coverage, diversity
from stages.fidelity.errors import physics_errors
from stages.fidelity.steering import rank_correlation, reached, real_windows, steer
from stages.fidelity.value import Value
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.physics import Physics
from stages.tasks.tasks import Task, gym_mujoco
from stages.world_model.model import SampledWindows


@pytest.fixture(scope="module")
def hopper():
    return Physics(ENVIRONMENTS["hopper"])


def one_step(data: Transitions) -> np.ndarray:
    return np.zeros(len(data), dtype=int)


@pytest.mark.parametrize("task", ["hopper", "walker2d", "halfcheetah"])
def test_simulator_reproduces_real_transitions(task):
    """The floor; rows that start from a clipped velocity are left out, since their true state is not known."""
    data = collect(f"{task}-medium-replay", 1000, 0.99, 1)
    errors = physics_errors(data, one_step(data), data, Physics(ENVIRONMENTS[task]))
    assert errors["worst_median"] < 1e-5  # float32, over the small std of few transitions
    assert errors["reward_error"][0]["median"] < 1e-6
    assert errors["terminals"]["agreement"] == 1
    assert errors["terminals"]["rate"] == errors["terminals"]["simulator_rate"]


def test_simulator_result_does_not_depend_on_earlier_calls(hopper, collected_hopper):
    states, actions = collected_hopper.observations[:50], collected_hopper.actions[:50]
    forwards, backwards = hopper(states, actions), hopper(states[::-1], actions[::-1])
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other[::-1])


def test_injected_errors_are_found_at_their_step_and_dimension(hopper, collected_hopper):
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
    medians = np.array([record["median"] for record in errors["state_error"]])
    expected = np.zeros((3, 11))
    expected[1, 4], expected[2, 7] = 0.25, 0.5
    np.testing.assert_allclose(medians, expected, atol=1e-5)
    assert errors["worst_median"] == pytest.approx(0.5, abs=1e-5)
    assert [record["median"] for record in errors["reward_error"]] == pytest.approx([0, 0, 2], abs=1e-5)
    assert errors["terminals"]["missed"] == 0
    kept = ~hopper.cut(data.observations)
    assert errors["terminals"]["agreement"] == pytest.approx(1 - kept[flipped].sum() / kept.sum())


def test_rates_of_terminals_by_hand():
    """Eight rows, and one that starts from a clipped velocity: five ends in the data, three in the simulator."""
    in_data = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1], dtype=bool)
    in_simulator = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    zeros = np.zeros((9, 1), dtype=np.float32)
    data = Transitions(zeros, zeros, zeros[:, 0], zeros, np.where(in_data, 0, 0.9).astype(np.float32))

    class Known:
        cut = staticmethod(lambda states: np.arange(9) == 8)

        def __call__(self, states, actions):
            return zeros, zeros[:, 0], in_simulator

    record = physics_errors(data, one_step(data), data, Known())
    assert record["cut"] == pytest.approx(1 / 9)
    expected = {"rate": 5 / 8, "simulator_rate": 3 / 8, "agreement": 4 / 8, "missed": 1 / 3, "false": 3 / 5}
    assert record["terminals"] == pytest.approx(expected)


def test_rows_that_start_from_a_clipped_velocity_are_counted_and_left_out(hopper, collected_hopper):
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


def test_spread_by_dimension_by_step_and_among_neighbours(collected_hopper):
    real, rng = collected_hopper, np.random.default_rng(0)
    position = np.arange(len(real)) - np.searchsorted(real.episode, real.episode)
    step = np.where(rng.random(len(real)) < 0.5, 0, np.minimum(position, 1))
    actions = real.actions.copy()
    actions[step == 1] *= [0.5, 1.0, 0.25]
    record = diversity(replace(real, actions=actions), step, real, position, real, 10)
    np.testing.assert_allclose(record["actions"][0], 1, atol=0.08)  # half of the rows, at random
    np.testing.assert_allclose(record["actions"][1], [0.5, 1.0, 0.25], rtol=0.08)
    np.testing.assert_allclose(record["states"][1], 1, atol=0.08)
    alike = diversity(real, one_step(real), real, position, real, 10)
    np.testing.assert_allclose(alike["actions_among_neighbours"], 1)
    narrow = replace(real, actions=real.actions * np.float32(0.5))
    halved = diversity(narrow, one_step(real), real, position, real, 10)
    np.testing.assert_allclose(halved["actions_among_neighbours"], 0.5, rtol=1e-5)


def test_each_step_s_spread_is_divided_by_that_of_real_rows_as_far_into_their_episodes():
    rng, position = np.random.default_rng(0), np.tile(np.arange(4), 30)
    columns = [rng.standard_normal((120, width)) * (1 + position[:, None]) for width in (2, 1, 1, 2)]
    states, actions, rewards, following = (column.astype(np.float32) for column in columns)
    ones = np.ones(120, dtype=np.float32)
    real = Transitions(states, actions / 20, rewards[:, 0], following, ones)
    made = real.rows(np.arange(120) % 3 == 0)
    step = np.arange(40) % 3
    record = diversity(made, step, real, position, real, 5)
    for h in range(3):
        wanted = made.next_observations[step == h].std(0) / real.next_observations[position >= h].std(0)
        np.testing.assert_allclose(record["states"][h], wanted, rtol=1e-5)
        wanted = made.actions[step == h].std(0) / real.actions[position >= h].std(0)
        np.testing.assert_allclose(record["actions"][h], wanted, rtol=1e-5)


def test_coverage_equals_other_ways_to_work_it_out(collected_hopper):
    """Distances by brute force, correlations by NumPy, distribution functions by counting."""
    half = collected_hopper.held_out(0.5, np.random.default_rng(0))
    first, second = (collected_hopper.rows(mask) for mask in (half, ~half))
    names = ("observations", "actions", "rewards", "next_observations")
    ours, reference = (
        np.concatenate([getattr(part, name).reshape(len(part), -1) for name in names], axis=1).astype(np.float64)
        for part in (second, first)
    )
    record = coverage(second, first, second, 5)
    scaled, others = (part / reference.std(0).clip(1e-6) for part in (ours, reference))
    apart = [np.sqrt(np.square(row - others).sum(1)).min() for row in scaled]
    assert record["nearest_neighbour"]["measured"] == pytest.approx(np.median(apart), rel=1e-4)
    pairs = np.triu_indices(ours.shape[1], 1)
    differences = np.abs(np.corrcoef(ours.T) - np.corrcoef(reference.T))[pairs]
    assert record["correlation"]["measured"] == pytest.approx(differences.mean(), rel=1e-3)
    distances = []
    for a, b in zip(ours.T, reference.T, strict=True):
        points = np.r_[a, b]
        below = [np.searchsorted(np.sort(part), points, side="right") / len(part) for part in (a, b)]
        distances.append(np.abs(below[0] - below[1]).max())
    assert record["marginal"]["measured"] == pytest.approx(np.mean(distances), rel=1e-6)


def test_coverage_of_the_other_half_is_the_floor_and_a_shift_raises_distances(collected_hopper):
    half = collected_hopper.held_out(0.5, np.random.default_rng(0))
    first, second = collected_hopper.rows(half), collected_hopper.rows(~half)
    same = coverage(second, first, second, 5)
    assert all(record["measured"] == record["floor"] for record in same.values())
    shifted = replace(second, observations=second.observations + 3 * second.observations.std(0))
    far = coverage(shifted, first, second, 5)
    assert far["nearest_neighbour"]["measured"] > 1.5 * far["nearest_neighbour"]["floor"]
    assert far["marginal"]["measured"] > far["marginal"]["floor"] + 0.1
    mixed = replace(second, actions=np.random.default_rng(1).permuted(second.actions, axis=0))
    record = coverage(mixed, first, second, 5)  # the same marginals, but no longer correlated with the states
    assert record["marginal"]["measured"] == pytest.approx(record["marginal"]["floor"])
    assert record["correlation"]["measured"] > record["correlation"]["floor"]


def test_action_novelty_is_the_distance_from_what_the_data_did_in_similar_states():
    """Two clusters of states, far apart; in each the data took two actions."""
    states = np.repeat([[0.0, 0], [0, 0], [9, 9], [9, 9]], 50, axis=0) + np.random.default_rng(0).normal(
        0, 0.1, (200, 2)
    )
    actions = np.repeat([[-0.5, 0], [0.5, 0], [0, -0.8], [0, 0.8]], 50, axis=0)
    columns = (column.astype(np.float32) for column in (states, actions, np.zeros(200), states, np.ones(200)))
    real = Transitions(*columns)
    assert action_novelty(real, real, 100) == 0
    moved = replace(real, actions=(actions + np.array([0.2, 0])).astype(np.float32))
    size = 0.2 / real.actions[:, 0].std() / np.sqrt(2)  # the root mean square over two dimensions
    assert action_novelty(moved, real, 100) == pytest.approx(size, rel=1e-4)
    swapped = replace(real, observations=real.observations[::-1].copy())  # each action where the data never took it
    assert action_novelty(swapped, real, 100) > 3 * size


class Inverse:
    """Infers the action in the linear system of `episodes`, plus a constant error."""

    def __init__(self, error: float = 0.0):
        self.error = error

    def infer(self, states, following):
        b = torch.tensor([[1.0, 0.5], [0.0, 1.0], [-1.0, 0.3]])
        return (following - states) / 0.1 @ torch.linalg.pinv(b).T + self.error


def test_inverse_model_is_judged_on_the_steps_whose_action_is_known(episodes, device):
    actions, step = episodes.actions.copy(), (np.arange(len(episodes)) % 2).astype(np.int16)
    actions[step == 1] = 0.77  # any value: these steps are not judged
    data = replace(episodes, actions=actions, step=step, generator=one_step(episodes).astype(np.int8))
    record = action_errors(data, [Inverse()], device)
    assert record["r2"] == pytest.approx(1, abs=1e-6)
    assert action_errors(data, [Inverse(0.25)], device)["median_absolute_error"] == pytest.approx(0.25, abs=1e-4)


def small(params):
    return params.model_copy(update={"fidelity": params.fidelity.model_copy(update={"transitions": 400})})


def test_record_of_real_data_is_the_floor_and_n_step_transitions_have_no_physics(params, collected_hopper, device):
    data, task = collected_hopper, gym_mujoco("hopper")
    inverse = SimpleNamespace(infer=lambda states, following: torch.zeros(len(states), 3))
    arguments = (data, task, [inverse], small(params), "hopper-medium-replay")
    record = fidelity(data, *arguments, "real", device)
    assert record["physics"]["worst_median"] < 1e-5
    assert record["coverage"]["marginal"]["measured"] == record["coverage"]["marginal"]["floor"]
    assert record["terminal_rate"]["measured"] == record["terminal_rate"]["real"]
    several = replace(data, discounts=np.where(data.discounts > 0, 0.99**3, 0).astype(np.float32))
    record = fidelity(several, *arguments, "dwm", device)
    assert record["physics"] is None
    assert record["inverse_dynamics"] is None
    elsewhere = fidelity(data, data, Task({"id": "Pendulum-v1"}, 200, 1.0, None), *arguments[2:], "real", device)
    assert elsewhere["physics"] is None
    assert elsewhere["inverse_dynamics"] is not None


def test_sampled_rows_are_distinct_in_order_and_from_the_given_mask(collected_hopper):
    among = collected_hopper.rewards > np.median(collected_hopper.rewards)
    picked = sample_rows(collected_hopper, 100, np.random.default_rng(0), among)
    assert len(picked) == 100
    assert (picked.rewards > np.median(collected_hopper.rewards)).all()
    assert (np.diff(picked.episode) >= 0).all()
    assert len(sample_rows(collected_hopper, 10**6, np.random.default_rng(0))) == len(collected_hopper)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(0)
    asked, achieved = np.arange(6.0), rng.standard_normal((5, 6))
    expected = np.mean([spearmanr(asked, row).statistic for row in achieved])
    assert rank_correlation(asked, achieved) == pytest.approx(expected)
    assert rank_correlation(asked, np.ones((2, 6))) == 0


def test_return_to_go_that_a_window_reaches_by_hand():
    states = np.array([[[0.0], [1.0], [2.0], [3.0]]] * 2)
    rewards, ended = np.array([[1.0, 10.0, 100.0]] * 2), np.array([[False] * 3, [False, True, False]])
    returns = reached(states, rewards, ended, 0.5, lambda last: last[:, 0], 10.0)
    assert returns.tolist() == pytest.approx([(1 + 5 + 25) / 10 + 0.125 * 3, (1 + 5) / 10])


def test_value_is_the_conditional_mean_of_its_targets(device, monkeypatch):
    monkeypatch.setattr("stages.fidelity.value.UPDATES", 600)
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


@pytest.fixture(scope="module")
def fit_once():
    """`Value`, fitted once for each name, with fewer updates: all models below are steered on the same data."""
    fitted = {}

    def fit(inputs, targets, name, device):
        if name not in fitted:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("stages.fidelity.value.UPDATES", 600)
                fitted[name] = Value(inputs, targets, name, device)
        return fitted[name]

    return fit


@pytest.mark.parametrize(("obeys", "expected"), [(1.0, 1.0), (0.0, 0.0), (-1.0, -1.0)])
def test_steering_tells_models_that_follow_their_condition_from_others(
    params, episodes, device, fit_once, monkeypatch, obeys, expected
):
    """World models whose rewards follow the return-to-go, ignore it or oppose it; without guidance all ignore it."""

    def sample(states, actions, returns, sampler, stream, guide=None):
        rewards = obeys * (sampler.guidance > 0) * returns[:, None].expand(-1, 2)
        return SampledWindows(rewards, states[:, None].expand(-1, 2, -1), None)

    model = SimpleNamespace(sample=sample, sizes={"horizon": 2})
    inverse = SimpleNamespace(infer=lambda states, following, stream: torch.zeros(*states.shape[:-1], 2))
    monkeypatch.setattr("stages.fidelity.steering.Value", fit_once)
    task = Task({"id": "Pendulum-v1"}, 200, 1.0, None)
    record = steer(episodes, "test", task, [model], [inverse], params, device)
    correlation = record["rank_correlation"]
    assert correlation["within_starts"] == pytest.approx(expected)
    assert np.sign(correlation["beyond"]["asked"] - correlation["beyond"]["unasked"]) == np.sign(expected)
    assert correlation["own"]["data"] > 0.3  # real windows reach about what their trajectories did
    assert len(record["asked"]) == len(record["reached"]["mean"]) == len(params.fidelity.asked) + 1
    assert record["target"] == params.target_return


def test_steering_takes_the_value_of_a_next_state_from_what_followed_it(params, episodes, device, monkeypatch):
    """All full windows start one, in any order. What the start predicts is taken from both sides of `beyond`."""
    discount, scale, fitted = 0.9, 10.0, {}

    class Known:
        """Knows a function of the first two columns; keeps what it was to learn."""

        def __init__(self, inputs, targets, name, device):
            fitted[name.split()[1]] = inputs, targets

        def __call__(self, inputs):
            return 0.5 * inputs[:, 0] - 0.2 * inputs[:, 1] ** 2

    def sample(states, actions, returns, sampler, stream, guide=None):
        rewards = torch.stack([states[:, 1], actions[:, 0] + returns], dim=1)
        return SampledWindows(rewards, torch.stack([states, states + 1], dim=1), None)

    monkeypatch.setattr("stages.fidelity.steering.Value", Known)
    seen = {}

    def generator(k: int):
        """A model and an inverse model, which keep the states that they were asked about last."""

        def own_sample(states, *others, guide=None):
            seen["model", k] = states
            return sample(states, *others)

        def infer(states, following, stream):
            seen["inverse", k] = states[:, 0]
            return torch.zeros(*states.shape[:-1], 2)

        return SimpleNamespace(sample=own_sample, sizes={"horizon": 2}), SimpleNamespace(infer=infer)

    models, inverses = zip(*map(generator, range(2)), strict=True)
    settings = params.model_copy(
        update={"discount": discount, "fidelity": params.fidelity.model_copy(update={"starts": 10**6})}
    )
    task = Task({"id": "Pendulum-v1"}, 200, scale, None)
    record = steer(episodes, "test", task, models, inverses, settings, device)
    returns, later = np.zeros(len(episodes)), np.zeros(len(episodes))
    for row in reversed(range(len(episodes))):
        inside = row + 1 < len(episodes) and episodes.episode[row + 1] == episodes.episode[row]
        later[row] = returns[row + 1] if inside else 0.0
        returns[row] = episodes.rewards[row] / scale + discount * later[row]
    np.testing.assert_array_equal(fitted["states"][0], episodes.next_observations)
    np.testing.assert_allclose(fitted["states"][1], later, atol=1e-6)
    np.testing.assert_array_equal(fitted["pairs"][0], np.c_[episodes.observations, episodes.actions])
    np.testing.assert_allclose(fitted["pairs"][1], returns, atol=1e-6)
    starts = np.flatnonzero(episodes.episode[:-1] == episodes.episode[1:])  # of two steps
    assert [len(seen["model", k]) for k in range(2)] == [len(starts) // 2, -(-len(starts) // 2)]
    for k in range(2):
        assert torch.equal(seen["model", k], seen["inverse", k])
    states, known = episodes.observations[starts].astype(np.float64), Known.__call__
    own, predicted = returns[starts], known(None, states)
    reach = {}
    for name, asked in (("asked", own), ("unasked", own)):
        rewards = states[:, 1] + discount * (episodes.actions[starts, 0] + asked)
        reach[name] = rewards / scale + discount**2 * known(None, states + 1)
    rewards = episodes.rewards[starts] + discount * episodes.rewards[starts + 1]
    goes_on = episodes.discounts[starts + 1] > 0
    reach["data"] = rewards / scale + discount**2 * known(None, episodes.next_observations[starts + 1]) * goes_on
    for name, reached_returns in reach.items():
        correlation = record["rank_correlation"]
        assert correlation["own"][name] == pytest.approx(spearmanr(own, reached_returns)[0], abs=1e-3)
        expected = spearmanr(own - predicted, reached_returns - predicted)[0]
        assert correlation["beyond"][name] == pytest.approx(expected, abs=1e-3)
    assert record["start"] == pytest.approx(own.mean(), rel=1e-5)

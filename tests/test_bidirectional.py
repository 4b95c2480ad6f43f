"""Imagination backwards on a linear system, whose conditional means and covariances the data themselves give."""

import numpy as np
import pytest
import torch

from stages.baselines.bidirectional.__main__ import backward_windows, best, samplers
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions, return_to_go
from stages.idm.model import InverseDynamics
from stages.synthetic_data.backwards import turned_round
from stages.world_model import train as diffusion
from tests.test_joint import LENGTH, TASK, A, B, small, system

__all__ = ["system"]  # the fixture


class ExactInverse(InverseDynamics):
    """The action that leads from one state of the linear system to the next."""

    def __init__(self):
        super().__init__(2, 1, [4], "mean")

    def infer(self, states, next_states, stream=None):
        change = next_states - states @ torch.from_numpy(A.T).float()
        return change @ torch.from_numpy(np.linalg.pinv(B).T).float()


@pytest.fixture(scope="module")
def back(params, system: Transitions):
    given = turned_round(system), "linear backwards", TASK, 0, small(params), torch.device("cpu")
    return diffusion.train(*given)[0]


@pytest.fixture(scope="module")
def windows(params, back, system):
    """Windows back from every next state of the data, with the returns that came before them."""
    turned = turned_round(system)
    returns = return_to_go(turned.rewards, turned.episode, 0.99).astype(np.float32) / 10
    given = (torch.from_numpy(part.copy()) for part in (turned.observations, turned.actions, returns))
    sampler = params.sampler.model_copy(update={"steps": 12, "guidance": 1.0})
    return turned, backward_windows(back, ExactInverse(), *given, sampler, torch_stream("a"))


def test_episodes_turned_round_run_from_their_last_transition_to_their_first(system):
    turned = turned_round(system)
    np.testing.assert_array_equal(turned.observations[0], system.next_observations[-1])
    for name, other in (("observations", "next_observations"), ("actions", "actions"), ("rewards", "rewards")):
        np.testing.assert_array_equal(getattr(turned, name), getattr(system, other)[::-1])
    inside = np.diff(turned.episode) == 0
    np.testing.assert_array_equal(turned.next_observations[:-1][inside], turned.observations[1:][inside])
    assert turned.episode.tolist() == system.episode.tolist()
    assert turned.timeouts.tolist() == ([False] * (LENGTH - 1) + [True]) * (len(system) // LENGTH)
    ended = Transitions(**{**system.arrays(), "discounts": np.where(system.timeouts, 0, 0.99).astype(np.float32)})
    assert set(turned_round(ended).discounts.tolist()) == {np.float32(0.99)}


def test_each_step_back_obeys_the_dynamics_and_the_rewards(windows, system):
    _, (path, actions, rewards) = windows
    error = path[:, :-1] - path[:, 1:] @ A.T - actions @ B.T
    assert np.median(np.abs(error)) < 0.05 * system.observations.std()
    assert np.corrcoef(rewards.ravel(), path[:, 1:, 0].ravel())[0, 1] > 0.99  # the reward is s₀ of the state before


def test_earlier_states_have_their_conditional_mean_and_covariance(windows):
    """s two steps before, given s', a and the state between, by regression on the data and on what was imagined."""
    turned, (path, *_) = windows
    rows = np.flatnonzero(np.diff(turned.episode) == 0)
    return_before = return_to_go(turned.rewards, turned.episode, 0.99)[rows]
    given = np.c_[turned.observations[rows], turned.actions[rows], return_before, np.ones(len(rows))]
    true, made = turned.next_observations[rows + 1], path[rows, 2]
    slopes, imagined = (np.linalg.lstsq(given, target, rcond=None)[0] for target in (true, made))
    np.testing.assert_allclose(imagined, slopes, atol=0.12)
    covariances = [np.cov((target - given @ fit).T) for target, fit in ((true, slopes), (made, imagined))]
    np.testing.assert_allclose(covariances[1], covariances[0], atol=0.35 * np.trace(covariances[0]))
    assert np.trace(covariances[0]) > 1e-3


def test_the_return_before_shifts_what_is_imagined_as_it_does_in_the_data(params, back, system):
    """By the slope of a regression, which is negative here: the system swings."""
    turned, sums = turned_round(system), []
    rows = np.flatnonzero(turned.episode[2:] == turned.episode[:-2])
    returns = return_to_go(turned.rewards, turned.episode, 0.99) / 10
    given = np.c_[turned.observations, turned.actions, returns, np.ones(len(turned))][rows]
    later = turned.rewards[rows + 1] + turned.rewards[rows + 2]
    slope = np.linalg.lstsq(given, later, rcond=None)[0][3]
    for asked in (-0.2, 0.2):
        states, actions = torch.from_numpy(turned.observations), torch.from_numpy(turned.actions)
        sampler = params.sampler.model_copy(update={"steps": 12, "guidance": 1.0})
        wanted = torch.full((len(turned),), asked)
        windows = backward_windows(back, ExactInverse(), states, actions, wanted, sampler, torch_stream("a"))
        sums.append(windows[2][:, 1:3].sum(1).mean())
    assert (sums[1] - sums[0]) / 0.4 == pytest.approx(slope, rel=0.5)
    assert slope < -0.1


def test_the_better_windows_are_kept():
    rewards = np.array([[1.0, 0.0], [3.0, 1.0], [0.0, 0.0], [2.0, 1.0]])
    kept, rows = best(0.5, rewards, np.arange(4))
    assert rows.tolist() == [1, 3]
    assert kept.tolist() == [[3.0, 1.0], [2.0, 1.0]]
    assert best(0.01, rewards, np.arange(4))[1].tolist() == [1]
    assert sorted(best(1.0, rewards, np.arange(4))[1]) == [0, 1, 2, 3]


def test_forward_windows_begin_and_backward_windows_end_in_real_states(params, back, system):
    starts = torch.arange(0, len(system), 7)
    settings = params.model_copy(update={"bidirectional": params.bidirectional.model_copy(update={"best": 1.0})})
    forwards, backwards = samplers(system, TASK, (back, back), ExactInverse(), settings, torch_stream("a"))
    path, actions, _, ended = forwards(starts)
    known = set(map(tuple, np.c_[system.observations, system.actions]))
    assert path.shape[1] == back.sizes["horizon"] + 1
    assert {*map(tuple, np.c_[path[:, 0], actions[:, 0]])} <= known
    assert not ended.any()
    pairs, actions, rewards, ended = backwards(starts)
    assert pairs.shape == (len(starts) * back.sizes["horizon"], 2, 2)
    nearest = slice(None, None, back.sizes["horizon"])
    known = set(map(tuple, np.c_[system.next_observations, system.actions]))
    assert {*map(tuple, np.c_[pairs[nearest, 1], actions[nearest, 0]])} <= known
    later, before = pairs[1:, 1], pairs[:-1, 0]
    inside = np.arange(len(before)) % back.sizes["horizon"] != back.sizes["horizon"] - 1
    np.testing.assert_array_equal(later[inside], before[inside])
    assert not ended.any()
    assert np.isfinite(rewards).mean() > 0.9

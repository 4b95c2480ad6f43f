"""Windows and returns-to-go, compared with direct sums and with values computed by hand."""

import numpy as np
import pytest
import torch

from stages.common.transitions import return_to_go, steps_left
from stages.world_model.windows import Windows


def test_return_to_go_is_the_discounted_sum_of_the_rest_of_the_trajectory(episodes):
    returns = return_to_go(episodes.rewards, episodes.episode, 0.9)
    for t in range(len(episodes)):
        rest = episodes.rewards[t:][episodes.episode[t:] == episodes.episode[t]].astype(np.float64)
        assert returns[t] == pytest.approx(sum(0.9**k * reward for k, reward in enumerate(rest)), abs=1e-12)


def test_steps_left_counts_down_to_one_at_each_end():
    assert steps_left(np.array([0, 0, 0, 1, 2, 2])).tolist() == [3, 2, 1, 1, 2, 1]


def test_a_window_holds_transitions_of_a_single_episode(episodes, device):
    windows = Windows(episodes, 5, 0.99, 10.0, False, device)
    steps, exists = windows(torch.arange(len(episodes)))
    for t in range(len(episodes)):
        own = [k for k in range(t, min(t + 5, len(episodes))) if episodes.episode[k] == episodes.episode[t]]
        assert exists[t].tolist() == [True] * len(own) + [False] * (5 - len(own))
        np.testing.assert_array_equal(steps[t, : len(own), 0], episodes.rewards[own])
        np.testing.assert_array_equal(steps[t, : len(own), 1:], episodes.next_observations[own])


def test_terminal_states_are_in_training_windows(episodes, device):
    windows = Windows(episodes, 4, 0.99, 10.0, False, device)
    steps, exists = windows(torch.arange(len(episodes)))
    states = steps[exists][:, 1:]
    for terminal in episodes.next_observations[episodes.discounts == 0]:
        # as the last of 1, 2 and 3 steps; of 4 as well in an episode of four steps or more
        assert (states == torch.from_numpy(terminal)).all(1).sum() >= 3


def test_the_optional_terminal_channel_marks_where_tasks_end(episodes, device):
    steps, exists = Windows(episodes, 4, 0.99, 10.0, True, device)(torch.arange(len(episodes)))
    assert steps.shape == (len(episodes), 4, 1 + 1 + 3)
    ends = steps[..., 1] * exists
    assert set(ends.unique().tolist()) == {0.0, 1.0}
    for t in range(len(episodes)):
        own = [k for k in range(t, min(t + 4, len(episodes))) if episodes.episode[k] == episodes.episode[t]]
        np.testing.assert_array_equal(ends[t, : len(own)], episodes.discounts[own] == 0)


def test_returns_are_divided_by_the_task_s_scale(episodes, device):
    windows = Windows(episodes, 2, 0.99, 400.0, False, device)
    expected = return_to_go(episodes.rewards, episodes.episode, 0.99) / 400
    np.testing.assert_allclose(windows.returns.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_a_horizon_longer_than_every_episode_is_refused(episodes, device):
    with pytest.raises(
        SystemExit, match=r"params.yaml: horizon = 13 exceeds the longest episode of the data, 12 steps"
    ):
        Windows(episodes, 13, 0.99, 1.0, False, device)

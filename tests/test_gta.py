"""GTA on a linear system: how much of a real window is left, and what the amplified return does."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.baselines.gta.__main__ import amplified, levels, window_sampler
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.world_model import train as diffusion
from tests.test_joint import LENGTH, TASK, A, B, small, system

__all__ = ["system"]  # the fixture


@pytest.fixture(scope="module")
def trained(params, system: Transitions):
    return diffusion.train(system, "linear", TASK, 0, small(params), torch.device("cpu"), joint=True)[0]


def made(params, trained, system, noise: float, amplification: float = 1.0, guidance: float = 1.0, starts=None):
    """Windows from rows of the data, and those rows."""
    starts = torch.arange(0, len(system), 3) if starts is None else starts
    sampler = params.sampler.model_copy(update={"steps": 12, "guidance": guidance})
    settings = SimpleNamespace(noise=noise, amplification=amplification)
    given = params.model_copy(update={"sampler": sampler, "gta": settings})
    return starts.numpy(), *window_sampler(system, TASK, trained, given, torch_stream("gta"))(starts)


def test_little_noise_gives_the_real_windows_back_and_much_noise_windows_of_their_own(params, trained, system):
    whole = {}
    for noise in (0.05, 0.5, 20.0):
        starts, states, actions, rewards, ended = made(params, trained, system, noise)
        begins = np.minimum(starts, starts - starts % LENGTH + LENGTH - 3)
        rows = begins[:, None] + np.arange(3)
        np.testing.assert_array_equal(states[:, 0], system.observations[begins])
        np.testing.assert_array_equal(actions[:, 0], system.actions[begins])
        later = actions[:, 1:].ravel(), system.actions[rows[:, 1:]].ravel()
        whole[noise] = np.corrcoef(*later)[0, 1]
        error = np.abs(states[:, 1:] - states[:, :-1] @ A.T - actions @ B.T)
        assert np.median(error) < 0.05 * system.observations.std()
        assert not ended.any()
        assert np.isfinite(rewards).all()
    assert whole[0.05] > 0.95
    assert whole[0.05] > whole[0.5] > whole[20.0]
    assert whole[20.0] < 0.75


def test_an_amplified_return_is_followed(params, trained, system):
    """Later rewards rise with the return asked for; the first is the data's, since state and action are."""
    ranked = [
        np.mean(made(params, trained, system, 20.0, amplification, guidance=2.0)[3][:, 1:])
        for amplification in (1.0, 3.0)
    ]
    assert ranked[1] > ranked[0]


def test_returns_are_amplified_for_the_better_whatever_their_sign():
    returns = torch.tensor([2.0, 0.0, -2.0])
    assert amplified(returns, 1.3).tolist() == pytest.approx([2.6, 0.0, -1.4])


def test_windows_stay_within_their_episode(params, trained, system):
    """The last row of an episode begins its window two rows earlier; an episode of two steps has one step too few."""
    last = torch.tensor([LENGTH - 1, 2 * LENGTH - 2])
    _, states, *_ = made(params, trained, system, 2.4, starts=last)
    np.testing.assert_array_equal(states[:, 0], system.observations[[LENGTH - 3, 2 * LENGTH - 3]])
    short = system.rows(np.isin(np.arange(len(system)), [0, 1, *range(LENGTH, 2 * LENGTH)]))
    short.episode[:] = [0, 0, *[1] * LENGTH]
    _, _, _, rewards, _ = made(params, trained, short, 2.4, starts=torch.tensor([0, 1, 2]))
    assert np.isnan(rewards).tolist() == [[False, False, True]] * 2 + [[False] * 3]


def test_the_cost_counts_the_levels_that_are_used(params, trained):
    for noise in (0.05, 2.4, 100.0):
        seen, sampler = [], params.sampler.model_copy(update={"method": "ddim", "steps": 12, "guidance": 1.0})
        given = torch.zeros(2, 2), torch.zeros(2, 1), torch.zeros(2)
        denoise = trained.process.denoise
        trained.process.denoise = lambda *each: seen.append(1) or denoise(*each)  # noqa: B023
        trained.sample(*given, sampler, torch_stream("a"), (torch.zeros(2, 3, trained.step), noise))
        del trained.process.denoise
        assert levels(trained, sampler, noise) == len(seen)

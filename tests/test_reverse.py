"""The reverse model on a linear Gaussian system, where p(s | s', a) and p(a | s') are known in closed form."""

import numpy as np
import pytest
import torch

from stages.baselines.reverse.rollout import rollout
from stages.baselines.reverse.train import train
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.synthetic_data.backwards import single_steps
from stages.synthetic_data.bounds import Bounds
from stages.synthetic_data.complete import to_transitions

A, B, K = np.array([[0.9, 0.2], [-0.2, 0.8]]), np.array([[0.3], [-0.4]]), np.array([[0.1, -0.15]])
ACTION_NOISE, STATE_NOISE, ROWS, LENGTH = 0.2, 0.15, 8000, 20
SPREAD = np.diag([0.8, 0.5]) ** 2  # covariance of the states


@pytest.fixture(scope="module")
def system() -> Transitions:
    """s ~ N(0, SPREAD), a = K s + noise, s' = A s + B a + noise, r = s₀; every row is drawn by itself."""
    rng = np.random.default_rng(0)
    states = rng.multivariate_normal(np.zeros(2), SPREAD, ROWS)
    actions = states @ K.T + ACTION_NOISE * rng.standard_normal((ROWS, 1))
    following = states @ A.T + actions @ B.T + STATE_NOISE * rng.standard_normal((ROWS, 2))
    columns = states, actions.clip(-1, 1), states[:, 0], following, np.full(ROWS, 0.99)
    episode, last = np.divmod(np.arange(ROWS, dtype=np.int32), LENGTH)
    return Transitions(*(column.astype(np.float32) for column in columns), episode, last == LENGTH - 1)


@pytest.fixture(scope="module")
def model(params, system):
    changes = {"hidden": [64, 64], "steps": 1500, "batch": 256, "learning_rate": 0.003}
    return train(system, "linear", 0, params.reverse.dynamics.model_copy(update=changes), torch.device("cpu"))


def conditional(wanted: slice, given: slice) -> tuple[np.ndarray, np.ndarray]:
    """The matrix M and covariance C with x | y ~ N(M y, C), for parts of (s, a, s')."""
    action = np.c_[K, np.eye(1), np.zeros((1, 2))]  # of (s, action noise, state noise)
    rows = np.r_[np.c_[np.eye(2), np.zeros((2, 3))], action, np.c_[A + B @ K, B, np.eye(2)]]
    noise = np.diag([*np.diag(SPREAD), ACTION_NOISE**2, *[STATE_NOISE**2] * 2])
    covariance = rows @ noise @ rows.T
    matrix = covariance[wanted, given] @ np.linalg.inv(covariance[given, given])
    return matrix, covariance[wanted, wanted] - matrix @ covariance[given, wanted]


STATE, ACTION, PAIR, NEXT = slice(0, 2), slice(2, 3), slice(2, 5), slice(3, 5)


def test_the_state_before_has_the_mean_and_covariance_of_its_posterior(model, system):
    matrix, covariance = conditional(STATE, PAIR)
    rows = np.random.default_rng(1).integers(len(system), size=20_000)
    following, actions = (torch.from_numpy(part[rows]) for part in (system.next_observations, system.actions))
    rewards, _, before, _ = model.step(following, actions, torch_stream("a"))
    given = np.c_[actions, following]
    slopes = np.linalg.lstsq(given, before.numpy(), rcond=None)[0]
    np.testing.assert_allclose(slopes.T, matrix, atol=0.05)
    error = before.numpy() - given @ matrix.T
    np.testing.assert_allclose(np.cov(error.T), covariance, atol=0.12 * np.trace(covariance))
    assert np.corrcoef(rewards, given @ matrix[0])[0, 1] > 0.9  # the reward is s₀


def test_the_reverse_policy_proposes_the_actions_that_lead_to_a_state(model, system):
    matrix, covariance = conditional(ACTION, NEXT)
    rows = np.random.default_rng(1).integers(len(system), size=20_000)
    following = system.next_observations[rows]
    actions = model.behave(torch.from_numpy(following), torch_stream("a")).numpy()
    np.testing.assert_allclose(np.linalg.lstsq(following, actions, rcond=None)[0].T, matrix, atol=0.05)
    assert (actions - following @ matrix.T).std() == pytest.approx(np.sqrt(covariance[0, 0]), rel=0.15)


@pytest.mark.parametrize("policy", ["cloned", "uniform"])
def test_rollouts_end_in_the_states_given_and_go_back_from_one_to_the_next(model, policy):
    states = torch.randn(500, 2, generator=torch.Generator().manual_seed(0)) * 0.5
    path, actions, rewards = rollout(model, states, 3, policy, torch_stream("a"))
    assert path.shape == (500, 4, 2)
    assert actions.shape == (500, 3, 1)
    np.testing.assert_array_equal(path[:, 0], states)
    spread = actions.std() / (1 / np.sqrt(3))
    assert spread == pytest.approx(1, abs=0.05) if policy == "uniform" else spread < 0.7
    errors = [path[:, h] - path[:, h + 1] @ A.T - actions[:, h] @ B.T for h in range(3)]
    if policy == "cloned":
        for error in errors:
            assert np.abs(error).mean() < 2 * STATE_NOISE  # the dynamics hold, though the model was trained backwards
    assert np.abs(rewards - path[:, 1:, 0]).mean() < 0.4


class Everything(Bounds):
    """Bounds of (-9, 9)."""

    def __init__(self):
        self.states, self.rewards = (np.full(1, -9.0), np.full(1, 9.0)), (-9.0, 9.0)


def test_steps_further_back_than_one_left_out_are_left_out_and_no_path_leads_on_from_an_end():
    path = np.array([[1, 2, 3, 4], [1, 99, 3, 4], [1, 2, -3, 4], [-1, 2, 3, 4]], dtype=np.float32)[..., None]
    actions = np.arange(12, dtype=np.float32).reshape(4, 3, 1) / 100
    rewards = np.ones((4, 3), dtype=np.float32)
    windows = single_steps(path, actions, rewards, np.zeros(4, bool), lambda states: states[..., 0] > 0, Everything())
    columns, counts = to_transitions(*windows, 0.9, Everything())
    steps = np.c_[columns["observations"], columns["next_observations"], columns["discounts"]]
    whole = [[2, 1, 0.9], [3, 2, 0.9], [4, 3, 0.9]]
    ended = [[2, -1, 0.0], [3, 2, 0.9], [4, 3, 0.9]]
    np.testing.assert_allclose(steps, [*whole, [2, 1, 0.9], [-3, 2, 0.9], *ended], rtol=1e-6)
    assert counts["dropped"] == 3 + 1
    np.testing.assert_allclose(columns["actions"][:, 0], np.array([0, 1, 2, 6, 7, 9, 10, 11]) / 100, rtol=1e-6)


def test_without_a_rule_the_data_say_whether_the_task_ended_in_the_real_state():
    path, ends = np.ones((2, 3, 1), dtype=np.float32), np.array([True, False])
    *_, ended = single_steps(path, np.zeros((2, 2, 1)), np.zeros((2, 2)), ends, None, Everything())
    assert ended.ravel().tolist() == [True, False, False, False]

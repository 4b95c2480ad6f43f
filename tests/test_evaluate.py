"""Evaluation: batched episodes equal single ones, and each seed has its own episode starts."""

from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.common.rng import numpy_stream, seed_of
from stages.evaluate import rollout
from stages.evaluate.__main__ import result
from stages.evaluate.rollout import episodes
from stages.policy.acting import policy_of
from stages.policy.policies import save, save_absent
from stages.policy.trainer import train
from stages.report.statistics.bootstrap import estimate, resample
from stages.tasks.simulator import make
from stages.tasks.tasks import Task, gym_mujoco
from tests.conftest import settings_for


def test_batched_episodes_equal_single_ones(params, device, collected_hopper):
    settings = settings_for(params.policy, params.bc, "hopper-medium")
    policies = train(collected_hopper, None, ("hopper-medium", "real", "bc"), settings, 2, device)
    names, task = ("evaluate", "hopper-medium"), gym_mujoco("hopper")
    policy = policy_of(policies, "bc", settings, slice(-1, None))
    returns, lengths = episodes(task, policy, 1, 2, 2, policies["mean"], policies["std"], names)
    assert len(np.unique(returns)) == 4
    for learner in range(2):
        for k in range(2):
            env, total, steps = make(task.environment), 0.0, 0
            state, _ = env.reset(seed=seed_of(*names, learner, k) % 2**31)
            ended = False
            while not ended:
                x = (torch.from_numpy(state.astype(np.float32)) - policies["mean"]) / policies["std"]
                for layer in range(3):
                    weight, bias = (
                        policies[f"actor.body.layers.{layer}.{part}"][-1, learner] for part in ("weight", "bias")
                    )
                    x = x @ weight + bias[0]
                    x = x.relu() if layer < 2 else x.tanh()
                state, reward, terminated, truncated, _ = env.step(x.numpy())
                total, steps, ended = total + reward, steps + 1, terminated or truncated
            assert lengths[learner, k] == steps
            np.testing.assert_allclose(returns[learner, k], total, rtol=1e-3)


class ReturnOfTheStart:
    """A stub environment of one step, whose reward depends on the seed of its start alone."""

    def reset(self, seed: int):
        self.reward = np.random.default_rng(seed).uniform()
        return np.zeros(3), {}

    def step(self, action):
        return np.zeros(3), self.reward, True, False, {}

    def close(self):
        pass


SEEDS = 6


@pytest.fixture
def play(monkeypatch, tmp_path):
    """Returns a function that evaluates a cell in the stub environment; each cell has other random policies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rollout, "make", lambda environment: ReturnOfTheStart())
    Task({"id": "Stub-v0"}, 10, 1.0, (0.0, 1.0)).save("stub")

    def evaluate(method: str, algorithm: str, episodes: int = 4, snapshots: int = 3) -> dict:
        rng = numpy_stream("test", method, algorithm)
        shapes = {"weight": (snapshots, SEEDS, 3, 2), "bias": (snapshots, SEEDS, 1, 2)}
        policies = {
            f"actor.body.layers.0.{name}": torch.from_numpy(rng.standard_normal(shape)).float()
            for name, shape in shapes.items()
        }
        policies |= {"steps": torch.arange(snapshots), "generators": torch.full([SEEDS], -1)}
        policies |= {"mean": torch.zeros(3), "std": torch.ones(3)}
        save(policies, algorithm, SimpleNamespace(), f"models/stub/{method}-{algorithm}.safetensors")
        evaluation = SimpleNamespace(episodes=episodes, curve_episodes=episodes)
        cell = Namespace(dataset="stub", method=method, algorithm=algorithm)
        return result(cell, SimpleNamespace(source="local", evaluate=evaluation))

    return evaluate


def test_each_seed_has_its_own_episode_starts_shared_by_methods_algorithms_and_snapshots(play):
    one, other = play("real", "bc"), play("dawm", "iql")
    returns = np.array([entry["returns"] for entry in one["seeds"]])
    assert len(np.unique(returns)) == returns.size == SEEDS * 4
    np.testing.assert_array_equal([entry["returns"] for entry in other["seeds"]], returns)
    assert one["passes"] == 1
    assert len(one["curve"]) == 2
    for point in one["curve"]:
        np.testing.assert_array_equal(point["scores"], 100 * returns)


def test_intervals_over_seeds_include_the_randomness_of_the_starts(play):
    """With the same starts for all seeds these scores would not differ, and the interval would have no width."""
    scores = np.array([np.mean(entry["scores"]) for entry in play("real", "bc")["seeds"]])
    cell = estimate(scores, resample(("stub", "real"), SEEDS, None, np.random.default_rng(0), 500), 0.95)
    assert cell.low < cell.mean < cell.high
    assert cell.high - cell.low > 0.5 * scores.std()


def test_a_cell_without_policies_has_the_reason_as_its_result(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    save_absent("n/a", "it cannot", "models/stub/dawm-rsp.safetensors")
    cell = {"dataset": "stub", "method": "dawm", "algorithm": "rsp"}
    assert result(Namespace(**cell), None) == {**cell, "absent": {"shown": "n/a", "reason": "it cannot"}}


class Drift:
    """A stub environment of four steps, whose reward is the action."""

    def reset(self, seed: int):
        self.left = 4
        return np.zeros(3), {}

    def step(self, action):
        self.left -= 1
        return np.zeros(3), float(action[0]), not self.left, False, {}

    def close(self):
        pass


def test_the_score_is_the_last_snapshot_s_and_the_curve_has_the_earlier_ones(monkeypatch, tmp_path):
    """Policies that always take the same action, another one for each snapshot and seed, which is their reward."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rollout, "make", lambda environment: Drift())
    Task({"id": "Stub-v0"}, 10, 1.0, (0.0, 4.0)).save("stub")
    actions = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    layer = {"weight": torch.zeros(3, 2, 3, 1), "bias": actions.atanh()[..., None, None]}
    policies = {f"actor.body.layers.0.{name}": part for name, part in layer.items()}
    policies |= {"steps": torch.tensor([5, 10, 12]), "generators": torch.tensor([3, 4])}
    policies |= {"mean": torch.zeros(3), "std": torch.ones(3)}
    save(policies, "bc", SimpleNamespace(), "models/stub/dawm-bc.safetensors")
    evaluation = SimpleNamespace(episodes=3, curve_episodes=2)
    cell = Namespace(dataset="stub", method="dawm", algorithm="bc")
    record = result(cell, SimpleNamespace(source="local", evaluate=evaluation))
    np.testing.assert_allclose([seed["scores"] for seed in record["seeds"]], [[50] * 3, [60] * 3], rtol=1e-6)
    assert [(seed["seed"], seed["generator"]) for seed in record["seeds"]] == [(0, 3), (1, 4)]
    assert (record["steps"], [point["step"] for point in record["curve"]]) == (12, [5, 10])
    curve = [point["scores"] for point in record["curve"]]
    np.testing.assert_allclose(curve, [[[10] * 2, [20] * 2], [[30] * 2, [40] * 2]], rtol=1e-6)


@pytest.mark.parametrize("how", ["terminated", "truncated"])
def test_an_episode_ends_with_its_task_or_its_time(monkeypatch, how):
    class Ending(Drift):
        def step(self, action):
            *seen, over, _, facts = super().step(action)
            return *seen, over and how == "terminated", over and how == "truncated", facts

    monkeypatch.setattr(rollout, "make", lambda environment: Ending())
    arguments = torch.zeros(3), torch.ones(3), ("evaluate", "stub")
    _, lengths = episodes(Task({}, 10, 1.0, None), Remembering(), 1, 2, 3, *arguments)
    assert (lengths == 4).all()


class Remembering:
    """Acts by its noise, plus 10 for every step that it remembers."""

    noise = 1

    def __call__(self, states, noise, memory):
        memory = 0 if memory is None else memory + 1
        return noise + 10 * memory, memory


def test_stochastic_policies_get_the_same_noise_for_the_same_seed_and_episode_and_keep_their_memory(monkeypatch):
    monkeypatch.setattr(rollout, "make", lambda environment: Drift())
    monkeypatch.setattr(rollout, "CHUNK", 3)  # an episode needs two chunks of noise

    def played(snapshots: int, seeds: int, count: int) -> np.ndarray:
        arguments = torch.zeros(3), torch.ones(3), ("evaluate", "stub")
        returns, _ = episodes(Task({}, 10, 1.0, None), Remembering(), snapshots, seeds, count, *arguments)
        return returns.reshape(snapshots, seeds, count)

    returns = played(2, 3, 4)
    expected = [
        [numpy_stream("evaluate", "stub", s, e, "actions").standard_normal((4, 1), np.float32) for e in range(4)]
        for s in range(3)
    ]
    np.testing.assert_allclose(returns[0], np.sum(expected, axis=(2, 3)) + 10 * (1 + 2 + 3), rtol=1e-5)
    np.testing.assert_array_equal(returns[0], returns[1])
    np.testing.assert_array_equal(played(1, 2, 2)[0], returns[0, :2, :2])

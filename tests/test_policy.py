"""Training policies: random streams, batches, snapshots, checkpoints, divergence; the same for every algorithm on the
shelf.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import torch
import yaml

from stages.common.algorithm_settings import settings_for
from stages.common.capture import WARM_UP
from stages.common.checkpoint import Checkpoint, code
from stages.common.schema import shelf
from stages.common.transitions import Transitions
from stages.policy import trainer
from stages.policy.batches import Batches, following_actions
from stages.policy.policies import load, save
from stages.policy.trainer import complain, snapshot_steps, train
from stages.policy.updates import CHUNK
from tests.conftest import ROOT, overlaid

ALGORITHMS = shelf("algorithms")


def settings_of(params, algorithm, **changes):
    settings = settings_for(params.policy, getattr(params, algorithm), "hopper-medium")
    vars(settings).update(changes)
    return settings


def names(algorithm):
    return "hopper-medium", "dawm", algorithm


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def synthetic(episodes):
    """Two generators' rows, told from each other and from real ones by their rewards: 100 and 200."""
    n = 30
    rows = {
        name: getattr(episodes, name)[: 2 * n] for name in ("observations", "actions", "next_observations", "discounts")
    }
    generator = np.repeat(np.arange(2, dtype=np.int8), [n - 10, n + 10])
    return Transitions(
        **rows, rewards=100 * (1 + generator).astype(np.float32), generator=generator, real_fraction=np.float32(0.25)
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_seed_s_policy_does_not_depend_on_its_company(params, episodes, synthetic, device, algorithm):
    settings = settings_of(params, algorithm)
    alone, together, again = (
        train(episodes, synthetic, names(algorithm), settings, seeds, 20, device) for seeds in (1, 10, 10)
    )
    for name, tensor in alone.items():
        if name.startswith("actor"):
            torch.testing.assert_close(together[name][:, :1], tensor, rtol=1e-4, atol=1e-6)
            assert not torch.equal(together[name][:, 1:2], tensor)
    assert equal(together, again)


def test_batches_hold_the_stated_share_of_real_rows_and_each_learner_s_own_generator(
    params, episodes, synthetic, device
):
    batches = Batches(episodes, episodes, synthetic, 3, settings_of(params, "bc", batch=40), False, device)
    assert batches.generators == [0, 1, 0]
    seen = [batches(torch.rand(3, 40, dtype=torch.float64)).rewards for _ in range(50)]
    for learner, own in enumerate([100, 200, 100]):
        rewards = torch.stack(seen)[:, learner]
        assert (rewards[:, :10].abs() < 50).all()  # a quarter real
        assert (rewards[:, 10:] == own).all()


def test_every_row_can_be_drawn_and_states_are_normalised_by_the_real_data(params, episodes, device):
    settings = settings_of(params, "bc", batch=len(episodes))
    batches = Batches(episodes, episodes, None, 1, settings, False, device)
    batch = batches(((torch.arange(len(episodes)) + 0.5) / len(episodes))[None].double())
    mean, std = episodes.observations.mean(0), episodes.observations.std(0) + 1e-3
    np.testing.assert_allclose(batch.states[0], (episodes.observations - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch.next_states[0], (episodes.next_observations - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch.actions[0], episodes.actions)
    np.testing.assert_array_equal(batch.rewards[0], episodes.rewards)
    np.testing.assert_array_equal(batch.discounts[0], episodes.discounts)
    assert (
        batches(torch.full((1, len(episodes)), 1 - 2**-53, dtype=torch.float64)).rewards[0, 0] == episodes.rewards[-1]
    )


def test_rewards_are_scaled_and_shifted_and_bound_the_return(params, episodes, device):
    returns = [episodes.rewards[episodes.episode == e].sum() for e in range(40)]
    every_row = ((torch.arange(len(episodes)) + 0.5) / len(episodes))[None].double()
    for reward_scale, factor in ((3.0, 3.0), ("returns", 1000 / (max(returns) - min(returns)))):
        settings = settings_of(params, "iql", batch=len(episodes), reward_scale=reward_scale, reward_shift=-1.0)
        batches = Batches(episodes, episodes, None, 1, settings, False, device)
        rewards = batches(every_row).rewards[0]
        np.testing.assert_allclose(rewards, episodes.rewards * factor - 1, rtol=1e-5, atol=1e-5)
        largest = (np.abs(rewards.numpy()) / np.where(episodes.discounts == 0, 1, 0.01)).max()
        assert batches.largest_return == pytest.approx(largest, rel=1e-3)


def test_states_stay_as_they_are_where_the_settings_say_so(params, episodes, device):
    batches = Batches(episodes, episodes, None, 1, settings_of(params, "rebrac"), True, device)
    assert batches.mean.eq(0).all()
    assert batches.std.eq(1).all()
    torch.testing.assert_close(batches.rows[:, :3], torch.from_numpy(episodes.observations))


def test_next_actions_are_the_next_row_s_within_an_episode_and_unknown_at_its_end(params, episodes, device):
    batches = Batches(episodes, episodes, None, 1, settings_of(params, "rebrac", batch=len(episodes)), True, device)
    batch = batches(((torch.arange(len(episodes)) + 0.5) / len(episodes))[None].double())
    last = np.append(np.diff(episodes.episode) > 0, True)
    np.testing.assert_array_equal(batch.next_known[0], ~last)
    np.testing.assert_array_equal(batch.next_actions[0][:-1][~last[:-1]], episodes.actions[1:][~last[:-1]])
    shuffled = episodes.rows(np.arange(len(episodes)) % 2 == 0)
    assert not following_actions(shuffled)[1].any()


def test_a_policy_is_kept_every_so_often_and_at_the_end():
    assert snapshot_steps(10, 4) == [4, 8, 10]
    assert snapshot_steps(9, 3) == [3, 6, 9]
    assert snapshot_steps(3, 10) == [3]


def test_policies_survive_their_file(params, episodes, device, tmp_path):
    policies = train(episodes, None, names("bc"), settings_of(params, "bc"), 2, 20, device)
    save(policies, tmp_path / "p.safetensors")
    assert equal(policies, load(tmp_path / "p.safetensors"))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_resumed_from_a_checkpoint_ends_with_the_same_bytes(
    params, episodes, synthetic, device, algorithm, tmp_path, monkeypatch
):
    """Stopped in the first chunk of random numbers, at the end of one, and in a later one."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    settings = settings_of(params, algorithm, steps=CHUNK * 2 + 40)
    whole = train(episodes, synthetic, names(algorithm), settings, 2, 20, device)
    for stop in (20, CHUNK, CHUNK + 60):
        checkpoint = Checkpoint(f"test {algorithm} {stop}", vars(settings), [], device)
        save_checkpoint = checkpoint.save

        def save_and_die(name, content, save_checkpoint=save_checkpoint, stop=stop):
            save_checkpoint(name, content)
            if name == "state" and content["done"] == stop:
                raise KeyboardInterrupt

        checkpoint.save = save_and_die
        with pytest.raises(KeyboardInterrupt):
            train(episodes, synthetic, names(algorithm), settings, 2, 20, device, checkpoint)
        checkpoint.save = save_checkpoint
        assert checkpoint.load("state")["done"] == stop
        assert equal(train(episodes, synthetic, names(algorithm), settings, 2, 20, device, checkpoint), whole)


def run(folder, *more):
    command = [sys.executable, "-m", "stages.policy", "--dataset", "hopper-medium", "--method", "real", *more]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_ROOT": str(folder)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def test_a_stage_killed_at_any_moment_goes_on_from_its_last_checkpoint(tiny_params, episodes, tmp_path):
    """SIGKILL, twice; the policies are those of an uninterrupted run to the byte, and no checkpoint stays behind."""
    changes = {"policy": {"steps": 1800, "hidden": [64, 64]}, "evaluate": {"every": 150}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(tiny_params, changes)))
    episodes.save(tmp_path / "data/hopper-medium/real.npz")
    model, more = tmp_path / "models/hopper-medium/real-td3bc.safetensors", ("--algorithm", "td3bc")
    whole = run(tmp_path, *more)
    assert whole.wait(300) == 0, whole.stderr.read()
    expected = model.read_bytes()
    model.unlink()
    assert not list((tmp_path / ".checkpoints").iterdir())
    seen = 0
    for kills in range(2):
        process, deadline = run(tmp_path, *more), time.monotonic() + 120
        while (
            len(files := list(tmp_path.glob(".checkpoints/*/policy-*.pt"))) < seen + 2 and time.monotonic() < deadline
        ):
            time.sleep(0.005)
        process.kill()
        told = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL
        assert ("goes on after update" in told) == (kills > 0)
        assert seen < len(files) < 12
        seen = len(list(tmp_path.glob(".checkpoints/*/policy-*.pt")))
    last = run(tmp_path, *more)
    assert last.wait(300) == 0
    assert "goes on after update" in last.stderr.read()
    assert model.read_bytes() == expected
    assert not list((tmp_path / ".checkpoints").iterdir())


def test_a_checkpoint_of_other_parameters_inputs_code_or_device_is_never_found(tmp_path, monkeypatch, device):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    data, module = tmp_path / "data.npz", tmp_path / "module.py"
    data.write_bytes(b"one")
    module.write_text("one")
    monkeypatch.setattr("stages.common.checkpoint.code", lambda: [module])

    def found(name="policy", params=(1, 2.5), on=device):
        return Checkpoint(name, params, [data], on).load("state")

    Checkpoint("policy", (1, 2.5), [data], device).save("state", {"done": torch.tensor(3)})
    assert found()["done"] == 3
    assert found("policy of another cell") is None
    assert found(params=(1, 2.6)) is None
    assert found(on=torch.device("meta")) is None
    for path in (data, module):
        path.write_bytes(b"two")
        assert found() is None
        path.write_bytes(b"one")
    monkeypatch.setattr(torch, "__version__", "0.1")
    assert found() is None


def test_the_code_of_a_checkpoint_is_what_the_stage_imports():
    names = {str(path.relative_to(ROOT)) for path in code()}
    assert {"stages/policy/updates.py", "stages/common/transitions.py", "stages/common/checkpoint.py"} <= names
    assert all(name.startswith("stages/") for name in names)


def test_a_damaged_checkpoint_is_told_in_one_line(tmp_path, monkeypatch, device):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    checkpoint = Checkpoint("policy", (), [], device)
    checkpoint.save("state", {"done": torch.zeros(100)})
    path = checkpoint.folder / "state.pt"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SystemExit, match=r"state\.pt: a damaged checkpoint, delete its folder: [^\n]+$"):
        checkpoint.load("state")


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_compiled_and_captured_updates_are_the_plain_ones(params, episodes, synthetic, device, algorithm, monkeypatch):
    """The path that CUDA takes, with the losses compiled for the CPU and a stand-in for the graph, which like a graph
    runs nothing while it captures, and is given nothing when it is replayed.
    """
    replayed = Counter()

    def capture(function):
        def replay():
            replayed[function.args] += 1
            function()

        return replay

    settings = settings_of(params, algorithm, steps=CHUNK + 30)
    plain = train(episodes, synthetic, names(algorithm), settings, 2, 65, device)

    def begin(*arguments):
        updates = trainer_begin(*arguments)
        for kind in updates.kinds:
            kind.capture = capture
        return updates

    trainer_begin = trainer.begin
    monkeypatch.setattr(trainer, "begin", begin)
    vars(settings).update(compile=algorithm not in ("bc", "bc10"))  # theirs is a part of the others'
    compiled = train(episodes, synthetic, names(algorithm), settings, 2, 65, device)
    period = 2 if algorithm in ("td3bc", "rebrac") else 1
    assert sum(replayed.values()) == CHUNK + 30 - WARM_UP * period
    assert set(replayed) == {(phase,) for phase in range(period)}
    for name, tensor in plain.items():
        torch.testing.assert_close(compiled[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ({"critic_loss": [1.0, float("nan")], "q": [1.0, 1.0]}, "seed 1 diverged: critic_loss is not finite"),
        ({"critic_loss": [1.0, 1.0], "q": [7e5, 1.0]}, r"seed 0 diverged: q is larger than 6e\+05, policy.max_q times"),
        ({"critic_loss": [1.0, 1.0], "q": [1.0, float("inf")]}, "seed 1 diverged: q is not finite"),
    ],
)
def test_a_diverged_learner_ends_the_stage_with_cell_seed_step_and_losses(losses, told):
    losses = {name: torch.tensor(values) for name, values in losses.items()}
    with pytest.raises(SystemExit, match=rf"^policy a b c: {told}.* at step 700; losses by seed: {{'critic_loss'"):
        complain(losses, 6e5, "policy a b c", 700)
    complain({"critic_loss": torch.tensor([1e9]), "q": torch.tensor([5e5])}, 6e5, "", 1)


def test_a_learner_that_diverges_while_it_trains_ends_the_stage(params, episodes, device):
    settings = settings_of(params, "td3bc", learning_rate=10.0, tau=1.0, steps=1000)
    with pytest.raises(SystemExit, match=r"policy hopper-medium real td3bc: seed \d diverged: .* at step 100;"):
        train(episodes, None, ("hopper-medium", "real", "td3bc"), settings, 2, 1000, device)

"""Policy training, the same for every algorithm: random streams, batches, snapshots, checkpoints and divergence."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml

from stages.algorithms import iql
from stages.algorithms.rebrac import following_actions
from stages.check import algorithms
from stages.check.__main__ import main as check_main
from stages.common.checkpoint import Checkpoint, code
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.policy.__main__ import main as policy_main
from stages.policy.batches import Batches
from stages.policy.policies import load, save
from stages.policy.trainer import Diverged, build_updates, check_divergence, snapshot_steps, train
from stages.policy.updates import CHUNK
from stages.tasks.tasks import gym_mujoco
from tests.conftest import ROOT, SHORT, overlaid, settings_for

ALGORITHMS = algorithms.names()
VARIANTS = [*ALGORITHMS, "iql with dropout"]
DROPOUT = 0.3


def settings_of(params, variant, **changes):
    algorithm = variant.split()[0]
    settings = settings_for(params.policy, getattr(params, algorithm), "hopper-medium")
    own = {"iql with dropout": {"actor_dropout": DROPOUT}, "fql": {"flow_steps": 2}}  # more would compile for minutes
    vars(settings).update(own.get(variant, {}), **changes)
    return settings


def names(variant):
    return "hopper-medium", "dawm", variant.split()[0]


def made_by(variant, synthetic):
    """The synthetic data that the variant learns from: none if it takes real data alone."""
    return None if algorithms.real_only(variant.split()[0]) else synthetic


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def each_row(count: int) -> torch.Tensor:
    """Uniform draws that select every one of `count` rows once, in order."""
    return ((torch.arange(count) + 0.5) / count)[None].double()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_seed_s_policy_does_not_depend_on_the_number_of_seeds(params, episodes, synthetic, device, variant):
    settings = settings_of(params, variant)
    alone, together, again = (
        train(episodes, made_by(variant, synthetic), names(variant), settings, seeds, device) for seeds in (1, 10, 10)
    )
    for name, tensor in alone.items():
        if "." in name and not name.startswith("constant."):
            torch.testing.assert_close(together[name][:, :1], tensor, rtol=1e-4, atol=1e-6)
            assert not torch.equal(together[name][:, 1:2], tensor)
    assert equal(together, again)


def test_batches_hold_the_share_of_real_rows_and_each_learner_s_own_generator(params, episodes, synthetic, device):
    batches = Batches(episodes, episodes, synthetic, 3, settings_of(params, "bc", batch=39), None, device)
    assert batches.generators == [0, 1, 0]
    draws = [batches(torch.rand(3, 39, dtype=torch.float64)).rewards for _ in range(50)]
    for learner, reward in enumerate([100, 200, 100]):
        rewards = torch.stack(draws)[:, learner]
        assert (rewards[:, :10].abs() < 50).all()  # a quarter real, rounded
        assert (rewards[:, 10:] == reward).all()


def test_generators_need_not_be_numbered_from_zero(params, episodes, synthetic, device):
    numbered = synthetic.rows(np.ones(len(synthetic), dtype=bool))
    numbered.generator[:] = np.where(synthetic.generator == 0, 1, 3)
    batches = Batches(episodes, episodes, numbered, 3, settings_of(params, "bc", batch=40), None, device)
    assert batches.generators == [1, 3, 1]
    rewards = batches(torch.rand(3, 40, dtype=torch.float64)).rewards
    for learner, reward in enumerate([100, 200, 100]):
        assert (rewards[learner, 10:] == reward).all()


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_rows_beyond_2_to_the_24th_are_drawn_exactly(params, device):
    """float32 offsets would round 2²⁴ + 1 down to 2²⁴. The real columns have zero strides, so they take no memory."""
    count = 2**24 + 1

    def constant(value, *shape):
        return np.broadcast_to(np.float32(value), shape)

    real = Transitions(
        constant(1, count, 1), constant(0, count, 1), constant(0, count), constant(1, count, 1), constant(0.5, count)
    )
    rows = np.arange(6, dtype=np.float32)
    synthetic = Transitions(
        rows[:, None], 0 * rows[:, None], rows, rows[:, None], 0 * rows, generator=np.repeat(np.int8([1, 3]), [2, 4])
    )
    synthetic = Transitions(**synthetic.arrays(), real_fraction=np.float32(0))
    batches = Batches(real, real, synthetic, 2, settings_of(params, "bc", batch=4), None, device)
    assert batches.first.tolist() == [[count] * 4, [count + 2] * 4]
    assert batches(each_row(4).repeat(2, 1)).rewards.tolist() == [[0, 0, 1, 1], [2, 3, 4, 5]]


def test_every_row_can_be_drawn_and_states_are_normalised_by_the_real_data(params, episodes, device):
    settings = settings_of(params, "bc", batch=len(episodes))
    batches = Batches(episodes, episodes, None, 1, settings, None, device)
    batch = batches(each_row(len(episodes)))
    mean, std = episodes.observations.mean(0), episodes.observations.std(0) + 1e-3
    np.testing.assert_allclose(batch.states[0], (episodes.observations - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch.next_states[0], (episodes.next_observations - mean) / std, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(batch.actions[0], episodes.actions)
    np.testing.assert_array_equal(batch.rewards[0], episodes.rewards)
    np.testing.assert_array_equal(batch.discounts[0], episodes.discounts)
    largest_draw = torch.full((1, len(episodes)), 1 - 2**-53, dtype=torch.float64)
    assert batches(largest_draw).rewards[0, 0] == episodes.rewards[-1]


def test_rewards_are_scaled_and_shifted_and_bound_the_return(params, episodes, device):
    returns = [episodes.rewards[episodes.episode == e].sum() for e in range(40)]
    for reward_scale, factor in ((3.0, 3.0), ("returns", 1000 / (max(returns) - min(returns)))):
        settings = settings_of(params, "iql", batch=len(episodes), reward_scale=reward_scale, reward_shift=-1.0)
        batches = Batches(episodes, episodes, None, 1, settings, None, device)
        rewards = batches(each_row(len(episodes))).rewards[0]
        np.testing.assert_allclose(rewards, episodes.rewards * factor - 1, rtol=1e-5, atol=1e-5)
        largest = (np.abs(rewards.numpy()) / np.where(episodes.discounts == 0, 1, 0.01)).max()
        assert batches.largest_return == pytest.approx(largest, rel=1e-3)


def test_windows_follow_each_row_to_its_episode_s_end(params, episodes, device):
    settings = settings_of(params, "dd", batch=len(episodes))
    batches = Batches(episodes, episodes, None, 1, settings, None, device, horizon=7)
    window = batches(each_row(len(episodes))).window
    for row in (0, 1, len(episodes) // 2, len(episodes) - 2, len(episodes) - 1):
        same = np.flatnonzero(episodes.episode == episodes.episode[row])
        ahead = [min(row + k, same[-1]) for k in range(7)]
        np.testing.assert_array_equal(window.actions[0, row], episodes.actions[ahead])
        np.testing.assert_array_equal(window.exists[0, row], [row + k <= same[-1] for k in range(7)])
        following = window.next_states[0, row] * batches.std + batches.mean
        np.testing.assert_allclose(following, episodes.next_observations[ahead], rtol=1e-4, atol=1e-4)
    assert 0 < (window.exists == 0).sum() < window.exists.numel() / 2


def test_states_are_not_normalised_if_the_settings_say_so(params, episodes, device):
    batches = Batches(episodes, episodes, None, 1, settings_of(params, "rebrac"), following_actions, device)
    assert batches.mean.eq(0).all()
    assert batches.std.eq(1).all()
    torch.testing.assert_close(batches.rows[:, :3], torch.from_numpy(episodes.observations))


def test_next_actions_are_those_of_the_next_row_and_unknown_at_an_episode_s_end(params, episodes, device):
    batches = Batches(
        episodes, episodes, None, 1, settings_of(params, "rebrac", batch=len(episodes)), following_actions, device
    )
    batch = batches(each_row(len(episodes)))
    last = np.append(np.diff(episodes.episode) > 0, True)
    np.testing.assert_array_equal(batch.extra["next_known"][0, :, 0], ~last)
    np.testing.assert_array_equal(batch.extra["next_actions"][0][:-1][~last[:-1]], episodes.actions[1:][~last[:-1]])
    shuffled = episodes.rows(np.arange(len(episodes)) % 2 == 0)
    assert not following_actions(shuffled)["next_known"].any()


def test_without_dropout_updates_draw_uniforms_then_normals_and_nothing_else(params, episodes, device):
    updates = build_updates(episodes, None, names("iql"), settings_of(params, "iql"), 2, device)
    assert list(updates.chunk.numbers) == ["batch", "normals"]
    streams = [torch_stream(*names("iql"), seed, "updates") for seed in range(2)]
    for _ in range(2):
        updates.draw()
        for learner, stream in enumerate(streams):
            expected = torch.rand(CHUNK, 32, generator=stream, dtype=torch.float64)
            assert torch.equal(updates.chunk.numbers["batch"][:, learner], expected)
            normals = updates.chunk.numbers["normals"][:, learner]
            assert torch.equal(normals, torch.randn(CHUNK, 32, 2, generator=stream))


def test_dropout_masks_have_the_rate_and_leave_the_other_numbers_of_a_chunk_alone(params, episodes, device):
    settings = settings_of(params, "iql with dropout", hidden=[16, 24])
    plain = build_updates(episodes, None, names("iql"), settings_of(params, "iql"), 2, device)
    dropout = build_updates(episodes, None, names("iql"), settings, 2, device)
    for updates in (plain, dropout):
        updates.draw()
    numbers = dict(dropout.chunk.numbers)
    for name, others in plain.chunk.numbers.items():
        assert torch.equal(numbers.pop(name), others)
    assert [tuple(masks.shape) for masks in numbers.values()] == [(CHUNK, 2, 32, 16), (CHUNK, 2, 32, 24)]
    for masks in numbers.values():
        assert masks.dtype == torch.bool
        for part in (masks[:, 0], masks[:, 1]):
            deviation = (DROPOUT * (1 - DROPOUT) / part.numel()) ** 0.5
            assert abs(part.double().mean() - (1 - DROPOUT)) < 5 * deviation
        assert not torch.equal(masks[:, 0], masks[:, 1])
        assert len({bytes(mask.numpy()) for mask in masks[:, 0]}) == CHUNK  # each update has its own


def test_dropout_preserves_the_expected_output_of_a_hidden_layer(params, episodes, device):
    """Kept units are scaled by 1 / (1 - rate); the output is linear in a single hidden layer."""
    settings = settings_of(params, "iql with dropout", hidden=[16], batch=500)
    updates = build_updates(episodes, None, names("iql"), settings, 1, device)
    learner, actor, received = updates.learner, updates.learner.actor, []
    learner.actor = lambda states, factors: received.append(factors) or actor(states)
    updates.draw()
    batch, all_masks = updates.batches(updates.chunk.numbers["batch"][0]), updates.chunk.numbers["kept 0"]
    for masks in all_masks:
        learner.actor_loss(batch, torch.zeros_like(batch.rewards), [masks])
    factors = torch.stack([layer for (layer,) in received])  # (CHUNK, 1, batch, 16)
    assert torch.equal(factors > 0, all_masks)
    torch.testing.assert_close(factors[factors > 0], torch.full([int((factors > 0).sum())], 1 / (1 - DROPOUT)))
    state = batch.states[:, :1].expand(1, factors.shape[0] * factors.shape[2], -1)
    outputs = actor.body(state, [factors.reshape(1, -1, 16)])[0]
    expected, error = actor.body(state[:, :1])[0, 0], outputs.std(0) / len(outputs) ** 0.5
    assert ((outputs.mean(0) - expected).abs() < 5 * error).all()
    assert (error > 0).all()


def test_a_zero_dropout_rate_changes_nothing_and_a_positive_one_changes_the_policy(
    params, episodes, device, monkeypatch
):
    zero, positive = (
        train(episodes, None, names("iql"), settings_of(params, "iql", actor_dropout=rate), 2, device)
        for rate in (0.0, DROPOUT)
    )

    class Undeclared(iql.Learner):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            del self.draws

    monkeypatch.setattr(iql, "Learner", Undeclared)
    undeclared = train(episodes, None, names("iql"), settings_of(params, "iql"), 2, device)
    assert equal(zero, undeclared)
    assert not equal(zero, positive)


def test_a_snapshot_is_kept_at_regular_intervals_and_at_the_end():
    assert snapshot_steps(10, 4) == [4, 8, 10]
    assert snapshot_steps(9, 3) == [3, 6, 9]
    assert snapshot_steps(3, 10) == [3]


def test_policies_are_unchanged_by_saving_and_loading(params, episodes, device, tmp_path):
    policies = train(episodes, None, names("bc"), settings_of(params, "bc"), 2, device)
    settings = settings_of(params, "bc")
    save(policies, "bc", settings, tmp_path / "p.safetensors")
    saved = (tmp_path / "p.safetensors").read_bytes()
    loaded, algorithm, others = load(tmp_path / "p.safetensors")
    assert equal(policies, loaded)
    assert (algorithm, vars(others)) == ("bc", vars(settings))
    save(loaded, algorithm, others, tmp_path / "p.safetensors")
    assert (tmp_path / "p.safetensors").read_bytes() == saved


@pytest.mark.usefixtures("short_chunks")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_ends_with_the_same_bytes(params, episodes, synthetic, device, variant, tmp_path, monkeypatch):
    """The run is interrupted in the first chunk of random numbers, at its end, and in the next chunk."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    settings, stops = settings_of(params, variant, steps=2 * SHORT + 4, snapshot_every=5), (5, SHORT, SHORT + 5)
    settings.rollout_every = 5  # of MOPO and MOBILE, from update 7 on: the second and third stop lie between refreshes
    whole = train(episodes, made_by(variant, synthetic), names(variant), settings, 2, device)
    checkpoint = Checkpoint(f"test {variant}", vars(settings), [], device)

    def save_and_interrupt(name, content):
        Checkpoint.save(checkpoint, name, content)
        if name == "state" and content["done"] in stops:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_and_interrupt)
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            train(episodes, made_by(variant, synthetic), names(variant), settings, 2, device, checkpoint)
        assert checkpoint.load("state")["done"] == stop
    assert equal(train(episodes, made_by(variant, synthetic), names(variant), settings, 2, device, checkpoint), whole)


@pytest.mark.slow
def test_a_killed_stage_resumes_from_its_last_checkpoint(tiny_params, episodes, tmp_path, monkeypatch):
    """SIGKILL, twice; the policies equal an uninterrupted run's to the byte, and no checkpoint is left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    changes = {"datasets": ["hopper-medium"], "policy": {"steps": 900, "hidden": [64, 64], "snapshot_every": 75}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(overlaid(tiny_params, changes)))
    check_main()
    episodes.save(tmp_path / "data/hopper-medium/real.npz")
    gym_mujoco("hopper").save("hopper-medium")
    arguments = ["--dataset", "hopper-medium", "--method", "real", "--algorithm", "td3bc"]
    model, checkpoints = tmp_path / "models/hopper-medium/real-td3bc.safetensors", tmp_path / ".checkpoints"
    monkeypatch.setattr(sys, "argv", ["policy", *arguments])
    policy_main()
    uninterrupted = model.read_bytes()
    model.unlink()
    assert not list(checkpoints.iterdir())

    def start():
        command = [sys.executable, "-m", "stages.policy", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)

    saved = 0
    for kills in range(2):
        process, deadline = start(), time.monotonic() + 120
        while len(files := list(checkpoints.glob("*/policy-*.pt"))) < saved + 2 and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        message = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL
        assert ("resumes after update" in message) == (kills > 0)
        assert saved < len(files) < 12
        saved = len(list(checkpoints.glob("*/policy-*.pt")))
    process = start()
    message = process.communicate(timeout=300)[1]
    assert process.returncode == 0, message
    assert "resumes after update" in message
    assert model.read_bytes() == uninterrupted
    assert not list(checkpoints.iterdir())


def test_a_checkpoint_of_other_parameters_inputs_code_or_device_is_not_loaded(tmp_path, monkeypatch, device):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    data, module = tmp_path / "data.npz", tmp_path / "module.py"
    data.write_bytes(b"one")
    module.write_text("one")
    monkeypatch.setattr("stages.common.checkpoint.code", lambda: [module])

    def loaded(name="policy", params=(1, 2.5), on=device):
        return Checkpoint(name, params, [data], on).load("state")

    Checkpoint("policy", (1, 2.5), [data], device).save("state", {"done": torch.tensor(3)})
    assert loaded()["done"] == 3
    assert loaded("policy of another cell") is None
    assert loaded(params=(1, 2.6)) is None
    assert loaded(on=torch.device("meta")) is None
    for path in (data, module):
        path.write_bytes(b"two")
        assert loaded() is None
        path.write_bytes(b"one")
    monkeypatch.setattr(torch, "__version__", "0.1")
    assert loaded() is None


def test_the_code_of_a_checkpoint_is_what_the_stage_imports():
    paths = {str(path.relative_to(ROOT)) for path in code()}
    assert {"stages/policy/updates.py", "stages/common/transitions.py", "stages/common/checkpoint.py"} <= paths
    assert all(path.startswith("stages/") for path in paths)


def test_a_damaged_checkpoint_ends_the_stage_with_one_line(tmp_path, monkeypatch, device):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    checkpoint = Checkpoint("policy", (), [], device)
    checkpoint.save("state", {"done": torch.zeros(100)})
    path = checkpoint.folder / "state.pt"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(SystemExit, match=r"state\.pt: the checkpoint is damaged; delete its folder: [^\n]+$"):
        checkpoint.load("state")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"critic_loss": [1.0, float("nan")], "q": [1.0, 1.0]}, "critic_loss of seed 1 is not finite"),
        ({"critic_loss": [1.0, 1.0], "q": [7e5, 1.0]}, r"q of seed 0 is larger than 6e\+05, policy.max_q times"),
        ({"critic_loss": [1.0, 1.0], "q": [1.0, float("inf")]}, "q of seed 1 is not finite"),
    ],
)
def test_a_diverged_learner_ends_its_cell_and_names_seed_step_and_losses(losses, message):
    losses = {name: torch.tensor(values) for name, values in losses.items()}
    with pytest.raises(
        Diverged, match=rf"^policy a b c: diverged: {message}.* after 700 updates; losses by seed: {{'cri"
    ):
        check_divergence(losses, 6e5, "policy a b c", 700)
    check_divergence({"critic_loss": torch.tensor([1e9]), "q": torch.tensor([5e5])}, 6e5, "", 1)


def test_divergence_during_training_ends_it(params, episodes, device):
    settings = settings_of(params, "td3bc", learning_rate=10.0, tau=1.0, steps=1000, snapshot_every=1000)
    with pytest.raises(
        Diverged, match=r"policy hopper-medium real td3bc: diverged: .* of seed \d .* after 100 updates;"
    ):
        train(episodes, None, ("hopper-medium", "real", "td3bc"), settings, 2, device)

"""Training policies: random streams, batches, snapshots, divergence; the same for every algorithm on the shelf."""

import numpy as np
import pytest
import torch

from stages.common.schema import shelf
from stages.common.transitions import Transitions
from stages.policy.batches import Batches
from stages.policy.trainer import complain, load, save, snapshot_steps, train

NAMES = ("hopper-medium", "dawm", "any")


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


@pytest.mark.parametrize("algorithm", shelf("algorithms"))
def test_a_seed_s_policy_does_not_depend_on_its_company(params, episodes, synthetic, device, algorithm):
    settings = getattr(params, algorithm)
    settings = settings.for_dataset("hopper-medium") if algorithm == "iql" else settings
    alone, together = (train(episodes, synthetic, NAMES, algorithm, params.policy, n, settings, device) for n in (1, 3))
    for name, tensor in alone.items():
        if name.startswith("actor"):
            torch.testing.assert_close(together[name][:, :1], tensor, rtol=1e-4, atol=1e-6)
            assert not torch.equal(together[name][:, 1:2], tensor)
    again = train(episodes, synthetic, NAMES, algorithm, params.policy, 3, settings, device)
    assert all(torch.equal(tensor, again[name]) for name, tensor in together.items())


def test_batches_hold_the_stated_share_of_real_rows_and_each_learner_s_own_generator(episodes, synthetic, device):
    batches = Batches(episodes, synthetic, 3, 40, device)
    assert batches.generators == [0, 1, 0]
    seen = [batches(torch.rand(3, 40, dtype=torch.float64)).rewards for _ in range(50)]
    for learner, own in enumerate([100, 200, 100]):
        rewards = torch.stack(seen)[:, learner]
        assert (rewards[:, :10].abs() < 50).all()  # a quarter real
        assert (rewards[:, 10:] == own).all()


def test_every_row_can_be_drawn_and_states_are_normalised_by_the_real_data(episodes, device):
    batches = Batches(episodes, None, 1, len(episodes), device)
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


def test_snapshots_end_with_the_last_update():
    assert snapshot_steps(10, 4) == [2, 5, 8, 10]
    assert snapshot_steps(3, 10) == [1, 2, 3]
    assert snapshot_steps(7, 1) == [7]


def test_policies_survive_their_file(params, episodes, device, tmp_path):
    policies = train(episodes, None, NAMES, "bc", params.policy, 2, params.bc, device)
    save(policies, tmp_path / "p.safetensors")
    loaded = load(tmp_path / "p.safetensors")
    assert policies.keys() == loaded.keys()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in policies.items())


def test_a_loss_that_is_not_finite_names_cell_seed_and_step():
    losses = {"critic_loss": torch.tensor([1.0, float("nan")]), "actor_loss": torch.zeros(2)}
    with pytest.raises(SystemExit, match=r"hopper-medium dawm any: seed 1: critic_loss is not finite at step 7.*nan"):
        complain(losses, NAMES, 7)

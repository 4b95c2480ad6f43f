"""Each algorithm's updates equal those of the plain implementation in `benchmarks/plain.py`, which trains one seed.

Both run in float64. The plain one uses a textbook Adam. Also tested: initial weights and settings.
"""

from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from benchmarks import plain, plain_models, plain_planners
from stages.algorithms import bc10, saq
from stages.check import algorithms
from stages.check.schema import Params
from stages.common.torch_setup import torch_stream
from stages.common.transitions import Transitions
from stages.policy.batches import Batch, Window
from stages.policy.draws import draws_of
from stages.policy.networks import Mlp, glorot
from stages.policy.planning import Outlook
from tests.conftest import ROOT, settings_for

SEEDS, BATCH, S, A, UPDATES, SCHEDULE = 3, 16, 4, 2, 10, 50
CASES = ["td3bc", "iql deterministic", "iql gaussian", "iql dropout", "rebrac", "bc", "bc10"]
CASES += ["fql mean", "fql min", "rsp", "sorl mean", "sorl min", "saq", "gtp", "dd", "diffuser", "mpdiffuser"]
PLAIN = {**plain.LEARNERS, **plain_planners.LEARNERS, "bc10": plain.Bc}
HIDDEN, DROPOUT = [16, 16], 0.3


class TextbookAdam(torch.optim.Optimizer):
    """Algorithm 1 of Kingma and Ba 2015."""

    def __init__(self, weights, lr):
        super().__init__(weights, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                t = state["t"] = state.get("t", 0) + 1
                m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * p.grad
                v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * p.grad**2
                p -= group["lr"] * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)


class GivenDropout(torch.nn.Module):
    """`nn.Dropout` in training, with the mask of kept units given instead of drawn."""

    def forward(self, x):
        return x * self.mask / (1 - DROPOUT)


def with_dropout(network: torch.nn.Sequential) -> torch.nn.Sequential:
    """The same layers with dropout after each ReLU, where CORL's `MLP` has it."""
    layers = []
    for layer in network:
        layers += [layer, GivenDropout()] if isinstance(layer, torch.nn.ReLU) else [layer]
    return torch.nn.Sequential(*layers)


def settings_of(params, case):
    """The case's algorithm, and settings that reach every branch: clipped noise, clipped weights, fast targets."""
    algorithm, _, kind = case.partition(" ")
    settings = settings_for(params.policy, getattr(params, algorithm), "hopper-medium-replay")
    vars(settings).update(hidden=HIDDEN, steps=SCHEDULE, learning_rate=0.0003)  # errors below grow with the rate
    if algorithm == "iql":
        vars(settings).update(deterministic_actor=kind == "deterministic", tau=0.1, max_weight=1.5)
        vars(settings).update(actor_dropout=DROPOUT if kind == "dropout" else 0.0)
    if algorithm in ("rsp", "saq"):
        vars(settings).update(steps=UPDATES)
    if algorithm in plain_planners.LEARNERS:
        vars(settings).update(width=8, blocks=2, horizon=3, ema=0.9)
    if algorithm == "gtp":
        vars(settings).update(tau=0.1, eta=2.0, max_weight=5.0, sigma_max=10.0, levels=10)
    if algorithm == "sorl":
        vars(settings).update(tau=0.1, target_q=kind, normalize_q=kind == "mean", clip=0.5)
    if algorithm == "fql":
        vars(settings).update(tau=0.1, target_q=kind, normalize_q=kind == "mean", alpha=2.0)
    if algorithm in ("td3bc", "rebrac"):
        vars(settings).update(tau=0.1, policy_noise=0.4)
    return algorithm, settings


def batch_of(k: int, algorithm: str) -> Batch:
    """Batch k for all seeds."""
    rng = np.random.default_rng(k)

    def normal(*shape):
        return torch.from_numpy(rng.standard_normal(shape))

    both = normal(SEEDS, BATCH, S + A)
    both[..., S:] = both[..., S:].tanh()
    discounts = 0.99 * torch.from_numpy(rng.integers(0, 2, (SEEDS, BATCH))).double()
    batch, extra = [both, normal(SEEDS, BATCH), discounts, normal(SEEDS, BATCH, S)], {}
    if algorithm == "rebrac":
        known = torch.from_numpy(rng.integers(0, 2, (SEEDS, BATCH, 1))).double()
        extra = {"next_actions": normal(SEEDS, BATCH, A).tanh(), "next_known": known}
    if algorithm == "rsp":
        extra = {"progress": normal(SEEDS, BATCH, 1), "change": normal(SEEDS, BATCH, S + 1)}
    if algorithm not in plain_planners.LEARNERS:
        return Batch(*batch, extra)
    exists = torch.arange(3) < torch.from_numpy(rng.integers(1, 4, (SEEDS, BATCH, 1)))
    actions, following = normal(SEEDS, BATCH, 3, A).tanh(), normal(SEEDS, BATCH, 3, S)
    return Batch(*batch, {"returns": normal(SEEDS, BATCH, 1)}, Window(actions, following, exists.double()))


def noise_of(k: int, learner) -> dict[str, torch.Tensor]:
    """The random numbers that update k takes, (seeds, batch, width) each."""
    stream = torch.Generator().manual_seed(k)
    drawn = {name: draw((SEEDS, BATCH, draw.width), stream) for name, draw in draws_of(learner, A).items()}
    return {name: numbers.double() if numbers.is_floating_point() else numbers for name, numbers in drawn.items()}


def batch_of_seed(batch: Batch, k: int) -> list[torch.Tensor]:
    """Seed k's part of the batch, in the form that the plain implementation takes."""
    both = batch.states_and_actions[k]
    parts = [both[:, :S], both[:, S:], batch.rewards[k], batch.discounts[k], batch.next_states[k]]
    parts += [part[k] if part.shape[-1] > 1 else part[k, :, 0] for part in batch.extra.values()]
    return [*parts, *(part[k] for part in vars(batch.window).values())] if batch.window else parts


def pairs(learner, single, k: int):
    """Pairs the learner's networks with those of seed k's plain learner.

    Yields:
        (name, stacked body, index in the stack, plain network).
    """
    for name in (
        *("actor", "target_actor", "value", "flow", "planner"),
        *("encoder", "decoder", "behaviour", "critic", "target_critic"),
        *("inverse", "average_planner", "dynamics", "average_dynamics", "ranker"),
    ):
        if hasattr(single, name):
            network = getattr(learner, name)
            yield name, getattr(network, "body", network), k, getattr(single, name)
    for name, plural in (("critic", "critics"), ("target_critic", "target_critics")):
        for twin, network in enumerate(getattr(single, plural, [])):
            yield f"{name} {twin}", getattr(learner, name).body, k + twin * SEEDS, network


def weights(body, index: int, network: torch.nn.Sequential):
    """Yields pairs of corresponding weights, (those at `index` of the stack, the plain network's), layer by layer."""
    if isinstance(network, plain_planners.Residual):
        for (_, ours), theirs in zip(sorted(body.named_parameters()), sorted(network.named_parameters()), strict=True):
            yield ours[index].view(theirs[1].mT.shape if theirs[1].dim() == 2 else theirs[1].shape), theirs[1].t()
        return
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    for ours, theirs in zip(body.layers, linear, strict=True):
        yield ours.weight[index], theirs.weight.T
        yield ours.bias[index, 0], theirs.bias
    norms = [layer for layer in network if isinstance(layer, torch.nn.LayerNorm)]
    for ours, theirs in zip(getattr(body, "norms", None) or [], norms, strict=True):
        yield ours.weight[index, 0], theirs.weight
        yield ours.bias[index, 0], theirs.bias


def build(params, case, optimizer):
    """The case's learner in float64, and a plain learner for each seed with the same weights."""
    algorithm, settings = settings_of(params, case)
    streams = [torch_stream("test", seed) for seed in range(SEEDS)]
    learner = import_module(f"stages.algorithms.{algorithm}").Learner(S, A, streams, settings, torch.device("cpu"))
    learner.constants = {"change": torch.ones(S).double()}
    for name, part in list(vars(learner).items()):
        if isinstance(part, torch.nn.Module):
            part.double()
        elif torch.is_tensor(part):
            setattr(learner, name, part.double())
        elif isinstance(part, torch.optim.Adam) and optimizer is torch.optim.SGD:
            setattr(
                learner, name, torch.optim.SGD([{key: g[key] for key in ("params", "lr")} for g in part.param_groups])
            )
    singles = []
    for k in range(SEEDS):
        single = PLAIN[algorithm](S, A, settings, adam=optimizer)
        for _, body, index, network in pairs(learner, single, k):
            network.double()
            for ours, theirs in weights(body, index, network):
                theirs.data.copy_(ours)
        for spread in getattr(single, "log_stds", ()):
            spread.data = spread.data.double()
        for name, part in vars(single).items():
            if type(part) is torch.Tensor:
                setattr(single, name, part.double())
        if hasattr(single, "codes"):
            single.codes.data = learner.codebook.weight[k].detach().clone()
        if hasattr(single, "log_std"):
            single.log_std.data = single.log_std.data.double()
        if case == "iql dropout":
            single.actor = with_dropout(single.actor)
        singles.append(single)
    return algorithm, learner, singles


@pytest.mark.parametrize("optimizer", [TextbookAdam, torch.optim.SGD])
@pytest.mark.parametrize("case", CASES)
def test_ten_updates_equal_those_of_the_plain_implementation(params, case, optimizer):
    """With gradient descent the weights move by the gradients themselves, which checks the gradients' scale too."""
    algorithm, learner, singles = build(params, case, optimizer)
    first = next(pairs(learner, singles[0], 0))[1]
    initial = {name: part.clone() for name, part in first.state_dict().items()}
    for update in range(UPDATES):
        batch, noise = batch_of(update, algorithm), noise_of(update, learner)
        masks = [numbers for name, numbers in noise.items() if name.startswith("kept")]
        phase = learner.phase(update) if hasattr(learner, "phase") else update % learner.phases
        losses = learner.update(batch, noise, phase)
        for k, single in enumerate(singles):
            layers = [layer for layer in getattr(single, "actor", ()) if isinstance(layer, GivenDropout)]
            for layer, mask in zip(layers, masks, strict=True):
                layer.mask = mask[k]
            expected = single.train(batch_of_seed(batch, k), {name: numbers[k] for name, numbers in noise.items()})
            assert losses.keys() == expected.keys()
            for name, value in expected.items():
                assert losses[name][k].item() == pytest.approx(value, rel=1e-8), name
    for k, single in enumerate(singles):
        for name, body, index, network in pairs(learner, single, k):
            for ours, theirs in weights(body, index, network):
                torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10, msg=lambda m, name=name: f"{name}: {m}")
        if case in ("iql gaussian", "iql dropout"):
            torch.testing.assert_close(learner.actor.log_std[k, 0], single.log_std, rtol=1e-7, atol=1e-10)
            assert single.log_std.abs().min() > 1e-5  # it has moved
        if algorithm == "saq":
            torch.testing.assert_close(learner.codebook.weight[k], single.codes, rtol=1e-7, atol=1e-10)
    assert not any(torch.equal(part, initial[name]) for name, part in first.state_dict().items())


def test_rebrac_s_initial_weights_follow_its_authors_code(params):
    _, settings = settings_of(params, "rebrac")
    vars(settings).update(hidden=[64, 64])
    learner = import_module("stages.algorithms.rebrac").Learner(S, A, [torch_stream(0)], settings, torch.device("cpu"))
    for body, last in ((learner.actor.body, 1e-3), (learner.critic.body, 3e-3)):
        for layer, inputs in zip(body.layers[:-1], (body.layers[0].weight.shape[1], 64), strict=True):
            assert (layer.bias == 0.1).all()
            assert 0.9 * inputs**-0.5 < layer.weight.abs().max() <= inputs**-0.5
        assert 0.8 * last < body.layers[-1].weight.abs().max() <= last
        assert 0 < body.layers[-1].bias.abs().max() <= last
    assert learner.actor.body.norms is None
    assert len(learner.critic.body.norms) == 2


def test_plans_reach_as_far_as_the_data_s_largest_change_of_either_sign(params):
    change = np.array([[-3.0, 1.0], [1.0, 2.0], [0.5, -1.0], [1.5, -2.5]], dtype=np.float32)
    zeros, row = np.zeros((4, 2), np.float32), np.zeros(4, np.float32)
    data = Transitions(zeros, zeros, row, change, row, np.arange(4, dtype=np.int32), row > 0)
    settings = settings_for(params.policy, params.diffuser, "hopper-medium")
    vars(settings).update(normalize_states=False)
    constants = Outlook(data, settings).constants
    np.testing.assert_allclose(constants["change"], change.std(0), rtol=1e-5)
    np.testing.assert_allclose(constants["reach"], np.abs(change).max(0) / change.std(0), rtol=1e-5)


@pytest.mark.parametrize(("q", "chosen"), [(9.0, 1), (7.0, 0)])
def test_a_large_q_lifts_a_code_that_the_data_hardly_took(q, chosen):
    """Its log-probability is bounded at -8, the other's is 0."""
    policy = saq.Policy.__new__(saq.Policy)
    policy.settings = SimpleNamespace(temperature=1.0, sample=False, codes=2)
    policy.behaviour = lambda states: torch.tensor([0.0, -50.0]).expand(*states.shape[:-1], 2)
    policy.critic = lambda states: torch.tensor([0.0, q]).expand(*states.shape[:-1], 2)
    policy.codebook, policy.decoder = lambda index: index[..., None].float(), lambda both: both[..., -1:]
    assert policy(torch.zeros(1, 3, 2), None, None)[0].eq(chosen).all()


def test_glorot_s_weights_are_uniform_with_their_variance():
    network = Mlp([40, 60, 20], [torch_stream(k) for k in range(2)])
    glorot(network, [torch_stream("glorot", k) for k in range(2)])
    for layer in network.layers:
        wide = sum(layer.weight.shape[1:])
        assert layer.weight.var().item() == pytest.approx(2 / wide, rel=0.08)
        assert layer.weight.abs().max() <= (6 / wide) ** 0.5
        assert not layer.bias.any()
        assert not torch.equal(*layer.weight)


def test_ten_percent_bc_learns_from_the_best_tenth_of_the_episodes(params, episodes):
    settings = settings_for(params.policy, params.bc10, "hopper-medium")
    chosen = bc10.select(episodes, settings)
    returns = {e: episodes.rewards[episodes.episode == e].sum() for e in range(40)}
    best = sorted(returns, key=returns.get)[-4:]
    assert set(chosen.episode) == set(best)
    assert len(chosen) == sum((episodes.episode == e).sum() for e in best)
    vars(settings).update(fraction=1e-6)
    assert len(set(bc10.select(episodes, settings).episode)) == 1


CORL = {  # settings in configs/offline of CORL at commit 6afec90
    ("td3bc", "hopper-medium-v2"): {"alpha": 2.5, "reward_scale": 1.0, "reward_shift": 0.0},
    ("td3bc", "antmaze-large-play-v2"): {"reward_shift": -1.0},
    ("iql", "walker2d-medium-v2"): {"expectile": 0.7, "deterministic_actor": False, "tau": 0.005, "reward_scale": 1.0},
    ("iql", "hopper-medium-v2"): {"beta": 3.0, "deterministic_actor": True, "reward_scale": "returns", "tau": 0.001},
    ("iql", "hopper-medium-replay-v2"): {"deterministic_actor": True, "reward_scale": "returns", "tau": 0.001},
    ("iql", "hopper-medium-expert-v2"): {"beta": 6.0, "expectile": 0.5, "tau": 0.005},
    ("iql", "antmaze-umaze-diverse-v2"): {"beta": 10.0, "expectile": 0.9, "reward_shift": -1.0},
    ("iql", "relocate-human-v1"): {"expectile": 0.8, "beta": 3.0, "deterministic_actor": False},
    ("iql", "pen-cloned-v1"): {"expectile": 0.8, "actor_dropout": 0.1, "tau": 0.005},
    ("iql", "door-expert-v1"): {"expectile": 0.8, "actor_dropout": 0.1, "reward_scale": 1.0},
    ("iql", "hammer-human-v1"): {"expectile": 0.8, "actor_dropout": 0.1, "normalize_states": True},
    ("iql", "relocate-cloned-v1"): {"expectile": 0.8, "actor_dropout": 0.1, "batch": 256},
    ("iql", "halfcheetah-medium-v2"): {"expectile": 0.7, "actor_dropout": 0.0},
    ("rebrac", "hopper-medium-v2"): {"actor_bc": 0.01, "critic_bc": 0.01, "batch": 1024, "learning_rate": 0.001},
    ("rebrac", "walker2d-medium-v2"): {"actor_bc": 0.05, "critic_bc": 0.1, "hidden": [256] * 3},
    ("rebrac", "antmaze-medium-play-v2"): {"actor_bc": 0.001, "critic_bc": 0.0005, "batch": 256, "reward_scale": 100.0},
    ("rebrac", "antmaze-umaze-v2"): {"learning_rate": 0.0003, "critic_learning_rate": 0.00005},
    ("rebrac", "pen-human-v1"): {"actor_bc": 0.1, "critic_bc": 0.5, "normalize_states": False, "batch": 256},
    ("bc10", "pen-human-v1"): {"fraction": 0.1, "batch": 256, "hidden": [256, 256]},
}


@pytest.mark.parametrize(("algorithm", "dataset"), CORL)
def test_the_paper_preset_has_corl_s_settings(algorithm, dataset):
    paper = Params.model_validate(yaml.safe_load((ROOT / "presets/paper.yaml").read_text()))
    settings = vars(settings_for(paper.policy, getattr(paper, algorithm), dataset))
    expected = CORL[algorithm, dataset]
    assert {key: settings[key] for key in expected} == expected


def test_later_exceptions_override_earlier_ones_and_all_override_the_section(params):
    policy = params.policy.model_copy(update={"batch": 7})
    section = type(params.iql).model_validate(
        {
            **params.iql.model_dump(exclude_unset=True),
            "beta": 1.0,
            "hidden": [5],
            "exceptions": {"a*": {"beta": 2.0, "tau": 0.3}, "ab": {"beta": 4.0}},
        }
    )
    assert vars(settings_for(policy, section, "ab-v2")).items() >= {"beta": 4.0, "tau": 0.3, "batch": 7}.items()
    assert settings_for(policy, section, "ac").beta == 2.0
    assert settings_for(policy, section, "b").beta == 1.0
    assert settings_for(policy, section, "b").hidden == [5]


def test_every_algorithm_is_tested_here_or_with_its_model():
    assert {*PLAIN, *plain_models.LEARNERS} == set(algorithms.names())  # for the latter see test_imagination.py

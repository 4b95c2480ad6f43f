"""Corrects DAWM's training set: `python -m stages.baselines.corrected --dataset D` → data/D/corrected.npz."""

from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import load_file

from stages.baselines.corrected.settings import Settings
from stages.baselines.corrected.train import build
from stages.common.settings import Fraction, NonNegative, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup
from stages.common.transitions import Transitions
from stages.synthetic_data.bounds import Bounds, check_dropped
from stages.synthetic_data.cost import derived_cost_record, parameter_count
from stages.synthetic_data.join import real_share
from stages.synthetic_data.terminals import ended as ended_in
from stages.synthetic_data.terminals import rule_of, terminals_learned
from stages.tasks.tasks import Task

READS = root("generators", "terminals", "discount", "real_fraction", "device", "threads") | {
    "augment.margin": NonNegative,
    "augment.max_drop": Fraction,
    "corrected": Settings,
}
BATCH = 1 << 16  # rows that go through a forward model together


def expected(models, generators: np.ndarray, states: np.ndarray, actions: np.ndarray):
    """`ForwardModel.expect` for each row, by its own generator's model, in NumPy; rows are in generators' order."""
    device, parts = models[0].elites.device, []
    for k in np.unique(generators):
        rows = np.flatnonzero(generators == k)
        for part in np.array_split(rows, -(-len(rows) // BATCH)):
            parts.append(models[k].expect(*(torch.from_numpy(array[part]).to(device) for array in (states, actions))))
    return [None if column[0] is None else torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]


def corrected(dawm: Transitions, models, healthy, bounds: Bounds, discount: float, config: Settings):
    """DAWM's states and actions with the forward models' next states, rewards and ends.

    With `config.rollout`, the state of each later step of a window is the predicted next state of the step before.
    Rows whose prediction is implausible are dropped; in a rolled-out window, so is what follows them or an end. Of the
    others, the share `config.kept` stays: that on which the members disagree least or, with `config.filter: agreement`,
    that whose imagined next states are nearest to the predicted ones, in standard deviations (DiffStitch's test, Li et
    al. 2024, arXiv 2402.02439, with a share in place of a threshold).

    Arguments:
        models: one forward model for each generator.
        healthy: the environment's rule or None, see `terminals.rule_of`.

    Returns:
        the transitions, and the counts {"kept", "dropped"}, where "dropped" counts implausible rows alone.
    """
    states, following, rewards = (array.copy() for array in (dawm.observations, dawm.next_observations, dawm.rewards))
    ends, doubt, scale = dawm.terminal().copy(), np.zeros(len(dawm)), dawm.next_observations.std(0) + 1e-9
    plausible, reachable = np.ones((2, len(dawm)), dtype=bool)
    for h in range(dawm.step.max() + 1):
        rows = np.flatnonzero(dawm.step == h)
        if config.rollout and h > 0:  # a window's rows are consecutive
            states[rows] = following[rows - 1]
            reachable[rows] = (reachable & plausible & ~ends)[rows - 1]
        reward, end, next_states, doubt[rows] = expected(models, dawm.generator[rows], states[rows], dawm.actions[rows])
        if config.filter == "agreement":
            doubt[rows] = np.square((next_states - dawm.next_observations[rows]) / scale).sum(1)
        if config.replaced in ("both", "rewards"):
            rewards[rows] = reward
        if config.replaced in ("both", "states"):
            following[rows], ends[rows] = next_states, ended_in(next_states, healthy, end)
        plausible[rows] = bounds.plausible(rewards[rows], following[rows])
    keep = plausible & reachable
    if config.kept < 1:
        for k in np.unique(dawm.generator):
            own = keep & (dawm.generator == k)
            keep &= ~own | (doubt <= np.quantile(doubt[own], config.kept))
    columns = {
        "observations": states,
        "rewards": rewards,
        "next_observations": following,
        "discounts": np.where(ends, 0, discount).astype(np.float32),
    }
    counts = {"kept": int(keep.sum()), "dropped": int((reachable & ~plausible).sum())}
    return replace(dawm.rows(keep), **{name: column[keep] for name, column in columns.items()}), counts


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device, config = given.dataset, setup(params.device, params.threads), params.corrected
    output = f"data/{dataset}/corrected.npz"
    with timed(output):
        source, trained = f"data/{dataset}/dawm.npz", f"models/{dataset}/corrected.safetensors"
        data, dawm, task = Transitions.load(f"data/{dataset}/real.npz"), Transitions.load(source), Task.load(dataset)
        terminal = terminals_learned(data, task, params.terminals)
        models = torch.nn.ModuleList(
            build(data, terminal, dataset, k, config.dynamics) for k in range(params.generators)
        )
        models.to(device).eval().load_state_dict(load_file(trained, str(device)))
        bounds, healthy = Bounds(data, params.augment.margin), rule_of(task, params.terminals)
        result, counts = corrected(dawm, models, healthy, bounds, params.discount, config)
        check_dropped(f"corrected {dataset}", counts["kept"], counts["dropped"], params.augment.max_drop)
        cost = derived_cost_record(
            source, dawm.cost, [trained], parameter_count(models[0].dynamics), config.dynamics.members, counts
        )
        share = np.float32(real_share(config.real_fraction, params))
        replace(result, real_fraction=share, cost=cost).save(output)


if __name__ == "__main__":
    main()

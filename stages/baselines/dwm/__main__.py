"""Generates DWM's training set: `python -m stages.baselines.dwm --dataset D` → data/D/dwm.npz.

The set is written batch by batch because it has tens of millions of rows at the paper's size.
"""

from collections import Counter

import numpy as np
import torch

from stages.augment.imagine import target_return
from stages.baselines.dwm.settings import Settings
from stages.baselines.dwm.value_expansion import lengths, n_step
from stages.common.progress import progress
from stages.common.rng import numpy_stream
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.settings import Sampler
from stages.synthetic_data.bounds import Bounds, check_dropped
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.join import streamed
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import ended, rule_of
from stages.tasks.tasks import Task
from stages.world_model import model as world_model

READS = root("discount", "target_return", "terminals", "device", "threads")
READS |= budget("transitions") | {"sampler": Sampler, "augment": Augment, "dwm": Settings}


def expand(data: Transitions, dataset: str, task: Task, generator: int, model, params, device):
    """Imagines `dwm.futures` futures of every real state and action, one transition each per λ of `dwm.lambda_returns`.

    Arguments:
        params: has `discount`, `target_return`, `terminals`, `sampler`, `augment` and `dwm`.

    Yields:
        for each batch of futures and each λ: the columns (n, …), and the number of transitions dropped because a state
        or reward within their steps is implausible.
    """
    names, config = ("dwm", dataset, generator), params.dwm
    stream, rng = torch_stream(*names, device=device), numpy_stream(*names, "lengths")
    bounds, healthy = Bounds(data, params.augment.margin), rule_of(task, params.terminals)
    target = target_return(data, params.target_return, params.discount, task)
    starts = np.tile(np.arange(len(data)), config.futures)
    for rows in np.split(starts, range(params.augment.batch, len(starts), params.augment.batch)):
        states, actions = (torch.from_numpy(array[rows]).to(device) for array in (data.observations, data.actions))
        returns = torch.full((len(rows),), target, device=device)
        windows = model.sample(states, actions, returns, params.sampler, stream)
        path, rewards = windows.states.cpu().numpy(), windows.rewards.cpu().numpy()
        learned = None if windows.terminals is None else windows.terminals.cpu().numpy()
        ends, plausible = ended(path, healthy, learned), bounds.plausible(rewards, path)
        for lambda_return in config.lambda_returns:
            steps = lengths(len(rows), path.shape[1], lambda_return, rng)
            columns, valid = n_step(path, rewards, ends, steps, params.discount, plausible)
            columns |= {
                "observations": data.observations[rows],
                "actions": data.actions[rows],
                "lambda_return": np.full(len(rows), lambda_return, dtype=np.float32),
            }
            yield {name: column[valid] for name, column in columns.items()}, int((~valid).sum())


def write(output, data: Transitions, dataset: str, task: Task, generator: int, model, params, device) -> Counter:
    """Adds one generator's transitions to the `Stream` `output`; returns the counts {"windows", "kept", "dropped"}.

    Raises:
        SystemExit: if a larger share of the transitions than `augment.max_drop` was dropped, see `check_dropped`.
    """
    counts = Counter(windows=len(data) * params.dwm.futures, kept=0, dropped=0)
    for columns, dropped in expand(data, dataset, task, generator, model, params, device):
        output.add(columns, generator)
        counts.update(kept=len(columns["rewards"]), dropped=dropped)
    check_dropped(f"dwm {dataset} generator {generator}", counts["kept"], counts["dropped"], params.augment.max_drop)
    return counts


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    path, trained = f"data/{dataset}/dwm.npz", f"models/{dataset}/diffusion.safetensors"
    with timed(path), streamed(path) as output:
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        models, summed = world_model.load(trained, device), Counter()
        for k, model in enumerate(progress(models, f"dwm {dataset}", unit="generator")):
            summed.update(write(output, data, dataset, task, k, model, params, device))
        learned_from = summed["kept"] / len(params.dwm.lambda_returns)  # an algorithm uses the rows of one λ
        passes = summed["windows"] * evaluations(params.sampler) / learned_from
        cost = cost_record([trained], parameter_count(models[0].network), passes, dict(summed))
        output.save(path, params.dwm.real_fraction, cost)


if __name__ == "__main__":
    main()

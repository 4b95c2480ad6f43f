"""Samples SynthER's training set: `python -m stages.baselines.synther.sample --dataset D` → data/D/synther.npz."""

from collections import Counter

import numpy as np
import torch
from safetensors.torch import load_file

from stages.baselines.synther.model import SynthEr
from stages.baselines.synther.settings import Settings
from stages.common.progress import progress
from stages.common.settings import Budget, Fraction, NonNegative, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.synthetic_data.bounds import Bounds, check_dropped
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.join import joined, total
from stages.synthetic_data.terminals import ended, rule_of
from stages.tasks.tasks import Task

READS = root("generators", "terminals", "discount", "device", "threads") | {
    "budget": Budget,
    "augment.margin": NonNegative,
    "augment.max_drop": Fraction,
    "synther": Settings,
}


def sample(data: Transitions, healthy, model: SynthEr, params, name: str, stream: torch.Generator) -> tuple[dict, dict]:
    """Samples `synther.transitions` transitions: columns (n, …), and the counts {"made", "kept", "dropped"}.

    Arguments:
        healthy: the environment's rule, which overrides the model's terminal output; None if the model decides, see
            `terminals.rule_of`.
        name: method, data set and generator, for messages.

    Raises:
        SystemExit: if a larger share than `augment.max_drop` lies outside the data's range, see `check_dropped`.
    """
    config, bounds, parts, counts = params.synther, Bounds(data, params.augment.margin), [], Counter()
    while counts["kept"] < config.transitions:
        states, actions, rewards, next_states, learned = model.sample(config.sample_batch, config.sampler, stream)
        keep = bounds.plausible(rewards[:, None], np.stack([states, next_states], axis=1)).all(1)
        columns = {
            "observations": states,
            "actions": actions,
            "rewards": rewards,
            "next_observations": next_states,
            "discounts": np.where(ended(next_states, healthy, learned), 0, params.discount).astype(np.float32),
        }
        parts.append({key: column[keep] for key, column in columns.items()})
        counts.update(made=len(keep), kept=int(keep.sum()), dropped=int((~keep).sum()))
        check_dropped(name, counts["kept"], counts["dropped"], params.augment.max_drop)
    return {key: np.concatenate([part[key] for part in parts])[: config.transitions] for key in parts[0]}, dict(counts)


def load_models(path: str, data: Transitions, config, generators: int, device) -> list[SynthEr]:
    """Loads the models that `train.py` wrote."""
    sizes = data.observations.shape[1], data.actions.shape[1]
    models = torch.nn.ModuleList(SynthEr(*sizes, config) for _ in range(generators)).to(device).eval()
    models.load_state_dict(load_file(path, str(device)))
    return list(models)


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/synther.npz"):
        data, trained = Transitions.load(f"data/{dataset}/real.npz"), f"models/{dataset}/synther.safetensors"
        healthy = rule_of(Task.load(dataset), params.terminals)
        models, sampled = load_models(trained, data, params.synther.denoiser, params.generators, device), []
        for k, model in enumerate(progress(models, f"synther {dataset}", unit="generator")):
            stream = torch_stream("synther", dataset, k, "samples", device=device)
            sampled.append(sample(data, healthy, model, params, f"synther {dataset} generator {k}", stream))
        parts, counts = zip(*sampled, strict=True)
        summed = total(counts)
        passes = evaluations(params.synther.sampler) * summed["made"] / summed["kept"]
        cost = cost_record([trained], parameter_count(models[0].network), passes, summed)
        joined(parts, params.synther.real_fraction, cost).save(f"data/{dataset}/synther.npz")


if __name__ == "__main__":
    main()

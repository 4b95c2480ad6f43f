"""Generates DAWM's training set: `python -m stages.augment --dataset D`.

Writes data/D/dawm.npz and results/D/augment.json.
"""

import numpy as np

from stages.augment.imagine import target_return, window_sampler
from stages.common.files import write_json
from stages.common.progress import progress
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.settings import Sampler
from stages.idm import model as idm
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, total
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import rule_of
from stages.tasks.tasks import Task
from stages.world_model import model as world_model

READS = root("discount", "target_return", "real_fraction", "terminals", "device", "threads")
READS |= budget("transitions") | {"sampler": Sampler, "augment": Augment}


def statistics(data: Transitions) -> dict:
    """Summary statistics of a set of transitions, real or synthetic."""
    return {
        "transitions": len(data),
        "reward_mean": data.rewards.mean(),
        "reward_std": data.rewards.std(),
        "terminal_rate": data.terminal().mean(),
        "action_std": data.actions.std(0),
        "saturated_actions": (np.abs(data.actions) > 0.999).mean(),
        "observation_mean": data.observations.mean(0),
        "observation_std": data.observations.std(0),
    }


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/dawm.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained = [f"models/{dataset}/{name}.safetensors" for name in ("diffusion", "idm")]
        models, inverses = world_model.load(trained[0], device), idm.load(trained[1], device)
        parts, counts = [], []
        for k in progress(range(len(models)), f"augment {dataset}", unit="generator"):
            stream = torch_stream("augment", dataset, k, device=device)
            sample_windows = window_sampler(data, task, models[k], inverses[k], params, stream)
            part, count = generate(data, sample_windows, params, f"augment {dataset} generator {k}", stream)
            parts.append(part)
            counts.append(count)
        summed, horizon = total(counts), models[0].sizes["horizon"]
        passes = summed["windows"] * (evaluations(params.sampler) + horizon - 1) / summed["kept"]
        cost = cost_record(trained, parameter_count(models[0].network, inverses[0]), passes, summed)
        synthetic = joined(parts, params.real_fraction, cost)
        synthetic.save(f"data/{dataset}/dawm.npz")
        figures = {
            **{f"generator {k}": count for k, count in enumerate(counts)},
            "terminals": "the environment's rule" if rule_of(task, params.terminals) else "the model's channel",
            "return_asked": target_return(data, params.target_return, params.discount, task),
            "real": statistics(data),
            "synthetic": statistics(synthetic),
        }
        write_json(f"results/{dataset}/augment.json", figures, digits=5)


if __name__ == "__main__":
    main()

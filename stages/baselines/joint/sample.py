"""Samples the joint model's training set: `python -m stages.baselines.joint.sample --dataset D` → data/D/joint.npz."""

from stages.augment.imagine import window_sampler
from stages.common.progress import progress
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.settings import Sampler
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, total
from stages.synthetic_data.settings import Augment
from stages.tasks.tasks import Task
from stages.world_model import model as world_model

READS = root("discount", "target_return", "real_fraction", "terminals", "device", "threads")
READS |= budget("transitions") | {"sampler": Sampler, "augment": Augment}


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/joint.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained, sampled = f"models/{dataset}/joint.safetensors", []
        models = world_model.load(trained, device)
        for k, model in enumerate(progress(models, f"joint {dataset}", unit="generator")):
            stream = torch_stream("joint", dataset, k, "windows", device=device)
            sample_windows = window_sampler(data, task, model, None, params, stream)
            sampled.append(generate(data, sample_windows, params, f"joint {dataset} generator {k}", stream))
        parts, counts = zip(*sampled, strict=True)
        summed = total(counts)
        passes = summed["windows"] * evaluations(params.sampler) / summed["kept"]
        cost = cost_record([trained], parameter_count(models[0].network), passes, summed)
        joined(parts, params.real_fraction, cost).save(f"data/{dataset}/joint.npz")


if __name__ == "__main__":
    main()

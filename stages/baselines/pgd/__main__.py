"""Samples under a policy's guidance: `python -m stages.baselines.pgd --dataset D` → data/D/pgd.npz."""

import torch

from stages.augment.imagine import completed_windows
from stages.baselines.pgd.settings import Settings
from stages.common.progress import progress
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.settings import Sampler
from stages.policy import policies
from stages.policy.acting import policy_of
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, real_share, total
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import rule_of
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model.model import WorldModel

READS = root("discount", "real_fraction", "terminals", "device", "threads") | budget("transitions")
READS |= {"sampler": Sampler, "augment": Augment, "pgd": Settings}


class Policies:
    """The last policies of a cell, one for each seed.

    Arguments:
        path: a file that `stages/policy` wrote.
    """

    def __init__(self, path: str, device: torch.device, stream: torch.Generator):
        tensors, algorithm, settings = policies.load(path)
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self.act, self.stream = policy_of(tensors, algorithm, settings, slice(-1, None)), stream
        self.mean, self.std, self.count = tensors["mean"], tensors["std"], len(tensors["generators"])

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """States (B, H, S) → actions (B, H, A); window b acts by policy b mod the number of policies."""
        windows, horizon, size = states.shape
        given = ((states - self.mean) / self.std).reshape(1, -1, size).expand(self.count, -1, -1)
        noise = torch.randn(*given.shape[:2], self.act.noise, generator=self.stream, device=states.device)
        actions = self.act(given, noise, None)[0].view(self.count, windows, horizon, -1)
        rows = torch.arange(windows, device=states.device)
        return actions[rows % self.count, rows]


def policy_guide(model: WorldModel, policy, states: torch.Tensor, strength: float):
    """The `guide` of `WorldModel.sample` towards a policy's actions; see the package's docstring for the equation.

    Arguments:
        model: a joint model; policy: states (B, H, S) → actions (B, H, A); states: (B, S), before the windows.
        strength: λ, in normalised actions.
    """
    _, _, width, state = model.normalizer.split
    actions = slice(model.step - state - width, model.step - state)

    def guide(clean, sigma):
        steps = model.absolute(model.normalizer.inverse(clean), states)
        wanted = model.normalizer.actions(policy(steps[:, :-1, -state:]))
        variance = sigma**2 / (1 + sigma**2)
        weight = strength * variance / (1 + strength * variance)
        guided = clean.clone()
        guided[:, 1:, actions] += weight * (wanted - clean[:, 1:, actions])  # the first action is the real one
        return guided

    return guide


def window_sampler(data: Transitions, task: Task, model: WorldModel, policy, params, stream: torch.Generator):
    """The `sample_windows` function of `generate`; `params` has `terminals`, `sampler` and `pgd`."""
    healthy, sampler = rule_of(task, params.terminals), unconditional(params.sampler)
    states, actions = (torch.from_numpy(part).to(stream.device) for part in (data.observations, data.actions))

    def sample_windows(starts):
        given = states[starts], actions[starts], torch.zeros(len(starts), device=stream.device)
        guide = policy_guide(model, policy, given[0], params.pgd.guidance)
        return completed_windows(model, None, healthy, *given, sampler, stream, guide)

    return sample_windows


def unconditional(sampler: Sampler) -> Sampler:
    """The sampler without guidance by the return-to-go."""
    return sampler.model_copy(update={"guidance": 0.0})


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/pgd.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained = [f"models/{dataset}/{name}.safetensors" for name in ("joint", f"real-{params.pgd.algorithm}")]
        models, sampled = world_model.load(trained[0], device), []
        for k, model in enumerate(progress(models, f"pgd {dataset}", unit="generator")):
            stream = torch_stream("pgd", dataset, k, "windows", device=device)
            policy = Policies(trained[1], device, stream)
            sample_windows = window_sampler(data, task, model, policy, params, stream)
            sampled.append(generate(data, sample_windows, params, f"pgd {dataset} generator {k}", stream))
        parts, counts = zip(*sampled, strict=True)
        summed, steps = total(counts), evaluations(unconditional(params.sampler))
        passes = summed["windows"] * steps * (1 + policy.act.passes * (model.sizes["horizon"] - 1)) / summed["kept"]
        cost = cost_record(trained, parameter_count(model.network), passes, summed)
        joined(parts, real_share(params.pgd.real_fraction, params), cost).save(f"data/{dataset}/pgd.npz")


if __name__ == "__main__":
    main()

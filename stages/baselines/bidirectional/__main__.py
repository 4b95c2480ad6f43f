"""Imagines in both directions: `python -m stages.baselines.bidirectional --dataset D` → data/D/bidirectional.npz."""

import numpy as np
import torch

from stages.augment import imagine
from stages.baselines.bidirectional.settings import Settings
from stages.common.progress import progress
from stages.common.settings import budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.diffusion.samplers import evaluations
from stages.diffusion.settings import Sampler
from stages.idm import model as idm
from stages.idm.model import InverseDynamics
from stages.synthetic_data.backwards import single_steps
from stages.synthetic_data.bounds import Bounds
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, real_share, total
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import rule_of
from stages.tasks.tasks import Task
from stages.world_model import model as world_model
from stages.world_model.model import WorldModel

READS = root("discount", "target_return", "real_fraction", "terminals", "device", "threads") | budget("transitions")
READS |= {"sampler": Sampler, "augment": Augment, "bidirectional": Settings}


def backward_windows(model: WorldModel, inverse: InverseDynamics, states, actions, returns, sampler, stream):
    """Windows back in time from real states (B, S), into which the real actions (B, A) led.

    Arguments:
        model: was trained on the transitions turned round.
        returns: (B,), discounted returns of what came before, over the task's scale.

    Returns:
        NumPy states (B, H + 1, S), those given first and then ever earlier ones; the actions (B, H, A) and rewards
        (B, H) of the steps that lead from each state to the one before it in the array.
    """
    windows = model.sample(states, actions, returns, sampler, stream)
    path = torch.cat([states[:, None], windows.states], dim=1)
    earlier = inverse.infer(path[:, 2:], path[:, 1:-1], stream)
    actions = torch.cat([actions[:, None], earlier], dim=1)
    return path.cpu().numpy(), actions.cpu().numpy(), windows.rewards.cpu().numpy()


def best(share: float, rewards: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """The `share` of the windows with the largest sums of rewards (B, H), as rows of `rewards` and the others."""
    ranked = np.argsort(-rewards.sum(1), kind="stable")[: max(1, round(share * len(rewards)))]
    return tuple(part[ranked] for part in (rewards, *others))


def samplers(data: Transitions, task: Task, models, inverse: InverseDynamics, params, stream):
    """The `sample_windows` functions of `generate`, forwards and backwards.

    Arguments:
        models: the forward and the backward world model of one generator.
        params: has `discount`, `target_return`, `terminals`, `sampler`, `augment` and `bidirectional`.
    """
    ahead, back = models
    share, bounds, healthy = (
        params.bidirectional.best,
        Bounds(data, params.augment.margin),
        rule_of(task, params.terminals),
    )
    target = imagine.target_return(data, params.target_return, params.discount, task)
    following, led = (torch.from_numpy(part).to(stream.device) for part in (data.next_observations, data.actions))
    ends, imagined = data.terminal(), imagine.window_sampler(data, task, ahead, inverse, params, stream)

    def forwards(starts):
        path, actions, rewards, ended = imagined(starts)
        rewards, path, actions, ended = best(share, rewards, path, actions, ended)
        return path, actions, rewards, ended

    def backwards(starts):
        given = following[starts], led[starts], torch.full((len(starts),), target, device=stream.device)
        path, actions, rewards = backward_windows(back, inverse, *given, params.sampler, stream)
        rewards, path, actions, ended = best(share, rewards, path, actions, ends[starts.cpu().numpy()])
        return single_steps(path, actions, rewards, ended, healthy, bounds)

    return forwards, backwards


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/bidirectional.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained = [f"models/{dataset}/{name}.safetensors" for name in ("diffusion", "bidirectional", "idm")]
        ahead, back = (world_model.load(path, device) for path in trained[:2])
        inverses, parts, counts, wanted = idm.load(trained[2], device), [], [], params.augment.transitions
        for k in progress(range(len(ahead)), f"bidirectional {dataset}", unit="generator"):
            stream = torch_stream("bidirectional", dataset, k, "windows", device=device)
            halves = samplers(data, task, (ahead[k], back[k]), inverses[k], params, stream)
            for sample_windows, count in zip(halves, (wanted - wanted // 2, wanted // 2), strict=True):
                half = params.model_copy(update={"augment": params.augment.model_copy(update={"transitions": count})})
                part, counted = generate(data, sample_windows, half, f"bidirectional {dataset} generator {k}", stream)
                parts.append(part)
                counts.append(counted)
        summed, horizon = total(counts), back[0].sizes["horizon"]
        passes = summed["windows"] * (evaluations(params.sampler) + horizon - 1) / summed["kept"]
        cost = cost_record(trained, parameter_count(ahead[0].network, back[0].network, inverses[0]), passes, summed)
        whole = [
            {name: np.concatenate([a[name], b[name]]) for name in a}
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
        share = real_share(params.bidirectional.real_fraction, params)
        joined(whole, share, cost).save(f"data/{dataset}/bidirectional.npz")


if __name__ == "__main__":
    main()

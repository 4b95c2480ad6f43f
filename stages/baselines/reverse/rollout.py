"""Rolls the reverse models out: `python -m stages.baselines.reverse.rollout --dataset D` → data/D/reverse.npz."""

import numpy as np
import torch
from safetensors.torch import load_file

from stages.baselines.reverse.settings import Settings
from stages.baselines.reverse.train import build
from stages.common.progress import progress
from stages.common.settings import Budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.forward_model.onestep import OneStep
from stages.synthetic_data.bounds import Bounds
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, total
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import rule_of
from stages.tasks.tasks import Task

READS = root("generators", "horizon", "terminals", "discount", "real_fraction", "device", "threads") | {
    "budget": Budget,
    "augment": Augment,
    "reverse": Settings,
}


def rollout(model: OneStep, states, horizon: int, policy: str, stream: torch.Generator):
    """Goes back `horizon` steps from states (B, S).

    Arguments:
        policy: "cloned", the reverse policy, or "uniform", actions drawn from [-1, 1].

    Returns:
        NumPy states (B, H + 1, S), those given first and then ever earlier ones; the actions (B, H, A) and rewards
        (B, H) of the steps that lead from each state to the one before it in the array.
    """
    path, path_actions, rewards = [states], [], []
    for _ in range(horizon):
        if policy == "cloned":
            actions = model.behave(path[-1], stream)
        else:
            shape = len(states), model.behaviour.layers[-1].weight.shape[-1] // 2
            actions = 2 * torch.rand(shape, generator=stream, device=states.device) - 1
        reward, _, before, _ = model.step(path[-1], actions, stream)
        path.append(before)
        path_actions.append(actions)
        rewards.append(reward)
    return tuple(torch.stack(parts, dim=1).cpu().numpy() for parts in (path, path_actions, rewards))


def single_steps(path, actions, rewards, ends, healthy, bounds: Bounds):
    """The steps of reverse rollouts as windows of one step each, as `to_transitions` takes them.

    A step is left out if its reward or the state that it starts from is implausible, or if a step nearer to the real
    state was left out. So is one that leads to an imagined state in which the task would have ended.

    Arguments:
        path, actions, rewards: of `rollout`.
        ends: (B,) bool, whether the task ended in the real states.
        healthy: the environment's rule or None, see `terminals.rule_of`.

    Returns:
        states (B · H, 2, S), actions (B · H, 1, A), rewards (B · H, 1) and ended (B · H, 1) bool; rewards of steps left
        out are not finite, so that the filter drops and counts them.
    """
    valid = bounds.plausible(rewards, path[:, 1:])
    ended = np.zeros(rewards.shape, dtype=bool)
    ended[:, 0] = ends if healthy is None else ~healthy(path[:, 0])
    if healthy is not None:
        valid[:, 1:] &= healthy(path[:, 1:-1])
    valid = np.logical_and.accumulate(valid, axis=1)
    pairs = np.stack([path[:, 1:], path[:, :-1]], axis=2)
    rewards = np.where(valid, rewards, np.nan).astype(np.float32)
    return (
        pairs.reshape(-1, *pairs.shape[2:]),
        actions.reshape(-1, 1, actions.shape[-1]),
        rewards.reshape(-1, 1),
        ended.reshape(-1, 1),
    )


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/reverse.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained, config, sampled = f"models/{dataset}/reverse.safetensors", params.reverse.dynamics, []
        models = torch.nn.ModuleList(build(data, dataset, k, config) for k in range(params.generators))
        models.to(device).eval().load_state_dict(load_file(trained, str(device)))
        targets, healthy = torch.from_numpy(data.next_observations).to(device), rule_of(task, params.terminals)
        bounds, ends = Bounds(data, params.augment.margin), data.terminal()
        for k, model in enumerate(progress(models, f"reverse {dataset}", unit="generator")):
            stream = torch_stream("reverse", dataset, k, "rollouts", device=device)

            def sample_windows(starts, model=model, stream=stream):
                steps = rollout(model, targets[starts], params.horizon, params.reverse.policy, stream)
                return single_steps(*steps, ends[starts.cpu().numpy()], healthy, bounds)

            sampled.append(generate(data, sample_windows, params, f"reverse {dataset} generator {k}", stream))
        parts, counts = zip(*sampled, strict=True)
        summed, horizon = total(counts), params.horizon
        passes = summed["windows"] * horizon * (config.members + (params.reverse.policy == "cloned")) / summed["kept"]
        cost = cost_record([trained], parameter_count(models[0].dynamics, models[0].behaviour), passes, summed)
        own_fraction = params.reverse.real_fraction
        real_fraction = params.real_fraction if own_fraction is None else own_fraction
        joined(parts, real_fraction, cost).save(f"data/{dataset}/reverse.npz")


if __name__ == "__main__":
    main()

"""Rolls the reverse models out: `python -m stages.baselines.reverse.rollout --dataset D` → data/D/reverse.npz."""

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
from stages.synthetic_data.backwards import single_steps
from stages.synthetic_data.bounds import Bounds
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, real_share, total
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
        joined(parts, real_share(params.reverse.real_fraction, params), cost).save(f"data/{dataset}/reverse.npz")


if __name__ == "__main__":
    main()

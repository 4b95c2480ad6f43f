"""Rolls out the one-step models: `python -m stages.baselines.onestep.rollout --dataset D` → data/D/onestep.npz."""

import torch
from safetensors.torch import load_file

from stages.baselines.onestep.settings import Settings
from stages.baselines.onestep.train import build
from stages.common.progress import progress
from stages.common.settings import Budget, root
from stages.common.stage import begin
from stages.common.timing import timed
from stages.common.torch_setup import setup, torch_stream
from stages.common.transitions import Transitions
from stages.forward_model.onestep import OneStep
from stages.synthetic_data.cost import cost_record, parameter_count
from stages.synthetic_data.generate import generate
from stages.synthetic_data.join import joined, real_share, total
from stages.synthetic_data.settings import Augment
from stages.synthetic_data.terminals import ended, rule_of, terminals_learned
from stages.tasks.tasks import Task

READS = root("generators", "horizon", "terminals", "discount", "real_fraction", "device", "threads") | {
    "budget": Budget,
    "augment": Augment,
    "onestep": Settings,
}


def rollout(model: OneStep, healthy, states, actions, horizon: int, penalty: float, stream: torch.Generator):
    """Rolls the models out from real states (B, S), with the data's actions (B, A) first, then the cloned policy's.

    Arguments:
        healthy: the environment's rule or None, see `terminals.rule_of`.
        penalty: factor of the models' uncertainty, see `OneStep.step`.

    Returns:
        the arguments of `to_transitions` in NumPy: states (B, H + 1, S), actions (B, H, A), rewards, ended and
        penalties (B, H).
    """
    path, path_actions, rewards, ends, penalties = [states], [actions], [], [], []
    for step in range(horizon):
        reward, end, next_states, uncertainty = model.step(path[-1], path_actions[-1], stream)
        path.append(next_states)
        rewards.append(reward)
        penalties.append(penalty * uncertainty)
        if end is not None:
            ends.append(end)
        if step < horizon - 1:
            path_actions.append(model.behave(next_states, stream))

    def stacked(parts):
        return torch.stack(parts, dim=1).cpu().numpy() if parts else None

    path, path_actions, rewards, ends, penalties = map(stacked, (path, path_actions, rewards, ends, penalties))
    return path, path_actions, rewards, ended(path[:, 1:], healthy, ends), penalties


def main():
    given, params = begin(__doc__, READS, "dataset")
    dataset, device = given.dataset, setup(params.device, params.threads)
    with timed(f"data/{dataset}/onestep.npz"):
        data, task = Transitions.load(f"data/{dataset}/real.npz"), Task.load(dataset)
        trained, config, sampled = f"models/{dataset}/onestep.safetensors", params.onestep.dynamics, []
        learned, healthy = terminals_learned(data, task, params.terminals), rule_of(task, params.terminals)
        models = torch.nn.ModuleList(build(data, learned, dataset, k, config) for k in range(params.generators))
        models.to(device).eval().load_state_dict(load_file(trained, str(device)))
        states, actions = (torch.from_numpy(part).to(device) for part in (data.observations, data.actions))
        for k, model in enumerate(progress(models, f"onestep {dataset}", unit="generator")):
            stream = torch_stream("onestep", dataset, k, "rollouts", device=device)

            def sample_windows(starts, model=model, stream=stream):
                given = states[starts], actions[starts], params.horizon, params.onestep.penalty
                return rollout(model, healthy, *given, stream)

            sampled.append(generate(data, sample_windows, params, f"onestep {dataset} generator {k}", stream))
        parts, counts = zip(*sampled, strict=True)
        summed, horizon = total(counts), params.horizon
        passes = summed["windows"] * (horizon * config.members + horizon - 1) / summed["kept"]
        cost = cost_record([trained], parameter_count(models[0].dynamics, models[0].behaviour), passes, summed)
        joined(parts, real_share(params.onestep.real_fraction, params), cost).save(f"data/{dataset}/onestep.npz")


if __name__ == "__main__":
    main()

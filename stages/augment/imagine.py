"""DAWM's second phase: samples windows from real states and actions, and infers the later actions."""

import numpy as np
import torch

from stages.common.transitions import Transitions, return_to_go
from stages.idm.model import InverseDynamics
from stages.synthetic_data.terminals import ended, rule_of
from stages.tasks.tasks import Task
from stages.world_model.model import WorldModel


def completed_windows(
    model: WorldModel, inverse: InverseDynamics | None, healthy, states, actions, returns, sampler, stream, guide=None
):
    """Windows from real states (B, S) and actions (B, A), each conditioned on its return-to-go (B,).

    The first action is the real one. The inverse model infers the later ones from consecutive imagined states; without
    an inverse model, the world model itself imagines them.

    Arguments:
        healthy: the environment's rule or None, see `terminals.rule_of`.
        guide: see `WorldModel.sample`.

    Returns:
        NumPy states (B, H + 1, S), actions (B, H, A), rewards (B, H), ended (B, H) bool.
    """
    windows = model.sample(states, actions, returns, sampler, stream, guide=guide)
    path = torch.cat([states[:, None], windows.states], dim=1)
    later = windows.actions[:, 1:] if inverse is None else inverse.infer(path[:, 1:-1], path[:, 2:], stream)
    actions = torch.cat([actions[:, None], later], dim=1)
    learned = None if windows.terminals is None else windows.terminals.cpu().numpy()
    path = path.cpu().numpy()
    return path, actions.cpu().numpy(), windows.rewards.cpu().numpy(), ended(path[:, 1:], healthy, learned)


def target_return(data: Transitions, setting, discount: float, task: Task) -> float:
    """The return-to-go to condition on, divided by the task's return scale.

    Arguments:
        setting: `target_return` of params.yaml, a number or a quantile of the data's returns-to-go.
    """
    if isinstance(setting, float):
        return setting
    return float(np.quantile(return_to_go(data.rewards, data.episode, discount), setting.quantile) / task.return_scale)


def window_sampler(data: Transitions, task: Task, model, inverse, params, stream):
    """The `sample_windows` function of `generate`: for DAWM or, without an inverse model, for its ablation `joint`.

    Arguments:
        params: has `discount`, `target_return`, `terminals` and `sampler`.
    """
    target = target_return(data, params.target_return, params.discount, task)
    healthy = rule_of(task, params.terminals)
    states, actions = (torch.from_numpy(part).to(stream.device) for part in (data.observations, data.actions))

    def sample_windows(starts):
        given = states[starts], actions[starts], torch.full((len(starts),), target, device=stream.device)
        return completed_windows(model, inverse, healthy, *given, params.sampler, stream)

    return sample_windows

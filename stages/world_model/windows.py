"""Windows of consecutive transitions within episodes: the world model's training set."""

import numpy as np
import torch

from stages.common.transitions import Transitions, return_to_go, steps_left


class Windows:
    """All windows of `horizon` transitions, one from each transition; steps beyond an episode's end are masked.

    So terminal states are in the training set too, and no window crosses into the next episode.

    Arguments:
        terminal: whether a step holds a terminal flag, see `terminals.terminals_learned`.
        joint: whether a step holds its action.

    Attributes:
        states: (N, S), actions: (N, A), returns: (N,), returns-to-go over the task's scale: the conditions.
        steps: (N, D).
    """

    def __init__(
        self,
        data: Transitions,
        horizon: int,
        discount: float,
        return_scale: float,
        terminal: bool,
        device,
        joint: bool = False,
    ):
        left = steps_left(data.episode)
        if horizon > left.max():
            raise SystemExit(
                f"params.yaml: horizon = {horizon} exceeds the longest episode of the data, {left.max()} steps"
            )
        returns = return_to_go(data.rewards, data.episode, discount) / return_scale
        self.horizon = horizon
        self.states = torch.from_numpy(data.observations).to(device)
        self.actions = torch.from_numpy(data.actions).to(device)
        self.returns = torch.from_numpy(returns.astype(np.float32)).to(device)
        self.left = torch.from_numpy(left).to(device)
        terminals = [data.terminal()[:, None].astype(np.float32)] if terminal else []
        actions = [data.actions] if joint else []
        steps = np.concatenate([data.rewards[:, None], *terminals, *actions, data.next_observations], axis=1)
        self.steps = torch.from_numpy(steps).to(device)
        self.offsets = torch.arange(horizon, device=device)

    def __call__(self, starts: torch.Tensor):
        """(B,) starts → steps (B, H, D), and whether each exists, (B, H) bool.

        A step holds reward, optional terminal flag and action, and next state. Beyond an episode's end the last step is
        repeated and marked as not existing.
        """
        left = self.left[starts][:, None]
        rows = starts[:, None] + self.offsets.minimum(left - 1)
        return self.steps[rows], self.offsets < left

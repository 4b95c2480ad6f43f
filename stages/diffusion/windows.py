"""Windows of consecutive transitions, cut from episodes; the world model's training set."""

import numpy as np
import torch

from stages.common.transitions import Transitions, return_to_go


def steps_left(episode: np.ndarray) -> np.ndarray:
    """(N,): transitions from each one, itself counted, to the end of its episode."""
    ends = np.append(np.flatnonzero(np.diff(episode)), len(episode) - 1)
    return ends[np.searchsorted(ends, np.arange(len(episode)))] - np.arange(len(episode)) + 1


class Windows:
    """A window starts at every transition, also near an end of an episode: there its later steps are masked.

    So terminal states are among what the model learns to imagine, and no window crosses into the next episode.

    Arguments:
        terminal: whether a step says that the task ended there, for environments whose own rule is not known.
        joint: whether a step holds its action, too.

    Attributes:
        states: (N, S); actions: (N, A); returns: (N,): the conditions, return-to-go over the task's scale.
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
                f"params.yaml: horizon = {horizon}: beyond the longest episode of the data, {left.max()} steps"
            )
        returns = return_to_go(data.rewards, data.episode, discount) / return_scale
        self.horizon = horizon
        self.states = torch.from_numpy(data.observations).to(device)
        self.actions = torch.from_numpy(data.actions).to(device)
        self.returns = torch.from_numpy(returns.astype(np.float32)).to(device)
        self.left = torch.from_numpy(left).to(device)
        ended = [(data.discounts == 0)[:, None].astype(np.float32)] if terminal else []
        actions = [data.actions] if joint else []
        steps = np.concatenate([data.rewards[:, None], *ended, *actions, data.next_observations], axis=1)
        self.steps = torch.from_numpy(steps).to(device)  # (N, D)
        self.offsets = torch.arange(horizon, device=device)

    def __call__(self, starts: torch.Tensor):
        """(B,) starts → steps (B, H, D), each a reward, perhaps a terminal and the action, and the state after it; and
        which of them exist, (B, H) bool.

        Beyond an episode's end the last step is repeated, and marked as not existing.
        """
        left = self.left[starts][:, None]
        rows = starts[:, None] + self.offsets.minimum(left - 1)
        return self.steps[rows], self.offsets < left

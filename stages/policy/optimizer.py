"""Adam for all learners at once, in a form that CUDA graphs can capture."""

import torch

from stages.common.descent import descend as step


def adam(groups, rate: float | torch.Tensor) -> torch.optim.Adam:
    """torch's fused Adam, capturable on CUDA.

    Arguments:
        groups: parameters, or dicts of them with their own "lr"; a learning rate that changes must be a tensor.
    """
    optimizer = torch.optim.Adam(groups, lr=rate, fused=True)
    for group in optimizer.param_groups:
        group["capturable"] = group["params"][0].is_cuda
    return optimizer


def descend(optimizer: torch.optim.Adam, losses: torch.Tensor):
    """One step on the sum of the learners' losses, (learners,); learners share no weights, so gradients do not mix."""
    step(optimizer, losses.sum())

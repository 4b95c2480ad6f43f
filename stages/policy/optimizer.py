"""Adam for all learners at once, fit for CUDA graphs."""

import torch


def adam(groups, rate: float) -> torch.optim.Adam:
    """torch's fused Adam; on CUDA its steps can be captured.

    Arguments:
        groups: parameters, or dicts of them with an "lr" of their own: a tensor where it changes during the training.
    """
    optimizer = torch.optim.Adam(groups, lr=rate, fused=True)
    for group in optimizer.param_groups:
        group["capturable"] = group["params"][0].is_cuda
    return optimizer


def descend(optimizer: torch.optim.Adam, losses: torch.Tensor):
    """One step down the sum of the learners' losses (learners,); they share no weight, so no gradient mixes."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight, gradient in zip(weights, torch.autograd.grad(losses.sum(), weights), strict=True):
        weight.grad = gradient
    optimizer.step()
    optimizer.zero_grad()

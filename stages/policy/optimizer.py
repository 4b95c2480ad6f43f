"""Adam for all learners at once, in a form that CUDA graphs can capture."""

import math

import torch

from stages.common.descent import laid_out_like


def adam(groups, rate: float | torch.Tensor) -> torch.optim.Adam:
    """torch's fused Adam, capturable on CUDA.

    Arguments:
        groups: parameters, or dicts of them with their own "lr"; a learning rate that changes must be a tensor.
    """
    optimizer = torch.optim.Adam(groups, lr=rate, fused=True)
    for group in optimizer.param_groups:
        group["capturable"] = group["params"][0].is_cuda
    return optimizer


def descend(optimizer: torch.optim.Adam, losses: torch.Tensor, largest: float | None = None):
    """One step on the sum of the learners' losses, (learners,); learners share no weights, so gradients do not mix.

    Arguments:
        largest: norm above which a learner's gradient is scaled down to it; None for any norm.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    gradients = torch.autograd.grad(losses.sum(), weights)
    if largest is not None:
        squares = [gradient.square().flatten(1).sum(1).view(-1, len(losses)).sum(0) for gradient in gradients]
        factors = (largest / sum(squares).sqrt()).clamp(max=1.0)
        gradients = [each * factors.repeat(len(each) // len(losses)).view(-1, 1, 1) for each in gradients]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = laid_out_like(weight, gradient)
    optimizer.step()
    optimizer.zero_grad()


def cosine(done: torch.Tensor, steps: int) -> torch.Tensor:
    """The factor of a learning rate that falls from 1 to 0 by a cosine; `done` is the number of updates made, ()."""
    return (1 + torch.cos(done * (math.pi / steps))) / 2

"""One step of an optimizer, in a form that CUDA graphs can capture."""

import torch


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor):
    """Changes the optimizer's weights by one step down the gradient of a scalar loss."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
        weight.grad = laid_out_like(weight, gradient)
    optimizer.step()
    optimizer.zero_grad()


def laid_out_like(weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The gradient with the weight's strides: `backward` sees to it, `grad` and compiled losses do not.

    Fused Adam reads both as they lie in memory: on CUDA it refuses other strides, on a CPU it mixes up the entries.
    """
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)

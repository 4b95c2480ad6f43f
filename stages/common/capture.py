"""CUDA graphs: what a function launches is recorded once, and then launched again in one call."""

import torch

WARM_UP = 3  # times that a function runs before it is captured


def graph(function):
    """A CUDA graph of what the function launches; calling it launches the same again. Nothing runs yet."""
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        function()
    return captured.replay


class Captured:
    """A function without arguments that is captured after a few ordinary calls.

    It must read what changes from tensors that stay where they are, and draw no random numbers: a graph would replay
    its own for ever.

    Arguments:
        capture: of such a function, returns another that does the same; None captures nothing.
    """

    def __init__(self, function, capture=None):
        self.function, self.capture, self.ran, self.replay = function, capture, 0, None

    def __call__(self):
        self.ran += 1
        if self.capture is None or self.ran <= WARM_UP:
            return self.function()
        if self.replay is None:
            self.replay = self.capture(self.function)
        return self.replay()

"""CUDA graphs: the kernels that a function launches are recorded once and then replayed in one call."""

import torch

WARM_UP = 3  # ordinary calls before the capture


def graph(function):
    """Captures the kernels that the function launches; returns a function that replays them. Nothing runs yet."""
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        function()
    return captured.replay


class Captured:
    """A function without arguments that is captured as a graph after a few ordinary calls.

    It must read changing values from fixed tensors and draw no random numbers, since a graph would replay the same
    numbers for ever.

    Arguments:
        capture: takes the function and returns one that replays it; None: never capture.
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

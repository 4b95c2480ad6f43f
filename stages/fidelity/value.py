"""What a state is worth: the return-to-go that the data went on to reach from states like it."""

import numpy as np
import torch
from torch import nn

from stages.common.rng import seed_of, torch_stream

WIDTH, UPDATES, BATCH, RATE = 128, 2000, 512, 1e-3


class Value:
    """A regression by an MLP of two hidden layers: the mean of `targets` (N,) given `inputs` (N, D), all NumPy.

    Nearest neighbours, tried first, are too coarse: what a window changes is less than what neighbours differ by.
    """

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, name: str, device: torch.device):
        self.mean, self.std, self.device = inputs.mean(0), inputs.std(0).clip(1e-6), device
        x, y = self.prepared(inputs), torch.from_numpy(targets.astype(np.float32)).to(device)
        torch.manual_seed(seed_of("value", name))
        layers = nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1)
        self.network, stream = nn.Sequential(*layers).to(device), torch_stream("value", name, "rows", device=device)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE, fused=True)
        for _ in range(UPDATES):
            rows = torch.randint(len(x), (BATCH,), generator=stream, device=device)
            loss = (self.network(x[rows])[:, 0] - y[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def prepared(self, inputs: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(((inputs - self.mean) / self.std).astype(np.float32)).to(self.device)

    @torch.no_grad()
    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """(M, D) → (M,)."""
        return self.network(self.prepared(inputs))[:, 0].cpu().numpy().astype(np.float64)

"""Value of a state: the mean return-to-go that the data reached from similar states."""

import numpy as np
import torch
from torch import nn

from stages.common.rng import seed_of
from stages.common.torch_setup import torch_stream

WIDTH, UPDATES, BATCH, RATE = 128, 2000, 512, 1e-3


class Value:
    """Regression by an MLP with two hidden layers: the mean of `targets` (N,) given `inputs` (N, D), all NumPy.

    Nearest neighbours are too coarse for this: neighbours' values differ by more than a window changes one.
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
        """Inputs standardised, as float32 on the device."""
        return torch.from_numpy(((inputs - self.mean) / self.std).astype(np.float32)).to(self.device)

    @torch.no_grad()
    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """(M, D) → (M,)."""
        return self.network(self.prepared(inputs))[:, 0].cpu().numpy().astype(np.float64)

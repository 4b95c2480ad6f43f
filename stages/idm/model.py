"""The inverse dynamics model: which action leads from one state to the next?"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from stages.common.files import atomic


class InverseDynamics(nn.Module):
    """An MLP on the standardised state and the standardised change of state, trained by squared error.

    Differs from Decision Diffuser's, which sees both states as they are: a step changes a state by little, so the
    change, scaled to its own size, carries what the action did.
    """

    def __init__(self, state: int, action: int, hidden: list[int]):
        super().__init__()
        for name, value in (
            ("mean", torch.zeros),
            ("std", torch.ones),
            ("change_mean", torch.zeros),
            ("change_std", torch.ones),
        ):
            self.register_buffer(name, value(state))
        widths = [2 * state, *hidden]
        layers = [part for i, o in zip(widths, hidden, strict=False) for part in (nn.Linear(i, o), nn.ReLU())]
        self.network = nn.Sequential(*layers, nn.Linear(widths[-1], action))

    def fit_scales(self, states: torch.Tensor, next_states: torch.Tensor):
        """(N, S) each: the statistics that standardise the inputs."""
        change = (next_states - states).double()
        self.mean.copy_(states.double().mean(0))
        self.std.copy_(states.double().std(0).clamp_min(1e-6))
        self.change_mean.copy_(change.mean(0))
        self.change_std.copy_(change.std(0).clamp_min(1e-6))

    def forward(self, states: torch.Tensor, next_states: torch.Tensor) -> torch.Tensor:
        """(…, S), (…, S) → (…, A), not clipped."""
        change = (next_states - states - self.change_mean) / self.change_std
        return self.network(torch.cat([(states - self.mean) / self.std, change], dim=-1))

    @torch.no_grad()
    def infer(self, states: torch.Tensor, next_states: torch.Tensor) -> torch.Tensor:
        """The action, within [-1, 1]."""
        return self(states, next_states).clamp(-1, 1)


def save(models: list[InverseDynamics], path: Path | str):
    """The generators' models in one file."""
    with atomic(path) as temporary:
        save_file(
            {f"{k}.{name}": tensor for k, model in enumerate(models) for name, tensor in model.state_dict().items()},
            temporary,
        )


def load(path: Path | str, device: torch.device) -> list[InverseDynamics]:
    """What `save` wrote; the shapes of the weights tell the sizes."""
    tensors = load_file(path, device=str(device))
    models = []
    while own := {
        name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{len(models)}.")
    }:
        outputs = [tensor.shape[0] for name, tensor in sorted(own.items()) if name.endswith("bias")]
        model = InverseDynamics(len(own["mean"]), outputs[-1], outputs[:-1]).to(device).eval()
        model.load_state_dict(own)
        models.append(model)
    return models

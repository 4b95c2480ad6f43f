"""The inverse dynamics model predicts the action that leads from one state to the next."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stages.common.files import atomic

LOG_STD = -5.0, 2.0  # bounds of the Gaussian's log standard deviation


class InverseDynamics(nn.Module):
    """An MLP on the standardised state and the standardised change of state.

    The head is a mean, or a Gaussian from which `infer` samples. The mean has the least squared error, but if the
    states do not determine the action, its actions vary less than the real ones.

    Differs from Decision Diffuser's model, whose inputs are both states unchanged. One step changes the state only a
    little, so the change, scaled to unit size, shows the effect of the action better.
    """

    def __init__(self, state: int, action: int, hidden: list[int], head: str):
        super().__init__()
        self.head = head
        for name, value in (
            ("mean", torch.zeros),
            ("std", torch.ones),
            ("change_mean", torch.zeros),
            ("change_std", torch.ones),
        ):
            self.register_buffer(name, value(state))
        widths = [2 * state, *hidden]
        layers = [layer for i, o in zip(widths, hidden, strict=False) for layer in (nn.Linear(i, o), nn.ReLU())]
        self.body, self.leave = nn.Sequential(*layers), nn.Linear(widths[-1], action)
        self.spread = nn.Linear(widths[-1], action) if head == "gaussian" else None

    def fit_scales(self, states: torch.Tensor, next_states: torch.Tensor):
        """Fits the statistics that standardise the inputs, from (N, S) states and next states."""
        change = (next_states - states).double()
        self.mean.copy_(states.double().mean(0))
        self.std.copy_(states.double().std(0).clamp_min(1e-6))
        self.change_mean.copy_(change.mean(0))
        self.change_std.copy_(change.std(0).clamp_min(1e-6))

    def forward(self, states: torch.Tensor, next_states: torch.Tensor):
        """(…, S), (…, S) → mean (…, A), not clipped, and log standard deviation (…, A) of a Gaussian head or None."""
        change = (next_states - states - self.change_mean) / self.change_std
        hidden = self.body(torch.cat([(states - self.mean) / self.std, change], dim=-1))
        return self.leave(hidden), self.spread and self.spread(hidden.detach()).clamp(*LOG_STD)

    def loss(self, states, next_states, actions) -> torch.Tensor:
        """The squared error of the mean plus, with a Gaussian head, the residual's negative log-likelihood; () tensor.

        The likelihood trains only the standard deviation. If it trained the mean too, the model would explain errors by
        a larger deviation instead of correcting them (Seitzer et al. 2022, arXiv 2203.09168).
        """
        mean, log_std = self(states, next_states)
        loss = (mean - actions).square().mean()
        if log_std is None:
            return loss
        return loss + (0.5 * ((mean.detach() - actions) / log_std.exp()).square() + log_std).mean()

    @torch.no_grad()
    def infer(self, states: torch.Tensor, next_states: torch.Tensor, stream: torch.Generator | None = None):
        """Actions (…, A) within [-1, 1]: the mean or, with a Gaussian head and a stream, a sample."""
        mean, log_std = self(states, next_states)
        if log_std is not None and stream is not None:
            mean = mean + log_std.exp() * torch.randn(mean.shape, generator=stream, device=mean.device)
        return mean.clamp(-1, 1)


def save(models: list[InverseDynamics], path: Path | str):
    """Saves the models of all generators in one file."""
    with atomic(path) as temporary:
        save_file(
            {f"{k}.{name}": tensor for k, model in enumerate(models) for name, tensor in model.state_dict().items()},
            temporary,
            metadata={"head": models[0].head},
        )


def load(path: Path | str, device: torch.device) -> list[InverseDynamics]:
    """Loads the models that `save` wrote; their sizes follow from the weights' shapes."""
    with safe_open(path, "pt", device=str(device)) as file:
        head, tensors = file.metadata()["head"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    models = []
    while weights := {
        name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{len(models)}.")
    }:
        biases = [name for name in weights if name.startswith("body") and name.endswith("bias")]
        layers = sorted(int(name.split(".")[1]) for name in biases)
        hidden = [len(weights[f"body.{layer}.bias"]) for layer in layers]
        model = InverseDynamics(len(weights["mean"]), len(weights["leave.bias"]), hidden, head).to(device).eval()
        model.load_state_dict(weights)
        models.append(model)
    return models

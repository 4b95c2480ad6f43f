"""The inverse dynamics model: which action leads from one state to the next?"""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from stages.common.files import atomic

LOG_STD = -5.0, 2.0  # bounds of the Gaussian's log standard deviation


class InverseDynamics(nn.Module):
    """An MLP on the standardised state and the standardised change of state.

    Its head is the mean, or a Gaussian about it, from which `infer` samples: a mean is the best single guess, but where
    the states leave the action open it makes actions alike.

    Differs from Decision Diffuser's, which sees both states as they are: a step changes a state by little, so the
    change, scaled to its own size, carries what the action did.
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
        layers = [part for i, o in zip(widths, hidden, strict=False) for part in (nn.Linear(i, o), nn.ReLU())]
        self.body, self.leave = nn.Sequential(*layers), nn.Linear(widths[-1], action)
        self.spread = nn.Linear(widths[-1], action) if head == "gaussian" else None

    def fit_scales(self, states: torch.Tensor, next_states: torch.Tensor):
        """(N, S) each: the statistics that standardise the inputs."""
        change = (next_states - states).double()
        self.mean.copy_(states.double().mean(0))
        self.std.copy_(states.double().std(0).clamp_min(1e-6))
        self.change_mean.copy_(change.mean(0))
        self.change_std.copy_(change.std(0).clamp_min(1e-6))

    def forward(self, states: torch.Tensor, next_states: torch.Tensor):
        """(…, S), (…, S) → mean (…, A), not clipped, and the logarithm of the standard deviation, or None."""
        change = (next_states - states - self.change_mean) / self.change_std
        hidden = self.body(torch.cat([(states - self.mean) / self.std, change], dim=-1))
        return self.leave(hidden), self.spread and self.spread(hidden.detach()).clamp(*LOG_STD)

    def loss(self, states, next_states, actions) -> torch.Tensor:
        """Squared error of the mean; with a Gaussian head also the negative log-likelihood of what the mean leaves, ()
        tensor.

        The likelihood trains neither the mean nor what it is made from: where it errs, it would rather say that it is
        unsure (Seitzer et al. 2022, arXiv 2203.09168).
        """
        mean, log_std = self(states, next_states)
        loss = (mean - actions).square().mean()
        if log_std is None:
            return loss
        return loss + (0.5 * ((mean.detach() - actions) / log_std.exp()).square() + log_std).mean()

    @torch.no_grad()
    def infer(self, states: torch.Tensor, next_states: torch.Tensor, stream: torch.Generator | None = None):
        """The action, within [-1, 1]: the mean, or with a Gaussian head and a stream, a sample; (…, A)."""
        mean, log_std = self(states, next_states)
        if log_std is not None and stream is not None:
            mean = mean + log_std.exp() * torch.randn(mean.shape, generator=stream, device=mean.device)
        return mean.clamp(-1, 1)


def save(models: list[InverseDynamics], path: Path | str):
    """The generators' models in one file."""
    with atomic(path) as temporary:
        save_file(
            {f"{k}.{name}": tensor for k, model in enumerate(models) for name, tensor in model.state_dict().items()},
            temporary,
            metadata={"head": models[0].head},
        )


def load(path: Path | str, device: torch.device) -> list[InverseDynamics]:
    """What `save` wrote; the shapes of the weights tell the sizes."""
    with safe_open(path, "pt", device=str(device)) as file:
        head, tensors = file.metadata()["head"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    models = []
    while own := {
        name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{len(models)}.")
    }:
        layers = sorted(int(name.split(".")[1]) for name in own if name.startswith("body") and name.endswith("bias"))
        hidden = [len(own[f"body.{layer}.bias"]) for layer in layers]
        model = InverseDynamics(len(own["mean"]), len(own["leave.bias"]), hidden, head).to(device).eval()
        model.load_state_dict(own)
        models.append(model)
    return models

"""The papers' denoiser: a temporal U-Net (Diffuser, arXiv 2205.09991; Decision Diffuser and DWM use the same)."""

from itertools import pairwise

import torch
from torch import nn

from stages.diffusion.embedding import features
from stages.world_model.settings import GROUPS


def convolution(inputs: int, outputs: int, kernel: int) -> nn.Module:
    """A convolution over time, group normalisation and Mish."""
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2), nn.GroupNorm(GROUPS, outputs), nn.Mish()
    )


class Residual(nn.Module):
    """Two convolutions over time, with the condition added between them and a skip connection around them."""

    def __init__(self, inputs: int, outputs: int, embedding: int, kernel: int):
        super().__init__()
        self.first = convolution(inputs, outputs, kernel)
        self.condition = nn.Sequential(nn.Mish(), nn.Linear(embedding, outputs))
        self.second = convolution(outputs, outputs, kernel)
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, embedding):  # (B, inputs, T), (B, embedding) → (B, outputs, T)
        return self.second(self.first(x) + self.condition(embedding)[:, :, None]) + self.skip(x)


def embedder(inputs: int, outputs: int, layers: int) -> nn.Module:
    """An MLP with Mish between its linear layers."""
    modules = [nn.Linear(inputs, outputs)]
    for _ in range(layers - 1):
        modules += [nn.Mish(), nn.Linear(outputs, outputs)]
    return nn.Sequential(*modules)


class UnetDenoiser(nn.Module):
    """A U-Net over H + 1 positions of time: the first state, clean at every noise level, then the H noisy steps.

    Noise level, return-to-go and first action are embedded separately and concatenated, as in DWM. Any horizon works:
    the sequence is padded with zeros to a length that the levels can halve. Differs from the papers in the noise label
    (ln σ / 4) and in hiding the return-to-go by a flag beside its zeroed embedding.
    """

    def __init__(self, horizon: int, step: int, state: int, action: int, config):
        super().__init__()
        embedding, kernel = config.embedding, config.kernel
        widths = config.widths
        self.multiple = 2 ** (len(widths) - 1)
        self.level = embedder(features.width, embedding, layers=2)
        self.returns = embedder(features.width, embedding, layers=3)
        self.action = embedder(action, embedding, layers=3)
        condition = 3 * embedding + 1

        def residual(inputs, outputs):
            return Residual(inputs, outputs, condition, kernel)

        pairs = list(zip([step, *widths[:-1]], widths, strict=True))
        self.down = nn.ModuleList(
            nn.ModuleList([residual(i, o), residual(o, o), nn.Conv1d(o, o, 3, 2, 1) if halves else nn.Identity()])
            for (i, o), halves in zip(pairs, [True] * (len(pairs) - 1) + [False], strict=True)
        )
        self.middle = nn.ModuleList([residual(widths[-1], widths[-1]), residual(widths[-1], widths[-1])])
        self.up = nn.ModuleList(
            nn.ModuleList([nn.ConvTranspose1d(o, i, 4, 2, 1), residual(2 * i, i), residual(i, i)])
            for i, o in reversed(list(pairwise(widths)))
        )
        self.leave = nn.Sequential(convolution(widths[0], widths[0], kernel), nn.Conv1d(widths[0], step, 1))

    def forward(self, x, level, condition):
        """Scaled noisy window (B, H, D), noise label (B,), Condition → (B, H, D)."""
        known = condition.returns_known[:, None]
        returns = self.returns(features(condition.returns)) * known
        embedding = torch.cat([self.level(features(level)), returns, known, self.action(condition.actions)], dim=1)

        first = nn.functional.pad(condition.states, (x.shape[-1] - condition.states.shape[-1], 0))  # no reward yet
        sequence = torch.cat([first[:, None], x], dim=1).transpose(1, 2)  # (B, D, H + 1)
        hidden = nn.functional.pad(sequence, (0, -sequence.shape[-1] % self.multiple))

        skips = []
        for block, next_block, shrink in self.down:
            hidden = next_block(block(hidden, embedding), embedding)
            skips.append(hidden)
            hidden = shrink(hidden)
        skips.pop()
        for block in self.middle:
            hidden = block(hidden, embedding)
        for grow, block, next_block in self.up:
            hidden = torch.cat([grow(hidden), skips.pop()], dim=1)
            hidden = next_block(block(hidden, embedding), embedding)
        return self.leave(hidden).transpose(1, 2)[:, 1 : 1 + x.shape[1]]

"""Noise processes behind one interface: noisy data are x + σ ε, and a denoiser estimates the clean x.

A variance-preserving DDPM is the same process seen through x / √(1 + σ²), with σ² = (1 - ᾱ) / ᾱ, so it shares its
samplers with EDM (Karras et al. 2022, arXiv 2206.00364, section 2; Song et al. 2021, arXiv 2010.02502, section 4.3).
Flow matching is the same process too, see `Flow`.

A process defines the noise levels of training (`draw`) and of sampling (`sigmas`), whether sampling clips clean
estimates to the data's range (`clips`), and three coefficients: the clean estimate is skip x + out F(scale x, ln σ / 4,
condition) for a network F. The loss is the squared error of F, which is that of the clean estimate divided by out².
"""

import math

import torch


def shaped(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Reshapes a tensor of x's first dimensions, or (), to broadcast against x."""
    return sigma.reshape(*sigma.shape, *[1] * (x.dim() - sigma.dim()))


class Process:
    """Base class: derives the loss weight and the denoiser from the coefficients of a process."""

    def weight(self, sigma: torch.Tensor) -> torch.Tensor:
        """(B,) σ → (B,) weight of the clean estimate's squared error."""
        return self.coefficients(sigma)[2] ** -2

    def denoise(self, network, x: torch.Tensor, sigma: torch.Tensor, condition) -> torch.Tensor:
        """Noisy (B, …) at levels σ (B,) → clean estimate (B, …)."""
        scale, skip, out = self.coefficients(shaped(sigma, x))
        return skip * x + out * network(x * scale, sigma.log() / 4, condition)


class Edm(Process):
    """Karras et al. 2022, table 1, last column."""

    clips = False

    def __init__(self, config):
        self.config = config

    def draw(self, normal: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) standard normal and uniform draws → (B,) σ; ln σ is normal."""
        return (normal * self.config.log_std + self.config.log_mean).exp()

    def coefficients(self, sigma: torch.Tensor):
        data = self.config.sigma_data
        total = sigma**2 + data**2
        return total.rsqrt(), data**2 / total, sigma * data * total.rsqrt()

    def sigmas(self, steps: int, device=None) -> torch.Tensor:
        """(steps + 1,) falling to 0, eq. 5."""
        c = self.config
        ramp = torch.linspace(0, 1, steps, dtype=torch.float64, device=device)
        high, low = c.sigma_max ** (1 / c.rho), c.sigma_min ** (1 / c.rho)
        return torch.cat([(high + ramp * (low - high)) ** c.rho, ramp.new_zeros(1)]).float()


PREDICTIONS = {  # F's target → (skip, out) as functions of σ
    "noise": lambda sigma: (torch.ones_like(sigma), -sigma),  # Ho et al. 2020, arXiv 2006.11239
    "clean": lambda sigma: (torch.zeros_like(sigma), torch.ones_like(sigma)),
    "velocity": lambda sigma: (  # Salimans and Ho 2022, arXiv 2202.00512, appendix D
        1 / (1 + sigma**2),
        -sigma * (1 + sigma**2).rsqrt(),
    ),
}


class Ddpm(Process):
    """DDPM with the cosine schedule (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17).

    Sampling clips clean estimates to the data's range, as Diffuser does: at the noisiest level σ is about 100, and an
    error of the predicted noise is that much larger in the clean estimate.
    """

    clips = True

    def __init__(self, config):
        def squared_cosine(t):
            return math.cos((t / config.levels + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [min(1 - squared_cosine(t + 1) / squared_cosine(t), 0.999) for t in range(config.levels)]
        alpha_bars = torch.tensor([1 - beta for beta in betas], dtype=torch.float64).cumprod(0)
        self.table = ((1 - alpha_bars) / alpha_bars).sqrt().float()  # rising
        self.prediction = PREDICTIONS[config.prediction]

    def draw(self, normal: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) standard normal and uniform draws → (B,) σ; every level is equally likely."""
        self.table = self.table.to(uniform.device)
        return self.table[(uniform * len(self.table)).long().clamp_max(len(self.table) - 1)]

    def coefficients(self, sigma: torch.Tensor):
        return (1 + sigma**2).rsqrt(), *self.prediction(sigma)

    def sigmas(self, steps: int, device=None) -> torch.Tensor:
        """(steps + 1,) falling to 0 from the noisiest level, at equal strides (Nichol and Dhariwal 2021, section 4).

        Raises:
            ValueError: if there are more steps than levels; `stages/check/consistency.py` rejects such parameters.
        """
        if steps > len(self.table):
            raise ValueError(f"{steps} sampler steps exceed the {len(self.table)} DDPM levels")
        levels = torch.linspace(len(self.table) - 1, 0, steps, dtype=torch.float64).round().long()
        return torch.cat([self.table.cpu()[levels], torch.zeros(1)]).to(device)


class Flow(Process):
    """Flow matching on straight paths (Lipman et al. 2023, arXiv 2210.02747; rectified flow, arXiv 2209.03003).

    A path xₜ = (1 - t) ε + t x is t (x + σ ε) with σ = (1 - t) / t, so it is the same process seen through x t. The
    network's target is the velocity x - ε, and Euler's method along the path is `ddim`. Times near 0 and 1 are left
    out, where σ or its logarithm has no bound.
    """

    clips = False
    EDGE = 1e-3

    def __init__(self, config):
        self.config = config

    def draw(self, normal: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) standard normal and uniform draws → (B,) σ; t is uniform, or its logit is normal.

        The latter is EDM's log-normal noise, since ln σ is minus the logit (Esser et al. 2024, arXiv 2403.03206).
        """
        if self.config.times == "logit-normal":
            return (-(normal * self.config.std + self.config.mean)).exp()
        t = self.EDGE + (1 - 2 * self.EDGE) * uniform
        return (1 - t) / t

    def coefficients(self, sigma: torch.Tensor):
        t = 1 / (1 + sigma)
        return t, t, 1 - t

    def sigmas(self, steps: int, device=None) -> torch.Tensor:
        """(steps + 1,) falling to 0: equal steps of t."""
        t = torch.linspace(self.EDGE, 1, steps + 1, dtype=torch.float64, device=device)
        return ((1 - t) / t).float()


def process(config):
    """Builds the process that a section names: its key `process`, with settings in the key of that name."""
    return {"edm": Edm, "ddpm": Ddpm, "flow": Flow}[config.process](getattr(config, config.process))

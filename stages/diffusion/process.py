"""Noising processes behind one interface: noise is x + σ ε, and a denoiser gives back the clean x.

A variance-preserving DDPM is the same process seen through x / √(1 + σ²), with σ² = (1 - ᾱ) / ᾱ, so it shares its
samplers with EDM (Karras et al. 2022, arXiv 2206.00364, section 2; Song et al. 2021, arXiv 2010.02502, section 4.3).

A process is what levels are trained at (`draw`), which ones a sampler visits (`sigmas`), whether sampling clips clean
estimates to the data's range (`clips`), and three coefficients: the clean estimate is skip x + out F(scale x, ln σ / 4,
condition) for a network F. The loss is the squared error of what F stands for, so the clean estimate's, over out².
"""

import math

import torch


def shaped(sigma: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """(B,) or () → broadcastable against x (B, …)."""
    return sigma.reshape(-1, *[1] * (x.dim() - 1))


class Process:
    """What all of them share."""

    def weight(self, sigma: torch.Tensor) -> torch.Tensor:
        """(B,) σ → (B,), of the squared error of the clean estimate."""
        return self.coefficients(sigma)[2] ** -2

    def denoise(self, network, x: torch.Tensor, sigma: torch.Tensor, condition) -> torch.Tensor:
        """Noisy (B, H, D) at levels (B,) → the clean estimate."""
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


PREDICTIONS = {  # what F stands for → (skip, out), from σ
    "noise": lambda sigma: (torch.ones_like(sigma), -sigma),  # Ho et al. 2020, arXiv 2006.11239
    "clean": lambda sigma: (torch.zeros_like(sigma), torch.ones_like(sigma)),
    "velocity": lambda sigma: (  # Salimans and Ho 2022, arXiv 2202.00512, appendix D
        1 / (1 + sigma**2),
        -sigma * (1 + sigma**2).rsqrt(),
    ),
}


class Ddpm(Process):
    """DDPM with the cosine schedule (Nichol and Dhariwal 2021, arXiv 2102.09672, eq. 17).

    When sampling, its clean estimates are clipped to the data's range, as Diffuser does: at the noisiest level σ is
    about 100, and so much larger is an error of the noise when it becomes one of the clean estimate.
    """

    clips = True

    def __init__(self, config):
        def signal(t):
            return math.cos((t / config.levels + 0.008) / 1.008 * math.pi / 2) ** 2

        betas = [min(1 - signal(t + 1) / signal(t), 0.999) for t in range(config.levels)]
        alpha_bars = torch.tensor([1 - beta for beta in betas], dtype=torch.float64).cumprod(0)
        self.table = ((1 - alpha_bars) / alpha_bars).sqrt().float()  # rising
        self.prediction = PREDICTIONS[config.prediction]

    def draw(self, normal: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """(B,) standard normal and uniform draws → (B,) σ, each level equally likely."""
        self.table = self.table.to(uniform.device)
        return self.table[(uniform * len(self.table)).long().clamp_max(len(self.table) - 1)]

    def coefficients(self, sigma: torch.Tensor):
        return (1 + sigma**2).rsqrt(), *self.prediction(sigma)

    def sigmas(self, steps: int, device=None) -> torch.Tensor:
        """(steps + 1,) falling to 0: levels at equal strides that end with the noisiest (Nichol and Dhariwal 2021, sec.
        4).

        Raises:
            SystemExit: where there are more steps than levels.
        """
        if steps > len(self.table):
            raise SystemExit(
                f"params.yaml: sampler.steps = {steps}: a ddpm of {len(self.table)} levels has no more steps"
            )
        levels = torch.linspace(len(self.table) - 1, 0, steps, dtype=torch.float64).round().long()
        return torch.cat([self.table.cpu()[levels], torch.zeros(1)]).to(device)


def process(config):
    """The process that the `diffusion` section names."""
    return Edm(config.edm) if config.process == "edm" else Ddpm(config.ddpm)

"""Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598)."""


def guided(denoise, weight: float):
    """Wraps a denoiser in guidance by its condition: weight 0 ignores the condition, 1 follows it, more exaggerates it.

    This is Decision Diffuser's and DWM's convention; the original paper's w is one less.

    Arguments:
        denoise: (x, σ, with_condition: bool) → clean x.
    """
    if weight in (0, 1):
        return lambda x, sigma: denoise(x, sigma, weight == 1)

    def guided_denoise(x, sigma):
        unconditional = denoise(x, sigma, False)
        return unconditional + weight * (denoise(x, sigma, True) - unconditional)

    return guided_denoise

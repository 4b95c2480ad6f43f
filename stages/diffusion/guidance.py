"""Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), as a function from denoisers to denoisers."""


def guided(denoise, weight: float):
    """Away from the unconditional estimate: weight 0 ignores the condition, 1 follows it, more exaggerates it.

    This is Decision Diffuser's and DWM's convention; the original paper's w is one less.

    Arguments:
        denoise: (x, σ, with_condition: bool) → clean x.
    """
    if weight == 1:
        return lambda x, sigma: denoise(x, sigma, True)

    def denoiser(x, sigma):
        plain = denoise(x, sigma, False)
        return plain + weight * (denoise(x, sigma, True) - plain)

    return denoiser

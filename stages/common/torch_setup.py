"""Sets torch's device, threads, precision and random streams."""

import warnings

import torch

from stages.common.rng import seed_of


def setup(device: str, threads: int) -> torch.device:
    """Sets torch up and returns the device; `auto` is CUDA if available.

    `threads` is fixed in params.yaml, not taken from the machine, since sums differ in their last bits with it.

    torch computes tanh, exp and their like on a CPU by MKL's vector library, which chooses its code when it is first
    called. If two threads do so at once, one of them may compute that first call by other code: in 14 of 80 processes,
    the first half of the first tanh had other last bits. So the first call is made here.

    Raises:
        SystemExit: if CUDA is asked for and not available.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("params.yaml: device = 'cuda': no CUDA device here; allowed: auto, cpu")
    torch.set_num_threads(threads)
    torch.zeros(1).tanh()  # by one thread, see above
    warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")  # not captured yet
    torch.set_float32_matmul_precision("high")  # TF32 on CUDA; nothing on a CPU
    return torch.device(device)


def torch_stream(*names: object, device: torch.device | str = "cpu") -> torch.Generator:
    """torch's random stream of that name, on the device."""
    return torch.Generator(device).manual_seed(seed_of(*names))

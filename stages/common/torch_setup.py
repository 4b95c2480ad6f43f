"""The one place where torch's device, threads and precision are set."""

import warnings

import torch


def setup(device: str, threads: int) -> torch.device:
    """The device that params.yaml asks for; `auto` is CUDA where there is one.

    `threads` is fixed in params.yaml, not taken from the machine, since sums differ in their last bits with it.

    Raises:
        SystemExit: where CUDA is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("params.yaml: device = 'cuda': no CUDA device here; allowed: auto, cpu")
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")  # not captured yet
    torch.set_float32_matmul_precision("high")  # TF32 on CUDA; nothing on a CPU
    return torch.device(device)

"""Checks and measures on a GPU what docs/performance.md says was never run there."""

from argparse import Namespace

from benchmarks import agreement, policies, world_model

SEEDS = (1, 5, 10, 50)
NEEDS_CUDA = "gpu: needs a CUDA device; docs/performance.md lists what was never measured on one"


def table(params, device, given):
    """Prints the tables of agreement, world model, sampling and policies; without CUDA, one line.

    The policies come last because they take longest. Algorithms whose updates raised an error are left out of them.

    Arguments:
        given: the command-line arguments, see `__main__.py`.
    """
    if device.type != "cuda":
        print(NEEDS_CUDA)
        return
    running = agreement.table(params, device, given)
    print()
    world_model.table(params, device, given)
    print()
    policies.table(params, device, Namespace(**{**vars(given), "algorithms": running, "seeds": given.seeds or SEEDS}))

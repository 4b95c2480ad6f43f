"""Named random streams: the numbers of a stream depend on its name alone, not on what ran before.

torch's streams are in `torch_setup.py`, so that stages without torch need not import it.
"""

import hashlib

import numpy as np


def seed_of(*names: object) -> int:
    """A 63-bit seed from the names of a stream."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_stream(*names: object) -> np.random.Generator:
    """NumPy's random stream of that name."""
    return np.random.default_rng(seed_of(*names))

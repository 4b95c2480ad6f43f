"""Progress that suits where it is shown: a bar on a terminal, a plain line now and then in a log."""

import sys
import time

from tqdm import tqdm


def progress(iterable, description: str, unit: str = "step", every: float = 20.0):
    """Passes `iterable` through and shows how far it is; in a log, a line each `every` seconds and one at the end.

    Arguments:
        iterable: with a length.
    """
    total = len(iterable)
    if sys.stderr.isatty():
        yield from tqdm(iterable, desc=description, unit=unit, mininterval=0.5)
        return
    start = said = time.monotonic()
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if now - said >= every or done == total:
            said = now
            speed = done / max(now - start, 1e-9)
            told = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
            print(f"{description}: {done:,}/{total:,} {unit}s, {told} {unit}s/s", file=sys.stderr, flush=True)

"""Progress that suits where it is shown: a bar on a terminal, a plain line now and then in a log."""

import sys
import time

from tqdm import tqdm


def progress(
    iterable, description: str, unit: str = "step", every: float = 20.0, total: int | None = None, scale: float = 1
):
    """Passes `iterable` through and shows how far it is; in a log, a line each `every` seconds and one at the end.

    Arguments:
        total: how many items there are, for an iterable without a length; None where nobody knows.
        scale: units in an item.
    """
    total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
    if sys.stderr.isatty():
        yield from tqdm(iterable, desc=description, unit=unit, mininterval=0.5, total=total, unit_scale=scale)
        return
    start = said = time.monotonic()
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if now - said >= every or done == total:
            said = now
            speed = scale * done / max(now - start, 1e-9)
            told = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
            of = "" if total is None else f"/{scale * total:,.0f}"
            print(f"{description}: {scale * done:,.0f}{of} {unit}s, {told} {unit}s/s", file=sys.stderr, flush=True)

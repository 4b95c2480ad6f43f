"""Progress as a bar on a terminal and as occasional plain lines in a log."""

import sys
import time

from tqdm import tqdm


def progress(
    iterable, description: str, unit: str = "step", every: float = 20.0, total: int | None = None, scale: float = 1
):
    """Yields the items of `iterable` and shows progress; in a log, a line every `every` seconds and one at the end.

    Arguments:
        total: number of items, for an iterable without a length; None if unknown.
        scale: units per item.
    """
    total = len(iterable) if total is None and hasattr(iterable, "__len__") else total
    if sys.stderr.isatty():
        yield from tqdm(iterable, desc=description, unit=unit, mininterval=0.5, total=total, unit_scale=scale)
        return
    start = last = time.monotonic()
    for done, item in enumerate(iterable, 1):
        yield item
        now = time.monotonic()
        if now - last >= every or done == total:
            last = now
            speed = scale * done / max(now - start, 1e-9)
            rate = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
            of = "" if total is None else f"/{scale * total:,.0f}"
            print(f"{description}: {scale * done:,.0f}{of} {unit}s, {rate} {unit}s/s", file=sys.stderr, flush=True)

"""Prints Markdown tables row by row, because a row may take minutes."""


def head(device, *columns: str, texts: int = 1):
    """Prints the first two lines of a table; on CUDA, a column for the peak of GPU memory is added.

    Arguments:
        texts: how many columns hold text, from the first on; the others hold numbers.
    """
    if device.type == "cuda":
        columns += ("peak GiB",)
    sides = [":--"] * texts + ["--:"] * (len(columns) - texts)
    print(f"| {' | '.join(columns)} |\n|{'|'.join(sides)}|", flush=True)


def row(*cells: str, memory: float | None):
    """Prints one line of a table; `memory` is in GiB, and None on a CPU."""
    if memory is not None:
        cells += (f"{memory:.2f}",)
    print(f"| {' | '.join(cells)} |", flush=True)

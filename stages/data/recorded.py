"""The md5 of local data sets, recorded in `recorded.csv`: a machine that collects other bytes says so in its results.

    python -m stages.data.recorded    collects every data set of the file again and rewrites it

The simulator calls the C library's sine and cosine, so a processor without FMA instructions, another architecture or
another C library may still collect other bytes than x86-64 Linux does.
"""

import csv
import tempfile
from functools import cache
from pathlib import Path

from stages.common.files import write_text
from stages.common.timing import digest

FILE = Path(__file__).with_name("recorded.csv")
DISCOUNT = 0.99  # part of the record of transitions, so its md5 holds for this one alone


@cache
def recorded() -> dict[tuple[str, int], str]:
    """(data set, number of transitions) → md5 of its real.npz."""
    with FILE.open(newline="", encoding="utf-8") as file:
        return {(row["dataset"], int(row["transitions"])): row["md5"] for row in csv.DictReader(file)}


def as_recorded(path: Path | str, dataset: str, transitions: int, discount: float) -> bool | None:
    """Whether a local data set's file has the recorded bytes; None if none are recorded for its size and discount."""
    expected = recorded().get((dataset, transitions)) if discount == DISCOUNT else None
    return expected and digest(path) == expected


def main():
    from stages.data.local import collect

    lines = ["dataset,transitions,md5"]
    with tempfile.TemporaryDirectory() as folder:
        for dataset, transitions in recorded():
            path = Path(folder) / "real.npz"
            collect(dataset, transitions, DISCOUNT, 2).save(path)
            lines.append(f"{dataset},{transitions},{digest(path)}")
    write_text(FILE, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

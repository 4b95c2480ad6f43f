"""Joins the transitions of all generators into one training set, in memory or written batch by batch."""

import glob
import os
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stages.common.files import atomic
from stages.common.transitions import WHOLE, Transitions

COPY_BYTES = 1 << 24  # held in memory at a time when columns are copied into the .npz


def joined(parts: list[dict], real_fraction: float, cost: np.ndarray) -> Transitions:
    """One record of the transitions of all generators, in the order of the generators.

    Arguments:
        parts: for each generator its columns, (n, …) each; n may differ between generators.
        real_fraction: share of real transitions in each training batch.
        cost: see `cost.cost_record`.
    """
    return Transitions(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
        generator=np.repeat(np.arange(len(parts), dtype=np.int8), [len(part["rewards"]) for part in parts]),
        real_fraction=np.float32(real_fraction),
        cost=cost,
    )


def real_share(own: float | None, params) -> float:
    """The real share of each training batch: a method's own or, if that is None, the root key's."""
    return params.real_fraction if own is None else own


def total(counts: list[dict]) -> dict:
    """The generators' counts, added up."""
    return {name: sum(count[name] for count in counts) for name in counts[0]}


class Stream:
    """A training set that is written batch by batch, so that memory holds one batch at a time; see `streamed`."""

    def __init__(self, folder: Path):
        self.folder, self.rows = folder, 0
        self.row_types = {}  # column → (dtype, shape of one row)

    def add(self, columns: dict[str, np.ndarray], generator: int):
        """Checks one batch of a generator's transitions, (n, …) each, and appends it to the files of the columns.

        Raises:
            ValueError: if a value is not finite or out of range, see `Transitions`.
        """
        count = len(columns["rewards"])
        batch = Transitions(**columns, generator=np.full(count, generator, dtype=np.int8))
        for name, array in batch.arrays().items():
            self.row_types[name] = (array.dtype, array.shape[1:])
            with (self.folder / name).open("ab") as file:
                file.write(np.ascontiguousarray(array).data)
        self.rows += count

    def save(self, path: Path | str, real_fraction: float, cost: np.ndarray):
        """Writes the .npz, byte for byte as `Transitions.save` would."""
        whole = {"real_fraction": np.asarray(np.float32(real_fraction)), "cost": cost}
        names = [name for name in Transitions.__dataclass_fields__ if name in self.row_types or name in WHOLE]
        with atomic(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for name in names:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    if name in whole:
                        np.lib.format.write_array(entry, whole[name], allow_pickle=False)
                        continue
                    dtype, shape = self.row_types[name]
                    description = {
                        "descr": np.lib.format.dtype_to_descr(dtype),
                        "fortran_order": False,
                        "shape": (self.rows, *shape),
                    }
                    np.lib.format.write_array_header_1_0(entry, description)
                    with (self.folder / name).open("rb") as column:
                        shutil.copyfileobj(column, entry, COPY_BYTES)


def running(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def remove_leftovers(path: Path):
    """Removes what killed processes left of `path`, `.<name>.<pid>.….tmp`: several GB for a large training set."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        pid = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if pid.isdigit() and not running(int(pid)):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


@contextmanager
def streamed(path: Path | str):
    """A `Stream` that collects its columns in a temporary folder beside `path`, removed when the block ends.

    A killed process cannot remove its folder, so the next one for the same `path` does.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.{os.getpid()}.", suffix=".tmp") as folder:
        yield Stream(Path(folder))

"""Reads an untrusted HDF5 file in D4RL's layout, or refuses it in one clear line.

The HDF5 library has crashed and hung on malformed files, so the file is opened in a separate process with bounds on
time and memory. Only plain, top-level, fully stored numbers are read: no links, no virtual or external data, no filters
but the common compressors.
"""

import math
import multiprocessing
import resource
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

TOLERANCE = 0.01  # how far an action may lie beyond [-1, 1]; it is then clipped
ROWS = 5_000_000
WIDTH = 1024
SECONDS = 900
MEMORY = 48 << 30  # address space in bytes, far above D4RL's largest file
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}


class Refused(Exception):
    """The file is not as expected; the message says why."""


@dataclass(frozen=True)
class Column:
    """Expected form of a data set in the file: its rank, and whether it holds flags (0 or 1) or real numbers."""

    rank: int
    flags: bool = False
    optional: bool = False


LAYOUT = {
    "observations": Column(rank=2),
    "actions": Column(rank=2),
    "rewards": Column(rank=1),
    "terminals": Column(rank=1, flags=True),
    "timeouts": Column(rank=1, flags=True, optional=True),
    "next_observations": Column(rank=2, optional=True),
}


def stored(file: h5py.File, name: str) -> h5py.Dataset:
    """The data set of that name, if it is stored plainly in this file."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise Refused(f"{name} is a link to somewhere else")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"{name} is not a data set")
    creation = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external or creation.get_layout() == h5py.h5d.VIRTUAL:
        raise Refused(f"{name} is stored in another file")
    used = {creation.get_filter(k)[0] for k in range(creation.get_nfilters())}
    if not used <= FILTERS:
        raise Refused(f"{name} needs HDF5 filters {sorted(used - FILTERS)}, which are not read")
    return dataset


def shape_of(name: str, dataset: h5py.Dataset, column: Column) -> tuple[int, ...]:
    """The data set's shape, with (N, 1) read as (N,) if rank 1 is expected, as D4RL does."""
    shape = dataset.shape
    if shape is not None and column.rank == 1 and len(shape) == 2 and shape[1] == 1:
        shape = shape[:1]
    if shape is None or len(shape) != column.rank:
        raise Refused(f"{name} has shape {dataset.shape}, where {column.rank} dimensions are expected")
    if not 2 <= shape[0] <= ROWS or not all(1 <= width <= WIDTH for width in shape[1:]):
        raise Refused(f"{name} has shape {shape}, beyond {ROWS:,} rows or {WIDTH:,} columns, or too small")
    return shape


def whole(dataset: h5py.Dataset) -> bool:
    """Whether all numbers are stored; HDF5 fills in those that are not."""
    if dataset.chunks:
        chunks = math.prod(-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True))
        return dataset.id.get_num_chunks() == chunks
    return dataset.id.get_storage_size() == dataset.size * dataset.dtype.itemsize


def values(name: str, dataset: h5py.Dataset, column: Column, shape: tuple[int, ...]) -> np.ndarray:
    """Reads the numbers: float32, or bool for flags."""
    allowed = "biuf" if column.flags else "f"
    if dataset.dtype.kind not in allowed or dataset.dtype.itemsize not in (1, 2, 4, 8):
        raise Refused(
            f"{name} has type {dataset.dtype}, where {'flags' if column.flags else 'real numbers'} are expected"
        )
    if not whole(dataset):
        raise Refused(f"{name} is cut short")
    array = dataset[()].reshape(shape)
    if column.flags:
        if not np.isin(array, (0, 1)).all():
            raise Refused(f"{name} has values other than 0 and 1")
        return array.astype(bool)
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise Refused(f"{name} has values that are not finite")
    return array


def columns(path: Path | str) -> dict[str, np.ndarray]:
    """Reads the columns of LAYOUT that the file has, N rows each; actions within [-1, 1].

    Raises:
        Refused: if the file has another layout or is malformed.
    """
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name, column in LAYOUT.items() if name not in file and not column.optional]
            if missing:
                raise Refused(f"has no {', '.join(missing)}")
            datasets = {name: stored(file, name) for name in LAYOUT if name in file}
            shapes = {name: shape_of(name, dataset, LAYOUT[name]) for name, dataset in datasets.items()}
            if len({shape[0] for shape in shapes.values()}) > 1:
                raise Refused(
                    f"has columns of different lengths: { {name: shape[0] for name, shape in shapes.items()} }"
                )
            if shapes.get("next_observations", shapes["observations"]) != shapes["observations"]:
                raise Refused("has next_observations of another width than observations")
            arrays = {name: values(name, dataset, LAYOUT[name], shapes[name]) for name, dataset in datasets.items()}
    except Refused:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError, UnicodeError) as error:
        raise Refused(f"is not a valid HDF5 file: {' '.join(str(error).split())[:200]}") from None
    reach = np.abs(arrays["actions"]).max()
    if reach > 1 + TOLERANCE:
        raise Refused(f"has actions that reach {reach:g}; they must lie within [-1, 1], give or take {TOLERANCE}")
    arrays["actions"] = arrays["actions"].clip(-1, 1)
    return arrays


def work(sender, function, arguments):
    """Runs in the other process: sends the result, or the message of a Refused."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        sender.send((function(*arguments), None))
    except Refused as error:
        sender.send((None, str(error)))


def isolated(function, *arguments, seconds: float = SECONDS):
    """Calls `function(*arguments)` in a separate process, killed after `seconds`.

    Raises:
        Refused: as the function does, or if the process crashes or takes too long.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(sender, function, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(seconds):
            raise Refused(f"could not be read within {seconds:g} seconds")
        result, message = receiver.recv()
    except EOFError:
        process.join()
        raise Refused(f"made the HDF5 library crash (exit status {process.exitcode})") from None
    finally:
        process.kill()
        process.join()
    if message is not None:
        raise Refused(message)
    return result

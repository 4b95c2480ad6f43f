"""Reads an HDF5 file that nobody vouches for: D4RL's layout, or one clear line that says what else it is.

The HDF5 library has crashed and hung on malformed files before, so the file is opened in a process of its own, with
bounds on time and memory. Only plain, top-level, fully stored numbers are read: no links to other files, no data that
are virtual or kept elsewhere, no filters but the common compressors.
"""

import math
import multiprocessing
import resource
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

TOLERANCE = 0.01  # by which an action may lie beyond [-1, 1]; it is clipped then
ROWS = 5_000_000
WIDTH = 1024
SECONDS = 900
MEMORY = 48 << 30  # address space in bytes, far above D4RL's largest file
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}


class Refused(Exception):
    """The file is not what it should be; the message says how."""


@dataclass(frozen=True)
class Column:
    """What a data set of the file must look like: its rank, and whether it holds flags, 0 or 1, or real numbers."""

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
    """The data set of that name, where it is a plain one of this very file."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise Refused(f"{name} is a link to somewhere else")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise Refused(f"{name} is no data set")
    creation = found.id.get_create_plist()
    if found.is_virtual or found.external or creation.get_layout() == h5py.h5d.VIRTUAL:
        raise Refused(f"{name} is stored in another file")
    used = {creation.get_filter(k)[0] for k in range(creation.get_nfilters())}
    if not used <= FILTERS:
        raise Refused(f"{name} needs HDF5 filters {sorted(used - FILTERS)}, which are not read")
    return found


def shape_of(name: str, found: h5py.Dataset, column: Column) -> tuple[int, ...]:
    """Its shape, with (N, 1) taken as (N,) where rank 1 is expected, as D4RL does."""
    shape = found.shape
    if shape is not None and column.rank == 1 and len(shape) == 2 and shape[1] == 1:
        shape = shape[:1]
    if shape is None or len(shape) != column.rank:
        raise Refused(f"{name} has shape {found.shape}, where {column.rank} dimensions are expected")
    if not 2 <= shape[0] <= ROWS or not all(1 <= width <= WIDTH for width in shape[1:]):
        raise Refused(f"{name} has shape {shape}, beyond {ROWS:,} rows or {WIDTH:,} columns, or too small")
    return shape


def whole(found: h5py.Dataset) -> bool:
    """Whether all of its numbers are stored; HDF5 would make up those that are not."""
    if found.chunks:
        chunks = math.prod(-(-size // chunk) for size, chunk in zip(found.shape, found.chunks, strict=True))
        return found.id.get_num_chunks() == chunks
    return found.id.get_storage_size() == found.size * found.dtype.itemsize


def values(name: str, found: h5py.Dataset, column: Column, shape: tuple[int, ...]) -> np.ndarray:
    """The numbers themselves: float32, or bool for flags."""
    kinds = "biuf" if column.flags else "f"
    if found.dtype.kind not in kinds or found.dtype.itemsize not in (1, 2, 4, 8):
        raise Refused(
            f"{name} has type {found.dtype}, where {'flags' if column.flags else 'real numbers'} are expected"
        )
    if not whole(found):
        raise Refused(f"{name} is cut short")
    array = found[()].reshape(shape)
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
    """The columns of LAYOUT that the file has, all of N rows; actions within [-1, 1].

    Raises:
        Refused: where it is not a file of that layout, or not a sound one.
    """
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name, column in LAYOUT.items() if name not in file and not column.optional]
            if missing:
                raise Refused(f"has no {', '.join(missing)}")
            sets = {name: stored(file, name) for name in LAYOUT if name in file}
            shapes = {name: shape_of(name, found, LAYOUT[name]) for name, found in sets.items()}
            if len({shape[0] for shape in shapes.values()}) > 1:
                raise Refused(
                    f"has columns of different lengths: { {name: shape[0] for name, shape in shapes.items()} }"
                )
            if shapes.get("next_observations", shapes["observations"]) != shapes["observations"]:
                raise Refused("has next_observations of another width than observations")
            read = {name: values(name, found, LAYOUT[name], shapes[name]) for name, found in sets.items()}
    except Refused:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError, MemoryError, UnicodeError) as error:
        raise Refused(f"is no sound HDF5 file: {' '.join(str(error).split())[:200]}") from None
    reach = np.abs(read["actions"]).max()
    if reach > 1 + TOLERANCE:
        raise Refused(f"has actions that reach {reach:g}; they must lie within [-1, 1], give or take {TOLERANCE}")
    read["actions"] = read["actions"].clip(-1, 1)
    return read


def work(sender, function, arguments):
    """In the other process: sends the result, or the message of a Refused."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        sender.send((function(*arguments), None))
    except Refused as error:
        sender.send((None, str(error)))


def isolated(function, *arguments, seconds: float = SECONDS):
    """`function(*arguments)` in a process of its own, which is ended after `seconds`.

    Raises:
        Refused: as the function does; also where the process crashes or takes too long.
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

"""Atomic files, with the same bytes for the same content."""

import json
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def atomic(path: Path | str):
    """Yields a temporary path that replaces `path` if the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path | str, what: str):
    """The content of a results file.

    Raises:
        SystemExit: if the file is missing or is not JSON; `what` says what it should hold.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SystemExit(f"{what}: {path} is missing; run: dvc repro") from None
    except ValueError as error:
        raise SystemExit(f"{what}: {path} is not JSON ({error}); delete it and run: dvc repro") from None


def write_text(path: Path | str, text: str):
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path | str, content, digits: int | None = None):
    """Writes JSON; floats are rounded to `digits` significant digits if given."""
    write_text(path, json.dumps(_plain(content, digits), indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path | str, arrays: dict[str, np.ndarray]):
    """Writes an uncompressed .npz, byte-identical for equal arrays."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _plain(content, digits):
    if isinstance(content, dict):
        return {str(key): _plain(value, digits) for key, value in content.items()}
    if isinstance(content, (list, tuple, np.ndarray)):
        return [_plain(value, digits) for value in content]
    if isinstance(content, (float, np.floating)):
        return float(content) if digits is None else float(f"{content:.{digits}g}")
    return content.item() if isinstance(content, np.generic) else content

"""What a stage took, kept beside the pipeline: equal results must have equal bytes, so no time may be in them."""

import hashlib
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path

from stages.common.files import write_json


def place(digest: str) -> Path:
    """The record of the output with that md5, by which DVC knows it; in the project's root, experiments included."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".timings" / f"{digest}.json"


@contextmanager
def timed(output: Path | str):
    """Measures the seconds from entering to leaving, as those of the output that is there then.

    A stage that went on from a checkpoint took longer than it says: only its last part is counted.
    """
    start = time.monotonic()
    yield
    with Path(output).open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    write_json(place(digest), {"output": str(output), "seconds": time.monotonic() - start})


def seconds(digest: str) -> float | None:
    """What the output with that md5 took here when it was last made; None where nobody saw."""
    try:
        return json.loads(place(digest).read_text(encoding="utf-8"))["seconds"]
    except FileNotFoundError:
        return None

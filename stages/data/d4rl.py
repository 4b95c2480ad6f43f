"""D4RL's HDF5 files, downloaded or put into a folder by hand, read by D4RL's rules without the d4rl package."""

from pathlib import Path

import numpy as np

from stages.common.files import write_text
from stages.common.transitions import Transitions
from stages.data.download import download, sha256_of
from stages.data.hdf5 import Refused, columns, isolated
from stages.tasks.environments import ENVIRONMENTS
from stages.tasks.tasks import EPISODE_LIMIT, RETURN_SCALES, Task, d4rl_files

MIRRORS = (  # in the order tried
    "https://rail.eecs.berkeley.edu/datasets/offline_rl/{path}",
    "https://huggingface.co/datasets/imone/D4RL/resolve/main/{name}",
)
MAGIC = b"\x89HDF\r\n\x1a\n"


def episodes(terminals: np.ndarray, timeouts: np.ndarray | None, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) index of each row's episode, and (N,) bool: the time limit ended the episode there.

    For files without timeouts, steps are counted as D4RL does, except that the first step after a terminal counts as
    the first; D4RL's `qlearning_dataset` counts it as the second.
    """
    first = np.append(True, terminals[:-1])
    if timeouts is None:
        start = np.maximum.accumulate(np.where(first, np.arange(len(terminals)), 0))
        timeouts = (np.arange(len(terminals)) - start) % limit == limit - 1
    first = first | np.append(False, timeouts[:-1])
    return np.cumsum(first) - 1, timeouts


def transitions(file: dict[str, np.ndarray], limit: int, discount: float) -> Transitions:
    """The rows of D4RL's `qlearning_dataset`: all but those at which time ran out and the file's last one.

    Differs in the next observation of a terminal. D4RL takes the next episode's first observation, which no target
    uses. Here it is the file's `next_observations` or, if there are none, the observation itself, since dynamics models
    learn from it too.
    """
    episode, timeouts = episodes(file["terminals"], file.get("timeouts"), limit)
    following = file.get("next_observations")
    if following is None:
        following = np.append(file["observations"][1:], file["observations"][-1:], axis=0)
        following = np.where(file["terminals"][:, None], file["observations"], following)
    keep = ~timeouts
    keep[-1] = False
    episode, terminals = episode[keep], file["terminals"][keep]
    last = np.append(episode[1:] != episode[:-1], True)[: len(episode)]
    return Transitions(
        observations=file["observations"][keep],
        actions=file["actions"][keep],
        rewards=file["rewards"][keep],
        next_observations=following[keep],
        discounts=(discount * ~terminals).astype(np.float32),
        episode=np.unique(episode, return_inverse=True)[1].astype(np.int32),
        timeouts=last & ~terminals,
    )


def used_columns(file: dict[str, np.ndarray], count: int | None) -> dict[str, np.ndarray]:
    """Keeps the first `count` columns of the observations; the others must be constant."""
    if count is None:
        return file
    if file["observations"].shape[1] < count or np.ptp(file["observations"][:, count:], axis=0).any():
        raise Refused(f"has unexpected observations: only the first {count} columns should vary")
    return {name: array[:, :count] if name.endswith("observations") else array for name, array in file.items()}


def checked_sha256(path: Path, known: str | None) -> tuple[str, Path]:
    """Checks the file's sha256; returns it, and the path where it is recorded.

    Raises:
        Refused: if it differs from the known one, or from the one recorded when the file was first read.
    """
    record = path.with_name(path.name + ".sha256")
    expected = known or (record.read_text().split()[0] if record.exists() else None)
    sha256 = sha256_of(path)
    if expected and sha256 != expected:
        source = "D4RL's table" if known else record.name
        raise Refused(f"has sha256 {sha256}, but {source} has {expected}; delete the file to download it again")
    return sha256, record


def read(dataset: str, directory: str, discount: float) -> tuple[Transitions, Task, dict]:
    """Reads a D4RL data set from `<directory>/<its file name>`, downloading the file if it is missing.

    Returns:
        the transitions, the task, and facts about the file: {"file", "sha256"}.

    Raises:
        SystemExit: in one line, if the file cannot be downloaded, has changed or is malformed.
    """
    row = d4rl_files()[dataset]
    path = Path(directory) / Path(row.path).name
    if not path.exists():
        urls = [mirror.format(path=row.path, name=path.name) for mirror in MIRRORS]
        download(urls, path, row.size, row.sha256, MAGIC)
    environment = dict(ENVIRONMENTS[row.environment])
    limit = environment.get("max_episode_steps", EPISODE_LIMIT)
    try:
        sha256, record = checked_sha256(path, row.sha256)
        file = used_columns(isolated(columns, str(path)), environment.pop("data_columns", None))
        data = transitions(file, limit, discount)
        if not len(data):
            raise Refused("has no transitions: time runs out at every row")
    except (Refused, OSError) as error:
        raise SystemExit(f"{path} {error}") from None
    write_text(record, f"{sha256}  {path.name}\n")
    scale = RETURN_SCALES.get(row.environment) or data.largest_return(discount)
    return data, Task(environment, limit, scale, row.reference), {"file": path.name, "sha256": sha256}

"""D4RL's own HDF5 files of the v2 gym-mujoco tasks, from a folder that the user fills; d4rl itself is not needed."""

from pathlib import Path

import h5py
import numpy as np

from stages.common.transitions import Transitions

FIELDS = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts")


def read(dataset: str, directory: str | None, discount: float) -> Transitions:
    """The transitions of `<directory>/<dataset>.hdf5`, under D4RL's own file names (`hopper_medium-v2.hdf5`).

    As in D4RL's `qlearning_dataset`, the step at which an episode times out is left out.

    Raises:
        SystemExit: where the folder is not named, or the file is missing or not one of D4RL's, naming it.
    """
    if directory is None:
        raise SystemExit(
            "params.yaml: data.directory = None: with source d4rl, name the folder that holds D4RL's HDF5 files"
        )
    stem, version = dataset.rsplit("-", 1)
    path = Path(directory) / f"{stem.replace('-', '_')}-{version}.hdf5"
    try:
        with h5py.File(path, "r") as file:
            columns = {name: file[name][:] for name in FIELDS}
    except (OSError, KeyError) as error:
        raise SystemExit(f"{path}: not a readable D4RL v2 file: {error}") from None

    terminals, timeouts = columns["terminals"].astype(bool), columns["timeouts"].astype(bool)
    episode = np.concatenate([[0], np.cumsum(terminals | timeouts)[:-1]])
    keep = ~timeouts | terminals
    episode, terminals = episode[keep], terminals[keep]
    last = np.append(episode[1:] != episode[:-1], True)
    return Transitions(
        observations=columns["observations"][keep].astype(np.float32),
        actions=np.clip(columns["actions"][keep], -1, 1).astype(np.float32),
        rewards=columns["rewards"][keep].astype(np.float32),
        next_observations=columns["next_observations"][keep].astype(np.float32),
        discounts=(discount * ~terminals).astype(np.float32),
        episode=np.unique(episode, return_inverse=True)[1].astype(np.int32),
        timeouts=last & ~terminals,
    )

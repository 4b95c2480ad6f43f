"""D4RL's files: reading rules against a plain loop, sha256 checks, and malformed files."""

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.data import d4rl
from stages.data.d4rl import sha256_of, transitions, used_columns
from stages.data.hdf5 import LAYOUT, Refused, columns, isolated
from stages.tasks.tasks import d4rl_files

ROWS = 30


def content(width: int = 11) -> dict[str, np.ndarray]:
    """Columns as in D4RL's v2 files: terminals, timeouts, and a last episode that the end of the file truncates."""
    rng = np.random.default_rng(0)
    return {
        "observations": rng.standard_normal((ROWS, width)).astype(np.float32),
        "next_observations": rng.standard_normal((ROWS, width)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (ROWS, 3)).astype(np.float32),
        "rewards": np.arange(ROWS, dtype=np.float32),
        "terminals": np.isin(np.arange(ROWS), (2, 11, 12)),
        "timeouts": np.isin(np.arange(ROWS), (6, 20)),
    }


def write(path, arrays: dict, **options):
    """Writes a file like D4RL's: compressed, with metadata and simulator states beside the columns."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, compression="gzip", **options)
        file["metadata/algorithm"] = np.bytes_("SAC")
        file["infos/qpos"] = np.zeros((len(arrays["rewards"]), 6))
    return path


def write_plain(path, arrays: dict):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


@pytest.fixture
def folder(tmp_path):
    """A folder with one D4RL file, put there by hand."""
    write(tmp_path / "relocate-human-v1.hdf5", content())  # D4RL's table has no sha256 of it
    return tmp_path


def qlearning(file: dict, limit: int) -> list[tuple]:
    """The rows that D4RL's `qlearning_dataset` keeps, computed in a loop: (row, reward, terminal, episode)."""
    kept, step, episode = [], 0, 0
    for i in range(len(file["rewards"]) - 1):
        final = file["timeouts"][i] if "timeouts" in file else step == limit - 1
        if not final:
            kept.append((i, file["rewards"][i], bool(file["terminals"][i]), episode))
        ended = final or file["terminals"][i]
        step, episode = (0, episode + 1) if ended else (step + 1, episode)
    return kept


@pytest.mark.parametrize("names", [("timeouts", "next_observations"), ("timeouts",), ("next_observations",), ()])
def test_rows_equal_those_of_d4rl_s_qlearning_dataset(names):
    file = content()
    file = {name: values for name, values in file.items() if name in names or not LAYOUT[name].optional}
    data = transitions(file, 5, 0.9)
    rows, rewards, terminals, episodes = map(np.array, zip(*qlearning(file, 5), strict=True))
    np.testing.assert_array_equal(data.rewards, rewards)
    np.testing.assert_array_equal(data.observations, file["observations"][rows])
    np.testing.assert_array_equal(data.actions, file["actions"][rows])
    np.testing.assert_array_equal(data.discounts, np.where(terminals, np.float32(0), np.float32(0.9)))
    np.testing.assert_array_equal(data.episode, np.unique(episodes, return_inverse=True)[1])
    if "next_observations" in file:
        following = file["next_observations"][rows]
    else:
        following = np.where(terminals[:, None], file["observations"][rows], file["observations"][rows + 1])
    np.testing.assert_array_equal(data.next_observations, following)
    last = np.append(np.diff(data.episode) != 0, True)
    np.testing.assert_array_equal(data.timeouts, last & ~terminals)


def test_a_file_put_there_by_hand_is_read_and_its_sha256_recorded(folder):
    folder_file = folder / "relocate-human-v1.hdf5"
    data, task, facts = d4rl.read("relocate-human-v1", str(folder), 0.9)
    assert len(data) == ROWS - 3  # without the rows at which time ran out, and the last one
    assert task.reference == (-6.425911, 4233.877797728884)
    assert (task.environment["id"], task.episode_limit) == ("gymnasium_robotics:AdroitHandRelocate-v1", 200)
    assert task.return_scale == pytest.approx(data.largest_return(0.9))
    assert facts == {"file": folder_file.name, "sha256": sha256_of(folder_file)}
    record = folder / "relocate-human-v1.hdf5.sha256"
    assert record.read_text() == f"{facts['sha256']}  relocate-human-v1.hdf5\n"
    d4rl.read("relocate-human-v1", str(folder), 0.9)
    write(folder_file, {**content(), "rewards": np.zeros(ROWS, np.float32)})
    with pytest.raises(SystemExit, match=r"has sha256 .*, but relocate-human-v1.hdf5.sha256 has .*delete"):
        d4rl.read("relocate-human-v1", str(folder), 0.9)


def test_a_file_with_a_known_sha256_is_checked_on_first_use(folder):
    write(folder / "hopper_medium-v2.hdf5", content())
    with pytest.raises(SystemExit, match=r"hopper_medium-v2.hdf5 has sha256 .*but D4RL's table has 5bdf1bc4a713c8"):
        d4rl.read("hopper-medium-v2", str(folder), 0.9)
    assert not (folder / "hopper_medium-v2.hdf5.sha256").exists()


def test_a_malformed_file_is_rejected_in_one_line_and_not_recorded(folder):
    (folder / "relocate-human-v1.hdf5").write_bytes(b"not HDF5")
    with pytest.raises(SystemExit, match=r"relocate-human-v1.hdf5 is not a valid HDF5 file: [^\n]*$"):
        d4rl.read("relocate-human-v1", str(folder), 0.9)
    assert not (folder / "relocate-human-v1.hdf5.sha256").exists()


def test_only_constant_columns_may_be_dropped():
    file = content(width=111)
    file["observations"][:, 27:] = 0
    used = used_columns(file, 27)
    assert used["observations"].shape == used["next_observations"].shape == (ROWS, 27)
    assert used["actions"] is file["actions"]
    file["observations"][3, 50] = 1
    with pytest.raises(Refused, match="only the first 27 columns should vary"):
        used_columns(file, 27)


def virtual(path, file):
    write(path.with_name("other.hdf5"), content())
    layout = h5py.VirtualLayout(shape=(ROWS,), dtype=np.float32)
    layout[:] = h5py.VirtualSource(path.with_name("other.hdf5"), "rewards", shape=(ROWS,))
    file.create_virtual_dataset("rewards", layout)


def external(path, file):
    path.with_name("raw.bin").write_bytes(np.zeros(ROWS, np.float32).tobytes())
    file.create_dataset("rewards", (ROWS,), np.float32, external=[(str(path.with_name("raw.bin")), 0, 4 * ROWS)])


def external_link(path, file):
    write(path.with_name("other.hdf5"), content())
    file["rewards"] = h5py.ExternalLink(str(path.with_name("other.hdf5")), "rewards")


def soft_link(path, file):
    file["rewards"] = h5py.SoftLink("/infos/rewards")


def unallocated(path, file):
    file.create_dataset("rewards", (ROWS,), np.float32, chunks=(10,))


def values(array):
    return lambda path, file: file.create_dataset("rewards", data=array)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        (virtual, "stored in another file"),
        (external, "stored in another file"),
        (external_link, "a link to somewhere else"),
        (soft_link, "a link to somewhere else"),
        (unallocated, "cut short"),
        (lambda path, file: file.create_group("rewards"), "is not a data set"),
        (lambda path, file: None, "has no rewards"),
        (values(np.zeros((ROWS, 2), np.float32)), "1 dimensions are expected"),
        (values(np.zeros(ROWS - 1, np.float32)), "columns of different lengths"),
        (values(np.zeros(ROWS, np.int64)), "type int64, where real numbers"),
        (values(np.zeros(ROWS, "S4")), r"type \|S4, where real numbers"),
        (values(np.full(ROWS, np.nan)), "not finite"),
        (values(np.full(ROWS, 1e300)), "not finite"),  # in float32
        (values(np.float32(1)), "1 dimensions are expected"),
    ],
)
def test_a_malformed_column_is_rejected(tmp_path, rewards, message):
    path = write(tmp_path / "file.hdf5", content())
    with h5py.File(path, "a") as file:
        del file["rewards"]
        rewards(path, file)
    with pytest.raises(Refused, match=message):
        columns(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": np.full((ROWS, 3), 1.02, np.float32)}, r"actions that reach 1\.02"),
        ({"terminals": np.arange(ROWS)}, "values other than 0 and 1"),
        ({"observations": np.zeros((ROWS, 2000), np.float32)}, "beyond 5,000,000 rows or 1,024 columns"),
        ({"next_observations": np.zeros((ROWS, 4), np.float32)}, "another width than observations"),
        ({name: values[:1] for name, values in content().items()}, "or too small"),
    ],
)
def test_invalid_values_are_rejected(tmp_path, changes, message):
    with pytest.raises(Refused, match=message):
        columns(write(tmp_path / "file.hdf5", {**content(), **changes}))


def test_older_layouts_are_read(tmp_path):
    """float64, flags as numbers and (N, 1) columns are converted; actions slightly out of range are clipped."""
    old = {name: values.astype(np.float64) for name, values in content().items()}
    old |= {"rewards": old["rewards"][:, None], "actions": np.full((ROWS, 3), 1.009)}
    read = columns(write(tmp_path / "file.hdf5", old))
    np.testing.assert_array_equal(read["rewards"], content()["rewards"])
    np.testing.assert_array_equal(read["terminals"], content()["terminals"])
    assert (read["actions"] == 1).all()
    assert {array.dtype for array in read.values()} == {np.dtype(np.float32), np.dtype(bool)}


def die(path):
    os.kill(os.getpid(), 11)


def hang(path):
    while True:
        pass


def test_a_crash_or_a_hang_of_the_library_is_reported(tmp_path):
    with pytest.raises(Refused, match="made the HDF5 library crash"):
        isolated(die, tmp_path)
    with pytest.raises(Refused, match="could not be read within 2 seconds"):
        isolated(hang, tmp_path, seconds=2)
    with pytest.raises(Refused, match="is not a valid HDF5 file"):
        isolated(columns, str(tmp_path / "nothing.hdf5"))


# Mutations of valid files: each is read exactly as h5py reads it, or rejected.


def read_or_reject(path: str) -> bool:
    """Runs in a worker: whether the file is read; if so, the arrays equal h5py's and make a valid record."""
    try:
        arrays = columns(path)
    except Refused:
        return False
    with h5py.File(path) as file:
        for name, array in arrays.items():
            plain = file[name][()].reshape(array.shape).astype(array.dtype)
            np.testing.assert_array_equal(array, plain.clip(-1, 1) if name == "actions" else plain)
    data = transitions(arrays, 10, 0.9)
    assert len(data) == len(qlearning(arrays, 10))
    return True


KINDS = ("overwrite",) * 4 + ("insert", "delete", "repeat", "truncate")  # a change of length is nearly always rejected
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=64)),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple]) -> bytes:
    """The data with bytes overwritten, inserted, deleted or repeated at a relative position, or the end truncated."""
    for kind, position, new in changes:
        at = int(position * len(data))
        if kind == "overwrite":
            data = data[:at] + new + data[at + len(new) :]
        elif kind == "insert":
            data = data[:at] + new + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + len(new) :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + len(new)] + data[at:]
        else:
            data = data[:at]
    return data


@pytest.fixture(scope="module")
def valid_files(tmp_path_factory):
    """A folder for mutated files, and the bytes of two valid files, one compressed in chunks and one plain."""
    folder = tmp_path_factory.mktemp("fuzz")
    write(folder / "chunked", content(), chunks=True)
    write_plain(folder / "plain", content())
    return folder, [(folder / name).read_bytes() for name in ("chunked", "plain")]


def test_mutated_files_are_read_exactly_or_rejected(valid_files):
    folder, files = valid_files
    pools, outcomes = [], []

    def pool():
        if not pools:
            pools.append(ProcessPoolExecutor(1, mp_context=get_context("fork")))
        return pools[0]

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.integers(0, 1), MUTATIONS)
    def check(which, changes):
        path = folder / "mutated.hdf5"
        path.write_bytes(mutated(files[which], changes))
        try:
            outcomes.append(pool().submit(read_or_reject, str(path)).result(timeout=30))
        except (BrokenProcessPool, TimeoutError):  # the HDF5 library failed; the stage must report it
            pools.clear()
            with pytest.raises(Refused):
                isolated(columns, str(path), seconds=30)
            outcomes.append(False)
        assert sorted(file.name for file in folder.iterdir()) == ["chunked", "mutated.hdf5", "plain"]

    for data in files:  # unmutated
        (folder / "mutated.hdf5").write_bytes(data)
        assert pool().submit(read_or_reject, str(folder / "mutated.hdf5")).result()
    check()
    assert 20 < sum(outcomes) < len(outcomes) - 20  # both outcomes occur


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    name=st.sampled_from(sorted(LAYOUT)),
    shape=st.lists(st.integers(0, 40), max_size=3),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint64, bool, np.complex64, "S3", ">f4"]),
    fill=st.sampled_from([0, 1, -1, 3, np.nan, np.inf]),
)
def test_columns_of_any_shape_and_type_are_read_or_rejected(valid_files, name, shape, dtype, fill):
    path = valid_files[0] / "mutated.hdf5"
    with np.errstate(all="ignore"):
        array = np.full(shape, fill).astype(dtype)
    write_plain(path, {**content(), name: array})
    if read_or_reject(str(path)):
        allowed = "biuf" if LAYOUT[name].flags else "f"
        assert array.dtype.kind in allowed
        assert len(array) == ROWS


def test_a_failed_download_leaves_no_file(folder, monkeypatch):
    """If no mirror answers, the error has one line for each mirror."""
    monkeypatch.setattr(d4rl, "MIRRORS", ("http://127.0.0.1:9/{path}", "http://127.0.0.1:9/{name}"))
    monkeypatch.setattr("stages.data.download.WAIT", 0)
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as stop:
        d4rl.read("hopper-medium-v2", str(folder), 0.9)
    assert "put it there by hand" in stop.value.code
    assert stop.value.code.count("http://127.0.0.1:9/") == 2
    assert d4rl_files()["hopper-medium-v2"].path in stop.value.code
    assert sorted(folder.iterdir()) == before

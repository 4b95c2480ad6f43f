"""D4RL's files: its reading rules against a plain loop, the sha256 that files are held to, and unsound files."""

import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stages.common.tasks import d4rl_files
from stages.data import d4rl
from stages.data.d4rl import sha256_of, transitions, used_columns
from stages.data.hdf5 import LAYOUT, Refused, columns, isolated

ROWS = 30


def content(width: int = 11) -> dict[str, np.ndarray]:
    """Columns as D4RL's v2 files have them: terminals, timeouts, and an episode that the file's end cuts."""
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
    """As D4RL's files: compressed, with metadata and simulator states beside the columns."""
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
    """A folder with one file of D4RL's, put there by hand."""
    write(tmp_path / "relocate-human-v1.hdf5", content())  # its sha256 is in nobody's records
    return tmp_path


def qlearning(file: dict, limit: int) -> list[tuple]:
    """The rows of D4RL's `qlearning_dataset` by its rules, one at a time: (row, reward, terminal, episode)."""
    kept, step, episode = [], 0, 0
    for i in range(len(file["rewards"]) - 1):
        final = file["timeouts"][i] if "timeouts" in file else step == limit - 1
        if not final:
            kept.append((i, file["rewards"][i], bool(file["terminals"][i]), episode))
        ended = final or file["terminals"][i]
        step, episode = (0, episode + 1) if ended else (step + 1, episode)
    return kept


@pytest.mark.parametrize("names", [("timeouts", "next_observations"), ("timeouts",), ("next_observations",), ()])
def test_rows_are_those_of_d4rl_s_qlearning_dataset(names):
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


def test_a_folder_filled_by_hand_suffices_and_its_file_is_held_to(folder):
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
    with pytest.raises(
        SystemExit, match=r"has sha256 .*; as relocate-human-v1.hdf5.sha256 recorded it, it is .*delete"
    ):
        d4rl.read("relocate-human-v1", str(folder), 0.9)


def test_a_known_sha256_is_held_to_from_the_start(folder):
    write(folder / "hopper_medium-v2.hdf5", content())
    with pytest.raises(SystemExit, match=r"hopper_medium-v2.hdf5 has sha256 .*by D4RL's table, it is 5bdf1bc4a713c8"):
        d4rl.read("hopper-medium-v2", str(folder), 0.9)
    assert not (folder / "hopper_medium-v2.hdf5.sha256").exists()


def test_an_unsound_file_is_told_in_one_line_and_not_recorded(folder):
    (folder / "relocate-human-v1.hdf5").write_bytes(b"not HDF5")
    with pytest.raises(SystemExit, match=r"relocate-human-v1.hdf5 is no sound HDF5 file: [^\n]*$"):
        d4rl.read("relocate-human-v1", str(folder), 0.9)
    assert not (folder / "relocate-human-v1.hdf5.sha256").exists()


def test_constant_columns_are_left_out_and_others_are_not():
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
    ("rewards", "told"),
    [
        (virtual, "stored in another file"),
        (external, "stored in another file"),
        (external_link, "a link to somewhere else"),
        (soft_link, "a link to somewhere else"),
        (unallocated, "cut short"),
        (lambda path, file: file.create_group("rewards"), "is no data set"),
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
def test_a_column_of_another_kind_is_refused(tmp_path, rewards, told):
    path = write(tmp_path / "file.hdf5", content())
    with h5py.File(path, "a") as file:
        del file["rewards"]
        rewards(path, file)
    with pytest.raises(Refused, match=told):
        columns(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"actions": np.full((ROWS, 3), 1.02, np.float32)}, r"actions that reach 1\.02"),
        ({"terminals": np.arange(ROWS)}, "values other than 0 and 1"),
        ({"observations": np.zeros((ROWS, 2000), np.float32)}, "beyond 5,000,000 rows or 1,024 columns"),
        ({"next_observations": np.zeros((ROWS, 4), np.float32)}, "another width than observations"),
        ({name: values[:1] for name, values in content().items()}, "or too small"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path, changes, told):
    with pytest.raises(Refused, match=told):
        columns(write(tmp_path / "file.hdf5", {**content(), **changes}))


def test_older_layouts_are_read_too(tmp_path):
    """float64, flags as numbers, and (N, 1) columns; actions a little out of range are clipped."""
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


def test_a_crash_or_a_hang_of_the_library_is_told(tmp_path):
    with pytest.raises(Refused, match="made the HDF5 library crash"):
        isolated(die, tmp_path)
    with pytest.raises(Refused, match="could not be read within 2 seconds"):
        isolated(hang, tmp_path, seconds=2)
    with pytest.raises(Refused, match="is no sound HDF5 file"):
        isolated(columns, str(tmp_path / "nothing.hdf5"))


# Mutations of sound files: each is read as it stands, or refused, and nothing else happens.


def read_or_refuse(path: str) -> bool:
    """In a worker: whether the file is read; if so, as h5py reads it, and into a record without faults."""
    try:
        found = columns(path)
    except Refused:
        return False
    with h5py.File(path) as file:
        for name, array in found.items():
            plain = file[name][()].reshape(array.shape).astype(array.dtype)
            np.testing.assert_array_equal(array, plain.clip(-1, 1) if name == "actions" else plain)
    data = transitions(found, 10, 0.9)
    assert len(data) == len(qlearning(found, 10))
    return True


@st.composite
def mutations(draw) -> list[tuple]:
    """Bytes overwritten, cut out, put in, repeated, or the end cut off."""
    place, size = st.floats(0, 1, exclude_max=True), st.integers(1, 64)
    return draw(
        st.lists(
            st.one_of(
                st.tuples(st.just("overwrite"), place, st.binary(min_size=1, max_size=16)),
                st.tuples(st.just("insert"), place, st.binary(min_size=1, max_size=64)),
                st.tuples(st.just("delete"), place, size),
                st.tuples(st.just("repeat"), place, size),
                st.tuples(st.just("truncate"), place, st.none()),
            ),
            min_size=1,
            max_size=4,
        )
    )


def mutated(data: bytes, changes: list[tuple]) -> bytes:
    for kind, place, what in changes:
        at = int(place * len(data))
        if kind == "overwrite":
            data = data[:at] + what + data[at + len(what) :]
        elif kind == "insert":
            data = data[:at] + what + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + what :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + what] + data[at:]
        else:
            data = data[:at]
    return data


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two sound files as bytes, compressed in chunks and not; and where mutated ones are written."""
    place = tmp_path_factory.mktemp("fuzz")
    write(place / "chunked", content(), chunks=True)
    write_plain(place / "plain", content())
    return place, [(place / name).read_bytes() for name in ("chunked", "plain")]


def test_mutated_files_are_read_as_they_stand_or_refused(sound):
    place, files = sound
    pools, outcomes = [], []

    def pool():
        if not pools:
            pools.append(ProcessPoolExecutor(1, mp_context=get_context("fork")))
        return pools[0]

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(st.integers(0, 1), mutations())
    def check(which, changes):
        path = place / "mutated.hdf5"
        path.write_bytes(mutated(files[which], changes))
        try:
            outcomes.append(pool().submit(read_or_refuse, str(path)).result(timeout=30))
        except (BrokenProcessPool, TimeoutError):  # the library itself; then the stage must tell it
            pools.clear()
            with pytest.raises(Refused):
                isolated(columns, str(path), seconds=30)
            outcomes.append(False)
        assert sorted(file.name for file in place.iterdir()) == ["chunked", "mutated.hdf5", "plain"]

    for data in files:  # unmutated
        (place / "mutated.hdf5").write_bytes(data)
        assert pool().submit(read_or_refuse, str(place / "mutated.hdf5")).result()
    check()
    assert 20 < sum(outcomes) < len(outcomes) - 20  # both ways are taken


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(
    name=st.sampled_from(sorted(LAYOUT)),
    shape=st.lists(st.integers(0, 40), max_size=3),
    dtype=st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint64, bool, np.complex64, "S3", ">f4"]),
    fill=st.sampled_from([0, 1, -1, 3, np.nan, np.inf]),
)
def test_columns_of_any_shape_and_type_are_read_or_refused(sound, name, shape, dtype, fill):
    path = sound[0] / "mutated.hdf5"
    with np.errstate(all="ignore"):
        array = np.full(shape, fill).astype(dtype)
    write_plain(path, {**content(), name: array})
    if read_or_refuse(str(path)):
        kinds = "biuf" if LAYOUT[name].flags else "f"
        assert array.dtype.kind in kinds
        assert len(array) == ROWS


def test_what_is_wrong_leaves_nothing_behind(folder, monkeypatch):
    """A name that is downloaded, where no mirror answers: one line for each mirror, and no file."""
    monkeypatch.setattr(d4rl, "MIRRORS", ("http://127.0.0.1:9/{path}", "http://127.0.0.1:9/{name}"))
    monkeypatch.setattr("stages.data.download.WAIT", 0)
    before = sorted(folder.iterdir())
    with pytest.raises(SystemExit) as stop:
        d4rl.read("hopper-medium-v2", str(folder), 0.9)
    assert "put it there by hand" in stop.value.code
    assert stop.value.code.count("http://127.0.0.1:9/") == 2
    assert d4rl_files()["hopper-medium-v2"].path in stop.value.code
    assert sorted(folder.iterdir()) == before

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.vector_files import VectorFileError, VectorFiles


def numbered(rows, dimension=3, dtype=np.float16, first=0):
    """Row r is r, r + 0.25, r + 0.5 ..."""
    return (np.arange(first, first + rows)[:, None] + np.arange(dimension) / 4).astype(dtype)


def saved(folder, sizes, dtype=np.float16):
    paths, first = [], 0
    for number, size in enumerate(sizes):
        paths.append(folder / f"{number}.npy")
        np.save(paths[-1], numbered(size, dtype=dtype, first=first))
        first += size
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return VectorFiles.open(saved(tmp_path_factory.mktemp("vectors"), [4, 0, 7, 1, 8]))


def test_files_are_numbered_through(files):
    assert (len(files), files.dimension, files.dtype) == (20, 3, np.float16)
    assert files.take(np.array([19, 0, 4, 4, 11])).tolist() == numbered(20)[[19, 0, 4, 4, 11]].tolist()


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 25), rows=st.none() | st.sets(st.integers(0, 19)))
def test_blocks_of_any_size_give_every_row_once_in_order(files, size, rows):
    wanted = None if rows is None else np.array(sorted(rows), np.int64)
    expected = numbered(20) if wanted is None else numbered(20)[wanted]
    blocks = list(files.blocks(size, wanted))
    assert [position for position, _ in blocks] == list(range(0, len(expected), size))
    assert all(len(block) == size for _, block in blocks[:-1])
    assert np.array_equal(np.concatenate([np.empty((0, 3)), *(block for _, block in blocks)]), expected)


def test_an_array_is_given_out_without_a_copy():
    array = numbered(9, dtype=np.float32)
    assert all(np.shares_memory(block, array) for _, block in VectorFiles.of(array).blocks(4))
    assert np.array_equal(VectorFiles.of(array).take(np.array([8, 2])), array[[8, 2]])


def test_rows_far_apart_are_gathered_from_a_large_file(tmp_path):
    array = numbered(20_000, dtype=np.float32)
    np.save(tmp_path / "a.npy", array)
    rows = np.random.default_rng(0).permutation(20_000)[:5000]
    files = VectorFiles.open([tmp_path / "a.npy"])
    assert np.array_equal(files.take(rows), array[rows])
    sparse = np.arange(0, 20_000, 1999)
    assert np.array_equal(np.concatenate([block for _, block in files.blocks(3, sparse)]), array[sparse])


def test_a_file_without_rows_and_no_rows_wanted_are_allowed(tmp_path):
    np.save(tmp_path / "a.npy", np.empty((0, 5), np.float32))
    files = VectorFiles.open([tmp_path / "a.npy"])
    assert len(files) == 0
    assert list(files.blocks(4)) == []
    assert files.take(np.empty(0, np.int64)).shape == (0, 5)


@pytest.mark.parametrize("row", [-1, 20])
def test_a_row_that_does_not_exist_is_named(files, row):
    with pytest.raises(IndexError, match=rf"Row {row} .* 20 vectors"):
        files.take(np.array([3, row]))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2)), "float64"),
        (np.zeros(3, np.float32), r"shape \(3,\)"),
        (np.asfortranarray(np.zeros((3, 2), np.float32)), "columns first"),
        (np.zeros((3, 2), ">f4"), ">f4"),
        (np.zeros((3, 0), np.float32), r"shape \(3, 0\)"),
    ],
)
def test_what_is_no_matrix_of_embeddings_is_refused_with_a_remedy(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(VectorFileError, match=rf"bad\.npy.*{message}.*numpy\.save"):
        VectorFiles.open([tmp_path / "bad.npy"])


def test_files_that_differ_are_both_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float16))
    np.save(tmp_path / "b.npy", np.zeros((2, 4), np.float16))
    np.save(tmp_path / "c.npy", np.zeros((2, 3), np.float32))
    for other in ("b", "c"):
        with pytest.raises(VectorFileError, match=rf"{other}\.npy.*a\.npy.*same model"):
            VectorFiles.open([tmp_path / "a.npy", tmp_path / f"{other}.npy"])


def test_a_file_that_is_cut_off_or_no_array_is_refused(tmp_path):
    [path] = saved(tmp_path, [10])
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(VectorFileError, match="cut off: 10 vectors"):
        VectorFiles.open([path])
    path.write_text("not an array")
    with pytest.raises(VectorFileError, match=r"no \.npy file"):
        VectorFiles.open([path])
    with pytest.raises(VectorFileError, match="at least one"):
        VectorFiles.open([])


def test_a_pickled_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([["x"]], object), allow_pickle=True)
    with pytest.raises(VectorFileError, match="object"):
        VectorFiles.open([tmp_path / "a.npy"])


READ_ALL = """
import sys
from pathlib import Path
import numpy as np
from trainer.vector_files import VectorFiles
def peak():
    # ru_maxrss would begin with the peak of the process that started this one.
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])
files = VectorFiles.open([sys.argv[1]])
before = peak()
for _ in files.blocks(4096): pass
for _ in files.blocks(4096, np.arange(0, len(files), 3)): pass
files.take(np.random.default_rng(0).permutation(len(files))[:20_000])
print(peak() - before)
"""


def test_pages_of_the_file_do_not_stay_in_the_memory_of_the_process(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((400_000, 256), np.float16))  # 205 MB
    run = subprocess.run(
        [sys.executable, "-c", READ_ALL, tmp_path / "a.npy"], capture_output=True, text=True, check=True
    )
    assert (
        int(run.stdout) * 1024 < 100_000_000
    )  # the rows taken are 10 MB, 512 mapped ones with 64 KiB around each 34 MB

"""Rows divided by a key on disk."""

import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sources.files.partitions import MOST_PARTS, PART_BYTES, Partitions, partition_count, text_key
from sources.source import SourceError

SCHEMA = pa.schema([("key", pa.uint64()), ("text", pa.string())])


def rows(keys: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(keys, pa.uint64()), pa.array([f"text {key}" for key in keys])], schema=SCHEMA
    )


@pytest.mark.parametrize("buffer", [1, 1 << 30])
def test_each_part_holds_its_rows_in_the_order_they_were_added(monkeypatch: pytest.MonkeyPatch, buffer: int) -> None:
    monkeypatch.setattr("sources.files.partitions.BUFFER_BYTES", buffer)
    parts = Partitions(3, SCHEMA)
    added = [[5, 3, 0], [8, 2], [], [2**64 - 1, 3]]
    for keys in added:
        parts.add(np.array(keys, np.uint64), rows(keys))
    for number in range(3):
        expected = [key for keys in added for key in keys if key % 3 == number]
        table = parts.read(number)
        assert table.schema == SCHEMA
        assert table["key"].to_pylist() == expected
        assert table["text"].to_pylist() == [f"text {key}" for key in expected]


def test_a_part_without_rows_is_an_empty_table() -> None:
    parts = Partitions(2, SCHEMA)
    assert parts.read(0).num_rows == 0
    parts.add(np.array([0], np.uint64), rows([0]))
    assert [parts.read(number).num_rows for number in range(2)] == [1, 0]


def test_rows_can_be_added_after_some_were_read() -> None:
    parts = Partitions(2, SCHEMA)
    for keys in ([0, 1], [2, 3]):
        parts.add(np.array(keys, np.uint64), rows(keys))
        assert parts.read(1)["key"].to_pylist() == [key for key in (1, 3) if key <= max(keys)]


def test_the_temporary_file_has_no_name_and_outlives_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    parts = Partitions(2, SCHEMA, buffer_bytes=1)
    parts.add(np.array([0, 1], np.uint64), rows([0, 1]))
    assert list(tmp_path.iterdir()) == []
    assert parts.read(1)["key"].to_pylist() == [1]


def test_a_file_that_can_grow_no_more_is_told_with_the_remedy() -> None:
    parts = Partitions(2, SCHEMA, buffer_bytes=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(SourceError, match=r"no temporary file can be written in .*set TMPDIR"):
            parts.add(np.array([0, 1], np.uint64), rows([0, 1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_part_that_is_too_large_for_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.files.partitions.LARGEST_PART", 100)
    parts = Partitions(2, SCHEMA)
    parts.add(np.array([0], np.uint64), rows([0]))
    with pytest.raises(SourceError, match="belong together by their ids"):
        parts.read(0)


def test_the_number_of_parts_follows_the_size_up_to_a_limit() -> None:
    assert [partition_count(size) for size in (0, PART_BYTES - 1, PART_BYTES, 10 * PART_BYTES)] == [1, 1, 2, 11]
    assert partition_count(PART_BYTES, compressed=True) == 9
    assert partition_count(1 << 50) == MOST_PARTS
    assert partition_count(None) > 100


def test_keys_of_texts_are_the_same_on_every_machine() -> None:
    assert text_key("") == 0x2D06800538D394C2  # the published value of XXH3's 64-bit digest of no bytes
    assert text_key("a") != text_key("b")

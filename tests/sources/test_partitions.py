"""Rows divided by a key on disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sources.partitions import MOST_PARTS, PART_BYTES, Partitions, partition_count, text_key

SCHEMA = pa.schema([("key", pa.uint64()), ("text", pa.string())])


def rows(keys: list[int]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(keys, pa.uint64()), pa.array([f"text {key}" for key in keys])], schema=SCHEMA
    )


@pytest.mark.parametrize("buffer", [1, 1 << 30])
def test_each_part_holds_its_rows_in_the_order_they_were_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer: int
) -> None:
    monkeypatch.setattr("sources.partitions.BUFFER_BYTES", buffer)
    parts = Partitions(tmp_path, "rows", 3, SCHEMA)
    added = [[5, 3, 0], [8, 2], [], [2**64 - 1, 3]]
    for keys in added:
        parts.add(np.array(keys, np.uint64), rows(keys))
    for number in range(3):
        expected = [key for keys in added for key in keys if key % 3 == number]
        table = parts.read(number)
        assert table.schema == SCHEMA
        assert table["key"].to_pylist() == expected
        assert table["text"].to_pylist() == [f"text {key}" for key in expected]


def test_a_part_without_rows_is_an_empty_table_and_a_removed_part_is_gone(tmp_path: Path) -> None:
    parts = Partitions(tmp_path, "rows", 2, SCHEMA)
    parts.add(np.array([0], np.uint64), rows([0]))
    assert [parts.read(number).num_rows for number in range(2)] == [1, 0]
    for number in range(2):
        parts.remove(number)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_number_of_parts_follows_the_size_up_to_a_limit() -> None:
    assert [partition_count(size) for size in (0, PART_BYTES - 1, PART_BYTES, 10 * PART_BYTES)] == [1, 1, 2, 11]
    assert partition_count(PART_BYTES, compressed=True) == 9
    assert partition_count(1 << 50) == MOST_PARTS
    assert partition_count(None) > 100


def test_keys_of_texts_are_the_same_on_every_machine() -> None:
    assert text_key("") == 0x2D06800538D394C2  # the published value of XXH3's 64-bit digest of no bytes
    assert text_key("a") != text_key("b")

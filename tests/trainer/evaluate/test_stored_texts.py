import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evaluate.stored_texts import (
    ROW_SCHEMA,
    DuplicateIdError,
    chosen_blocks,
    open_corpus,
    store_corpus,
    take_texts,
    text_blocks,
)


def batches_of(rows, at_once=3):
    for start in range(0, len(rows), at_once):
        ids, texts = zip(*rows[start : start + at_once], strict=True)
        yield pa.record_batch([pa.array(ids), pa.array(texts)], schema=ROW_SCHEMA)


def stored(folder, rows, **options):
    store_corpus(batches_of(rows), folder, **options)
    return open_corpus(folder)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.dictionaries(st.text("aé北😀z", min_size=1, max_size=3), st.text(max_size=20), max_size=30),
    partition_bytes=st.integers(1, 200),
)
def test_documents_lie_by_falling_id_whatever_the_partitions(tmp_path_factory, texts, partition_bytes):
    ids, documents = stored(tmp_path_factory.mktemp("corpus"), list(texts.items()), partition_bytes=partition_bytes)
    expected = sorted(texts, key=lambda identifier: identifier.encode(), reverse=True)
    assert list(ids) == expected
    assert list(documents) == [texts[identifier] for identifier in expected]


@pytest.mark.parametrize(("at_once", "partition_bytes"), [(77, 5000), (2500, 2**20), (1000, 20_000), (1, 60_000)])
def test_the_files_are_the_same_whatever_order_and_batches_the_documents_came_in(tmp_path, at_once, partition_bytes):
    rows = [(f"d{number}", f"text {number} " * (number % 7)) for number in range(2500)]
    store_corpus(batches_of(rows, 1000), tmp_path / "one")
    store_corpus(batches_of(rows[::-1], at_once), tmp_path / "other", partition_bytes=partition_bytes)
    contents = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "other")]
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == ["ids.arrow", "texts.arrow"]


def test_rows_are_taken_in_any_order_and_across_batches(tmp_path):
    rows = [(f"{number:05d}", f"text {number}") for number in range(3000, 0, -1)]
    ids, documents = stored(tmp_path, rows)
    wanted = np.array([2999, 0, 1024, 1023, 0])
    assert documents.take(wanted).to_pylist() == [rows[row][1] for row in wanted]
    assert take_texts(ids, wanted).to_pylist() == [rows[row][0] for row in wanted]
    assert (documents[-1], ids[-1], documents[5:7]) == ("text 1", "00001", ["text 2995", "text 2994"])
    assert documents.take(np.array([], np.int64)).to_pylist() == []
    with pytest.raises(IndexError):
        documents[3000]


def test_blocks_keep_to_rows_and_bytes_and_hold_everything_once(tmp_path):
    rows = [(f"{number:05d}", "x" * 100) for number in range(5000, 0, -1)]
    _, documents = stored(tmp_path, rows)
    assert [len(block) for block in documents.blocks(2048)] == [2048, 2048, 904]
    assert [len(block) for block in documents.blocks(9999, 250_000)] == [2048, 2048, 904]
    assert [len(block) for block in text_blocks(["a"] * 5, 2)] == [2, 2, 1]


def test_chosen_texts_come_in_blocks_of_bytes(tmp_path):
    rows = [(f"{number}", "x" * number) for number in range(9, 0, -1)]
    _, documents = stored(tmp_path, rows)
    blocks = list(chosen_blocks(documents, np.array([0, 2, 3, 8]), 10))
    assert [row for numbers, _ in blocks for row in numbers.tolist()] == [0, 2, 3, 8]
    assert [text for _, texts in blocks for text in texts.to_pylist()] == ["x" * 9, "x" * 7, "x" * 6, "x"]
    assert max(len(texts) for _, texts in blocks) < 4


def test_a_document_id_that_occurs_twice_is_told(tmp_path):
    with pytest.raises(DuplicateIdError, match="'b' occurs 3 times"):
        store_corpus(batches_of([("b", "1"), ("a", "2"), ("b", "3"), ("c", ""), ("b", "")]), tmp_path)

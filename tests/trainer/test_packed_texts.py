"""Text shards decoded once and read by rows, and shards that cannot be learnt from."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer.retromae.texts_folder import write_texts
from trainer.packed_columns import TrainingDataError
from trainer.packed_texts import PackedTexts


def test_rows_are_read_as_they_were_written(tmp_path):
    rows = [[7, 46, 8], [9], [10, 47, 48, 11]]
    texts = PackedTexts.open(write_texts(tmp_path, rows))
    assert len(texts) == 3
    assert texts.tokens.lists() == rows
    assert (texts.longest, texts.largest_token_id) == (4, 48)
    found = texts.take(np.array([2, 0]))
    assert found.tokens.lists() == [rows[2], rows[0]]
    assert found.word_starts.tolist() == [True, False, False, True, True, False, True]


def test_decoded_files_are_used_again_and_follow_the_shards(tmp_path):
    first = PackedTexts.open(write_texts(tmp_path, [[7, 8]]))
    decoded = next((tmp_path / "_decoded" / "texts").glob("*-1"))
    stamp = (decoded / "token_ids.npy").stat().st_mtime_ns
    assert PackedTexts.open(tmp_path).fingerprint == first.fingerprint
    assert (decoded / "token_ids.npy").stat().st_mtime_ns == stamp
    table = pq.read_table(tmp_path / "texts" / "a.parquet")
    pq.write_table(table, tmp_path / "texts" / "b.parquet")
    more = PackedTexts.open(tmp_path)
    assert more.fingerprint != first.fingerprint
    assert more.tokens.lists() == [[7, 8], [7, 8]]


def test_a_cache_of_another_folder_is_used(tmp_path):
    PackedTexts.open(write_texts(tmp_path / "data", [[7, 8]]), tmp_path / "cache")
    assert not (tmp_path / "data" / "_decoded").exists()


def test_a_folder_without_texts_says_how_they_come(tmp_path):
    with pytest.raises(TrainingDataError, match=r"texts holds no \*.parquet.*pack.texts in its recipe"):
        PackedTexts.open(tmp_path)


def test_no_rows_are_an_error_that_says_why(tmp_path):
    with pytest.raises(TrainingDataError, match="nothing to learn"):
        PackedTexts.open(write_texts(tmp_path, []))


@pytest.mark.parametrize(
    ("rows", "starts"),
    [([[7, 8]], [[True]]), ([[]], [[]]), ([[7, -2]], [[True, True]])],
    ids=["starts", "empty", "negative"],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, rows, starts):
    with pytest.raises(TrainingDataError, match=r"a\.parquet.*Run pack again"):
        PackedTexts.open(write_texts(tmp_path, rows, starts))


def test_the_row_that_does_not_fit_is_named(tmp_path):
    with pytest.raises(TrainingDataError, match=r"a\.parquet: text row 2 \(from 0"):
        PackedTexts.open(write_texts(tmp_path, [[7], [8, 9], [10, -2]]))


def test_another_schema_is_refused(tmp_path):
    (tmp_path / "texts").mkdir()
    pq.write_table(pa.table({"token_ids": [[1, 2]]}), tmp_path / "texts" / "a.parquet")
    with pytest.raises(TrainingDataError, match="should be"):
        PackedTexts.open(tmp_path)


def test_a_text_shard_beside_pairs_leaves_their_decoded_files_alone(tmp_path):
    from tests.trainer.packed_folder import some_rows, write_folder
    from trainer.training_data import TrainingData

    folder = write_folder(tmp_path, *some_rows(6))
    (folder / "_MANIFEST.json").unlink()  # which knows of no texts
    TrainingData.open(folder)
    before = sorted(path.name for path in (folder / "_decoded").iterdir())
    PackedTexts.open(write_texts(folder, [[7, 8]]))
    assert set(before) <= {path.name for path in (folder / "_decoded").iterdir()}
    TrainingData.open(folder)
    assert PackedTexts.open(folder).tokens.lists() == [[7, 8]]

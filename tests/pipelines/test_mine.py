import numpy as np
import pyarrow as pa
import pytest

from pipelines.jobs import mine
from pipelines.jobs.dedup import PASSAGES
from pipelines.recipe import MineSettings
from pipelines.shards import ShardWriter
from sources.schema import PAIR, PASSAGE, make_pairs, text_ids

VECTORS = {"q1": [1.0, 0.0], "q2": [0.0, 1.0]}
# (document, passage, vector): q1's positive is "one"; "one b" is of the same document and nearest of all.
ROWS = [
    ("d1", "q1", "one", [0.9, 0.1]),
    ("d1", None, "one b", [0.99, 0.0]),
    ("d2", "q2", "two", [0.1, 0.9]),
    ("d3", None, "three", [0.7, 0.3]),
    ("d4", None, "four", [0.2, 0.1]),
]


class FixedEncoder:
    dimension = 2

    def encode(self, texts, role):
        return np.array([VECTORS[text] for text in texts.to_pylist()], np.float32)


@pytest.fixture
def mined(tmp_path, monkeypatch):
    monkeypatch.setattr(mine, "load_encoder", lambda _: FixedEncoder())
    pairs, _ = make_pairs(
        query=[row[1] or f"filler {row[2]}" for row in ROWS],
        positive=[row[2] for row in ROWS],
        kind="title_body",
        source="s",
        document_id=[row[0] for row in ROWS],
    )
    with ShardWriter(str(tmp_path), "pairs", "a", PAIR) as writer:
        writer.write(pairs)
    texts = pa.array([row[2] for row in ROWS])
    passages = [text_ids(texts), texts, pa.array([row[0] for row in ROWS]), text_ids(texts)]
    with ShardWriter(str(tmp_path), PASSAGES, "a", PASSAGE) as writer:
        writer.write(pa.RecordBatch.from_arrays(passages, schema=PASSAGE))
    files = mine.MemberFiles((f"{tmp_path}/passages/a.parquet",), (f"{tmp_path}/pairs/a.parquet",), "kind", ())
    members = mine.load_members(files)
    vectors = np.array([row[3] for row in ROWS], np.float32)

    def run(**select):
        settings = MineSettings.model_validate(
            {"encoder": {"model": "none"}, "select": {"rank_window": [0, 10], **select}}
        )
        queries = pairs.filter(pa.array([row[1] is not None for row in ROWS]))
        return mine.mine_batch(queries, members, vectors, settings, seed=0)

    return run


def test_a_negative_is_never_the_positive_nor_of_its_document(mined):
    batch, _, _ = mined(negatives=5, max_share_of_positive=None)
    assert batch["positive_row"].to_pylist() == [0, 2]
    assert [sorted(rows) for rows in batch["negative_rows"].to_pylist()] == [[2, 3, 4], [0, 1, 3, 4]]


def test_negatives_come_hardest_first_with_their_scores(mined):
    batch, _, _ = mined(negatives=2, max_share_of_positive=None)
    assert batch["negative_rows"].to_pylist()[0] == [3, 4]
    assert batch["negative_scores"].to_pylist()[0] == pytest.approx([0.7, 0.2])
    assert batch["positive_score"].to_pylist() == pytest.approx([0.9, 0.9])


def test_passages_too_close_to_the_positive_are_left_out_and_counted(mined):
    batch, _, left_out = mined(negatives=5, max_share_of_positive=0.5)
    assert batch["negative_rows"].to_pylist()[0] == [4, 2]
    assert sum(left_out.values()) > 0


def test_rows_the_encoder_cannot_read_get_no_negatives(mined, monkeypatch):
    monkeypatch.setattr(mine, "readable_rows", lambda batch, reads: np.array([False, True]))
    batch, not_read, _ = mined(negatives=2)
    assert not_read == 1
    assert batch["negative_rows"].to_pylist()[0] == []
    assert batch["positive_score"].to_pylist()[0] is None

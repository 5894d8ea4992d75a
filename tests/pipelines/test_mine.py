import numpy as np
import pyarrow as pa
import pytest

from filters.duplicates import dedup_key
from pipelines.embeddings import Embeddings
from pipelines.jobs import mine
from pipelines.jobs.dedup import PASSAGES
from pipelines.recipe import MineSettings
from pipelines.shards import REJECTS, ShardWriter
from sources.schema import PAIR, PASSAGE, REJECT, make_pairs, text_ids

VECTORS = {"q1": [1.0, 0.0], "q2": [0.0, 1.0]}
# (document, query, passage, vector): q1's positives are "one" and, of another document, "one too"; "one b" shares the
# document of the first and is nearest of all; "One!" says the same as "one"; "q 2" says the same as the query q2.
ROWS = [
    ("d1", "q1", "one", [0.9, 0.1]),
    ("d1", "f1", "one b", [0.99, 0.0]),
    ("d2", "q2", "two", [0.1, 0.9]),
    ("d3", "f2", "three", [0.7, 0.3]),
    ("d4", "f3", "four", [0.2, 0.1]),
    ("d5", "q1", "one too", [0.8, 0.0]),
    ("d5", "f4", "beside one too", [0.85, 0.0]),
    ("d6", "f5", "One!", [0.88, 0.1]),
    ("d7", "f6", "Q2.", [0.0, 0.95]),
]
ASKED = ("q1", "q2")


class FixedEmbeddings(Embeddings):
    def embed(self, settings, role, texts, on_batch):
        return np.array([VECTORS[text] for text in texts.to_pylist()], np.float16)


def rejected(rows):
    """A REJECT batch of (query, positive, reason) rows, each text in a cluster of its own."""
    texts = [[row[side] for row in rows] for side in (0, 1)]
    batch, _ = make_pairs(query=texts[0], positive=texts[1], kind="title_body", source="s", document_id="d")
    for name, side in (("query_cluster_id", texts[0]), ("positive_cluster_id", texts[1])):
        place = PAIR.get_field_index(name)
        batch = batch.set_column(place, PAIR.field(place), dedup_key(pa.array(side, pa.string())))
    reasons = pa.array([row[2] for row in rows], pa.string())
    return pa.RecordBatch.from_arrays([*batch.columns, reasons], schema=REJECT)


@pytest.fixture
def mined(tmp_path):
    return miner(tmp_path, queries={}, passages={})


def miner(tmp_path, *, queries, passages, dropped=()):
    """Mines for the queries ASKED; `queries` and `passages` map texts to those whose cluster they are in; `dropped` are
    (query, positive, reason) of the pairs that dedup dropped."""
    pairs, _ = make_pairs(
        query=[row[1] for row in ROWS],
        positive=[row[2] for row in ROWS],
        kind="title_body",
        source="s",
        document_id=[row[0] for row in ROWS],
    )
    clusters = dedup_key(pa.array([queries.get(row[1], row[1]) for row in ROWS]))
    place = PAIR.get_field_index("query_cluster_id")
    pairs = pairs.set_column(place, PAIR.field(place), clusters)
    with ShardWriter(str(tmp_path), "pairs", "a", PAIR) as writer:
        writer.write(pairs)
    texts = pa.array([row[2] for row in ROWS])
    clusters = dedup_key(pa.array([passages.get(row[2], row[2]) for row in ROWS]))
    columns = [text_ids(texts), texts, pa.array([row[0] for row in ROWS]), clusters, [1] * len(ROWS)]
    with ShardWriter(str(tmp_path), PASSAGES, "a", PASSAGE) as writer:
        writer.write(pa.RecordBatch.from_arrays(columns, schema=PASSAGE))
    np.save(tmp_path / "a.npy", np.array([row[3] for row in ROWS], np.float32))
    with ShardWriter(str(tmp_path), REJECTS, "a", REJECT) as writer:
        writer.write(rejected(dropped))
    paths = [tuple(f"{tmp_path}/{role}/a.parquet" for role in roles) for roles in ([PASSAGES], ["pairs"])]
    rejects = (f"{tmp_path}/{REJECTS}/a.parquet",) if dropped else ()
    members = mine.MemberFiles(*paths, "kind", (), rejects)
    files = mine.CorpusFiles(members, FixedEmbeddings(None), (f"{tmp_path}/a.npy",))

    def run(**select):
        settings = MineSettings.model_validate(
            {"encoder": {"model": "none"}, "select": {"rank_window": [0, 20], **select}}
        )
        asked = pairs.filter(pa.array([row[1] in ASKED for row in ROWS]))
        return mine.mine_batch(asked, files, settings, seed=0, on_batch=lambda encoded: None)

    return run


def test_a_negative_is_no_positive_of_the_query_nor_of_their_documents_nor_says_the_same(mined):
    batch, _, _ = mined(negatives=20, max_share_of_positive=None)
    assert batch["positive_row"].to_pylist() == [0, 2, 5]
    q1, q2, q1_again = (sorted(rows) for rows in batch["negative_rows"].to_pylist())
    assert q1 == q1_again == [2, 3, 4, 8]
    assert q2 == [0, 1, 3, 4, 5, 6, 7]


def test_a_negative_is_in_no_cluster_of_a_positive_nor_of_a_passage_that_says_what_the_query_does(tmp_path):
    mined = miner(tmp_path, queries={}, passages={"four": "one", "three": "Q2."})
    q1, q2, _ = (
        sorted(rows) for rows in mined(negatives=20, max_share_of_positive=None)[0]["negative_rows"].to_pylist()
    )
    assert q1 == [2, 3, 8]
    assert q2 == [0, 1, 4, 5, 6, 7]


def test_a_positive_of_a_pair_that_a_cap_dropped_is_no_negative(tmp_path):
    dropped = [("q1", "three", "query_cap"), ("q2", "four", "duplicate_pair"), ("q2", "three", "positive_cap")]
    batch, _, _ = miner(tmp_path, queries={}, passages={}, dropped=dropped)(negatives=20, max_share_of_positive=None)
    q1, q2, _ = (sorted(rows) for rows in batch["negative_rows"].to_pylist())
    assert q1 == [2, 4, 8]
    assert q2 == [0, 1, 4, 5, 6, 7]


def test_the_positives_of_all_queries_of_a_cluster_are_known(tmp_path):
    mined = miner(tmp_path, queries={"f3": "q1"}, passages={})
    q1, q2, _ = (
        sorted(rows) for rows in mined(negatives=20, max_share_of_positive=None)[0]["negative_rows"].to_pylist()
    )
    assert q1 == [2, 3, 8]
    assert q2 == [0, 1, 3, 4, 5, 6, 7]


def test_a_query_of_no_cluster_is_one_by_itself():
    pairs, _ = make_pairs(query=["A b", "c"], positive=["x", "y"], kind="other", source="s", document_id=["1", "2"])
    assert mine.query_clusters(pairs).equals(dedup_key(pa.array(["a B", "C"])))


@pytest.mark.parametrize("at_once", [1, 20, 10**6])
def test_negatives_come_hardest_first_ties_by_row_whatever_the_block(mined, monkeypatch, at_once):
    monkeypatch.setattr(mine, "CANDIDATES_AT_ONCE", at_once)
    batch, _, _ = mined(negatives=2, max_share_of_positive=None)
    assert batch["negative_rows"].to_pylist() == [[3, 4], [3, 0], [3, 4]]
    assert batch["negative_scores"].to_pylist()[0] == pytest.approx([0.7, 0.2])
    assert batch["positive_score"].to_pylist() == pytest.approx([0.9, 0.9, 0.8])


def test_passages_too_close_to_the_positive_are_left_out_and_counted(mined):
    batch, _, left_out = mined(negatives=5, max_share_of_positive=0.5)
    assert batch["negative_rows"].to_pylist()[0] == [4, 2, 8]
    assert sum(left_out.values()) > 0


def test_rows_the_encoder_cannot_read_get_no_negatives(mined, monkeypatch):
    monkeypatch.setattr(mine, "readable_rows", lambda batch, reads: np.arange(batch.num_rows) > 0)
    batch, not_read, _ = mined(negatives=2)
    assert not_read == 1
    assert batch["negative_rows"].to_pylist()[0] == []
    assert batch["positive_score"].to_pylist()[0] is None

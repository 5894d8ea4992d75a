import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from filters.duplicates import dedup_key
from pipelines import passage_members
from pipelines.embeddings import Embeddings
from pipelines.jobs import mine
from pipelines.jobs.dedup import PASSAGES
from pipelines.passage_members import MemberFiles, query_clusters
from pipelines.recipe import MineSettings
from pipelines.shards import REJECTS, ShardFile, ShardWriter
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


def miner(
    tmp_path, *, queries, passages, dropped=(), texts=False, said=None, judge=None, contained=False, sources=("dense",)
):
    """Mines for the queries ASKED; `queries` and `passages` map texts to those whose cluster they are in; `dropped` are
    (query, positive, reason) of the pairs that dedup dropped; `said` gives passages other texts."""
    said = said or {row[2]: row[2] for row in ROWS}
    pairs, _ = make_pairs(
        query=[row[1] for row in ROWS],
        positive=[said[row[2]] for row in ROWS],
        kind="title_body",
        source="s",
        document_id=[row[0] for row in ROWS],
    )
    clusters = dedup_key(pa.array([queries.get(row[1], row[1]) for row in ROWS]))
    place = PAIR.get_field_index("query_cluster_id")
    pairs = pairs.set_column(place, PAIR.field(place), clusters)
    with ShardWriter(str(tmp_path), "pairs", "a", PAIR) as writer:
        writer.write(pairs)
    all_texts = pa.array([said[row[2]] for row in ROWS])
    clusters = dedup_key(pa.array([passages.get(row[2], said[row[2]]) for row in ROWS]))
    columns = [text_ids(all_texts), all_texts, pa.array([row[0] for row in ROWS]), clusters, [1] * len(ROWS)]
    with ShardWriter(str(tmp_path), PASSAGES, "a", PASSAGE) as writer:
        writer.write(pa.RecordBatch.from_arrays(columns, schema=PASSAGE))
    np.save(tmp_path / "a.npy", np.array([row[3] for row in ROWS], np.float32))
    with ShardWriter(str(tmp_path), REJECTS, "a", REJECT) as writer:
        writer.write(rejected(dropped))
    shard = ShardFile(role=PASSAGES, path="a", rows=len(ROWS), bytes=1, sha256="0")
    paths = [tuple(f"{tmp_path}/{role}/a.parquet" for role in roles) for roles in ([PASSAGES], ["pairs"])]
    rejects = (f"{tmp_path}/{REJECTS}/a.parquet",) if dropped else ()
    members = MemberFiles(*paths, "kind", (), rejects)
    arrow = mine.write_texts(str(tmp_path), [shard], paths[0]) if texts else ()
    words = mine.write_words(str(tmp_path), arrow) if "bm25" in sources else None
    files = mine.CorpusFiles(members, FixedEmbeddings(None), (f"{tmp_path}/a.npy",), arrow, words)

    def run(**select):
        settings = MineSettings.model_validate(
            {
                "encoder": {"model": "none"},
                "exclude_contained": contained,
                "select": {"rank_window": [0, 20], **select},
                "judge": judge,
                "candidates": {"sources": sources},
            }
        )
        asked = pairs.filter(pa.array([row[1] in ASKED for row in ROWS]))
        return mine.mine_batch(asked, files, settings, seed=0, on_batch=lambda encoded: None)

    return run


def test_a_negative_is_no_positive_of_the_query_nor_of_their_documents_nor_says_the_same(mined):
    batch, _ = mined(negatives=20, max_share_of_positive=None)
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
    batch, _ = miner(tmp_path, queries={}, passages={}, dropped=dropped)(negatives=20, max_share_of_positive=None)
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
    assert query_clusters(pairs).equals(dedup_key(pa.array(["a B", "C"])))


@pytest.mark.parametrize("at_once", [1, 20, 10**6])
def test_negatives_come_hardest_first_ties_by_row_whatever_the_block(mined, monkeypatch, at_once):
    monkeypatch.setattr("trainer.mining.CANDIDATES_AT_ONCE", at_once)
    batch, _ = mined(negatives=2, max_share_of_positive=None)
    assert batch["negative_rows"].to_pylist() == [[3, 4], [3, 0], [3, 4]]
    assert batch["negative_scores"].to_pylist()[0] == pytest.approx([0.7, 0.2])
    assert batch["negative_origins"].to_pylist() == [["dense", "dense"]] * 3
    assert batch["positive_score"].to_pylist() == pytest.approx([0.9, 0.9, 0.8])


def test_passages_too_close_to_the_lowest_positive_are_left_out_and_counted(mined):
    # q1's positives score 0.9 and 0.8: what scores 0.4 and more is left out for both of its pairs
    batch, [found] = mined(negatives=5, max_share_of_positive=0.5)
    assert batch["negative_rows"].to_pylist()[0] == batch["negative_rows"].to_pylist()[2] == [4, 2, 8]
    assert found.negatives.dropped["above_share_of_positive"] > 0


def test_rows_the_encoder_cannot_read_get_no_negatives(mined, monkeypatch):
    monkeypatch.setattr(mine, "readable_rows", lambda batch, reads: np.arange(batch.num_rows) > 0)
    batch, _ = mined(negatives=2)
    assert batch["positive_score"].is_null().to_pylist() == [True, False, False]
    assert batch["negative_rows"].to_pylist()[0] == []
    assert batch["relabelled_rows"].to_pylist() == [[], [], []]
    assert batch["positive_judge_score"].null_count == 3


def test_a_positive_the_encoder_cannot_read_is_no_reference_but_no_negative_either(tmp_path, monkeypatch):
    # "one too" belongs to q1 but has no vector: it must not lower what q1's negatives are measured against
    real = passage_members.readable_rows

    def readable(batch, reads):
        return real(batch, reads) & ~pc.equal(batch["positive"], "one too").to_numpy(zero_copy_only=False)

    monkeypatch.setattr(passage_members, "readable_rows", readable)
    monkeypatch.setattr(mine, "readable_rows", readable)
    batch, [found] = miner(tmp_path, queries={}, passages={})(negatives=20, max_share_of_positive=None)
    assert found.positive_scores.lists() == [[pytest.approx(0.9, abs=1e-3)], [pytest.approx(0.9, abs=1e-3)]]
    assert sorted(batch["negative_rows"].to_pylist()[0]) == [2, 3, 4, 8]


class FixedJudge:
    name = "fixed"

    def score(self, queries, passages, on_batch=lambda done: None):
        known = {"one": 0.8, "one too": 0.75, "two": 0.85, "three": 0.95, "four": 0.1}
        return np.array([known.get(text, np.nan) for text in passages.to_pylist()], np.float32)


def test_a_judge_leaves_scores_and_new_positives(tmp_path, monkeypatch):
    monkeypatch.setattr(mine, "make_judge", lambda chosen: FixedJudge())
    judge = {"cross_encoder": {"model": "none"}, "relabel_above": 0.9, "max_share_of_positive": None}
    mined = miner(tmp_path, queries={}, passages={}, texts=True, judge=judge)
    batch, _ = mined(negatives=20, max_share_of_positive=None)
    q1, q2, again = batch.to_pylist()
    assert (q1["relabelled_rows"], q1["relabelled_judge_scores"]) == ([3], [pytest.approx(0.95)])
    assert q1["relabelled_scores"] == [pytest.approx(0.7, abs=1e-3)]
    assert (q1["negative_rows"], q1["negative_judge_scores"]) == ([4, 8], [pytest.approx(0.1), None])
    assert q1["positive_judge_score"] == pytest.approx(0.8)
    assert again["positive_judge_score"] == pytest.approx(0.75)
    assert q2["relabelled_rows"] == [3]
    assert 4 in q2["negative_rows"]


def test_passages_that_hold_the_positive_are_left_out_where_texts_are_there(tmp_path):
    long = {
        "one": "the tide comes in twice on each day",
        "three": "Twice: the tide comes in twice on each day, they say",
    }
    said = {row[2]: long.get(row[2], row[2]) for row in ROWS}
    mined = miner(tmp_path, queries={}, passages={}, texts=True, said=said, contained=True)
    batch, [found] = mined(negatives=20, max_share_of_positive=None)
    assert sorted(batch["negative_rows"].to_pylist()[0]) == [2, 4, 7, 8]
    assert found.negatives.dropped["contained"] == 2


def test_candidates_come_from_words_too(tmp_path):
    said = {row[2]: row[2] for row in ROWS} | {"Q2.": "q1 in other words"}
    mined = miner(tmp_path, queries={}, passages={}, texts=True, said=said, sources=["dense", "bm25"])
    batch, _ = mined(negatives=2, max_share_of_positive=None)
    assert batch["negative_rows"].to_pylist()[0] == [8, 3]  # first in one, fifth in the other
    assert batch["negative_origins"].to_pylist()[0] == ["dense+bm25", "dense"]

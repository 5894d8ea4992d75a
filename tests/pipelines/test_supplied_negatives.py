"""Negatives that came with the data: rows of their own, before the mined ones, and none that answers the query."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.duplicates import dedup_key
from pipelines.jobs import pack
from pipelines.jobs.dedup import PASSAGES
from pipelines.jobs.mine import MINED, MINED_SCHEMA
from pipelines.recipe import PackJobSettings
from pipelines.shards import ShardWriter
from pipelines.supplied_negatives import (
    PassageNumbers,
    first_negatives,
    joined_negatives,
    new_passages,
    with_own_passages,
)
from pipelines.transforms import Task
from sources.schema import PAIR, PASSAGE, make_pairs, text_ids
from trainer.ragged import Ragged

PASSAGE_TEXTS = ["amber basket", "copper dragon", "ember forest"]


class NobodyWatches:
    def beat(self, *_: object) -> None:
        pass


def ids(*numbers: tuple[int, int]) -> pa.Array:
    return pa.array([high.to_bytes(8, "big") + low.to_bytes(8, "big") for high, low in numbers], pa.binary(16))


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3))), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)))
)
def test_ids_are_found_at_their_first_row_also_where_halves_agree(held, wanted):
    found = PassageNumbers([ids(*held[:2]), ids(*held[2:])]).find(ids(*wanted))
    assert found.tolist() == [held.index(each) if each in held else -1 for each in wanted]


def test_texts_that_are_no_passage_come_once_with_the_cluster_of_their_folded_form():
    known = PassageNumbers([text_ids(pa.array(PASSAGE_TEXTS))])
    columns = [pa.array(["copper dragon", "grove"]), pa.array(["harbor", "grove", "Grove"]), pa.array([], pa.string())]
    rows = pa.Table.from_batches(list(new_passages(columns, known)))
    assert rows["text"].to_pylist() == ["grove", "harbor", "Grove"]
    assert rows["passage_id"].to_pylist() == text_ids(pa.array(["grove", "harbor", "Grove"])).to_pylist()
    assert rows["cluster_id"][0] == rows["cluster_id"][2]
    assert rows["cluster_id"].to_pylist() == dedup_key(pa.array(["grove", "harbor", "Grove"])).to_pylist()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_supplied_come_before_mined_each_once_and_without_answers(data):
    pairs = data.draw(st.integers(1, 5))
    rows = st.lists(st.integers(0, 9), max_size=5)
    supplied, mined, answers = (
        data.draw(st.lists(rows, min_size=pairs, max_size=pairs), label=name)
        for name in ("supplied", "mined", "answers")
    )
    positive = data.draw(st.lists(st.integers(0, 9), min_size=pairs, max_size=pairs))
    scores = [[row / 10 for row in each] for each in mined]
    found = joined_negatives(
        Ragged.of(supplied), Ragged.of(mined), Ragged.of(scores, np.float32), np.array(positive), Ragged.of(answers)
    )
    for pair in range(pairs):
        expected = dict.fromkeys(supplied[pair] + mined[pair])
        kept = [row for row in expected if row != positive[pair] and row not in answers[pair]]
        assert found.rows.lists()[pair] == kept
        for row, score in zip(kept, found.scores.lists()[pair], strict=True):
            assert np.isnan(score) if row in supplied[pair] else score == pytest.approx(row / 10)


def test_scores_that_are_not_one_for_each_mined_negative_are_refused():
    with pytest.raises(ValueError, match="Row 1 of mine's output has 2 negatives and 0 scores"):
        joined_negatives(
            Ragged.empty(2),
            Ragged.of([[1], [2, 3]]),
            Ragged.of([[0.5], []], np.float32),
            np.zeros(2, int),
            Ragged.empty(2),
        )


def test_a_query_that_is_a_passage_stands_behind_its_answers_once():
    answers = Ragged.of([[4], [], [7, 2], []])
    assert with_own_passages(answers, np.array([5, -1, 7, 0])).lists() == [[4, 5], [], [7, 2], [0]]


def test_the_first_of_each_list_are_taken_and_null_lists_are_empty():
    lists = pa.array([["a", "b", "c"], None, [], ["d"]], pa.list_(pa.string()))
    assert first_negatives(lists, 2).lists() == [[0, 1], [], [], [3]]


@pytest.fixture
def packed(tmp_path, tiny_model):
    """Packs three pairs with negatives of their own, with and without what mine found."""

    def run(mined_rows=None, queries=("garden", "island", "jungle"), kinds=(), **more):
        pairs, _ = make_pairs(
            query=list(queries),
            positive=PASSAGE_TEXTS,
            negatives=[["kettle", "copper dragon"], None, ["kettle", "thunder orchard"]],
            kind="title_body",
            source="s",
            document_id=["d1", "d2", "d3"],
        )
        for name in ("query_cluster_id", "positive_cluster_id"):
            place = PAIR.get_field_index(name)
            pairs = pairs.set_column(place, PAIR.field(place), dedup_key(pairs[name.split("_")[0]]))
        passages = pa.RecordBatch.from_pylist(
            [
                {
                    "passage_id": text_ids(pa.array([text]))[0].as_py(),
                    "text": text,
                    "document_id": "d",
                    "cluster_id": key,
                }
                for text, key in zip(PASSAGE_TEXTS, dedup_key(pa.array(PASSAGE_TEXTS)).to_pylist(), strict=True)
            ],
            PASSAGE,
        )
        urls = {}
        for role, table, of_schema in (("pairs", pairs, PAIR), (PASSAGES, passages, PASSAGE)):
            with ShardWriter(str(tmp_path / "before"), role, "a", of_schema) as writer:
                writer.write(table)
            urls[role] = str(tmp_path / "before" / role / "a.parquet")
        if mined_rows is not None:
            content = [
                {
                    "pair_id": pairs["pair_id"][row].as_py(),
                    "positive_row": row,
                    "positive_score": 0.9,
                    "negative_rows": rows,
                }
                | {"negative_scores": [0.5] * len(rows)}
                | {name: lists[row] for name, lists in more.items()}
                for row, rows in enumerate(mined_rows)
            ]
            with ShardWriter(str(tmp_path / "before"), MINED, "a", MINED_SCHEMA) as writer:
                writer.write(pa.RecordBatch.from_pylist(content, MINED_SCHEMA))
            urls[MINED] = str(tmp_path / "before" / MINED / "a.parquet")
        folder = str(tmp_path / "pack")
        chosen = PackJobSettings(
            model=tiny_model, kinds=kinds, packing={"max_query_length": 16, "max_passage_length": 16}
        )
        tasks = [Task("passages-a", "1", urls[PASSAGES]), Task(pack.SUPPLIED, "1", (urls["pairs"],))]
        parts = [pack.write_texts(folder, chosen, (urls[PASSAGES],), "t", task, NobodyWatches()) for task in tasks]
        shards = tuple(f"{folder}/passages/{part.task}.parquet" for part in parts)
        task = Task("a", "1", pack.PairTask(urls["pairs"], urls.get(MINED), "sha256"))
        part = pack.write_pairs(folder, chosen, (urls[PASSAGES],), shards, "t", task, NobodyWatches())
        passages = pa.concat_tables([pq.read_table(shard) for shard in sorted(shards)])
        return pq.read_table(f"{folder}/pairs/a.parquet"), passages, part

    return run


def test_negatives_of_the_source_are_packed_behind_the_passages_and_named_by_their_pairs(packed):
    pairs, passages, part = packed()
    new = ["kettle", "thunder orchard"]
    assert passages["passage_id"].to_pylist() == text_ids(pa.array([*PASSAGE_TEXTS, *new])).to_pylist()
    # "copper dragon" is the positive of another pair: it has a row already.
    assert pairs["negatives"].to_pylist() == [[3, 1], [], [3, 4]]
    assert pairs["negative_scores"].to_pylist() == [[], [], []]
    assert part.details["curated"] == 2


def test_a_passage_that_is_the_query_itself_is_no_negative_whatever_its_cluster(packed):
    pairs, _, _ = packed([[2, 1], [0], []], queries=["copper dragon", "island", "jungle"])
    assert pairs["negatives"].to_pylist()[0] == [3, 2]
    assert pairs["known_positives"].to_pylist() == [[1], [], []]


def test_the_export_lists_answers_as_positives_and_leaves_out_what_is_not_trained_on(packed, tmp_path):
    packed(
        [[2], [0, 2], []],
        relabelled_rows=[[1], None, None],
        positive_judge_score=[0.9, 0.8, 0.7],
        negative_judge_scores=[[0.1], [0.2, 0.3], []],
        relabelled_judge_scores=[[0.95], None, None],
        kinds=("title_body",),
    )
    lines = [json.loads(line) for line in (tmp_path / "pack/export/flagembedding/a.jsonl").read_text().splitlines()]
    first, second, third = lines
    # "copper dragon" came as a negative of the first pair, and a judge found that it answers.
    assert first["pos"] == [PASSAGE_TEXTS[0], PASSAGE_TEXTS[1]]
    assert first["neg"] == ["kettle", PASSAGE_TEXTS[2]]
    assert "pos_scores" not in first
    assert second["pos_scores"] == pytest.approx([0.8])
    assert second["neg_scores"] == pytest.approx([0.2, 0.3])
    assert third["neg"] == ["kettle", "thunder orchard"]
    for file in (tmp_path / "pack").rglob("*.jsonl"):
        file.unlink()
    packed([[2], [0, 2], []], kinds=("nothing",))
    assert not [*(tmp_path / "pack").rglob("*.jsonl")]


def test_mined_negatives_follow_with_their_scores(packed):
    pairs, _, _ = packed([[2, 1], [0], []])
    assert pairs["negatives"].to_pylist() == [[3, 1, 2], [0], [3, 4]]
    first, second, third = pairs["negative_scores"].to_pylist()
    assert np.isnan(first).tolist() == [True, True, False]
    assert second == [0.5]
    assert np.isnan(third).all()


def test_a_relabelled_passage_is_a_known_positive_and_no_negative(packed):
    pairs, _, part = packed([[2], [0, 2], []], relabelled_rows=[[1], [2], None])
    assert pairs["negatives"].to_pylist() == [[3, 2], [0], [3, 4]]
    assert pairs["known_positives"].to_pylist() == [[1], [2], []]
    assert part.details["relabelled"] == 2

import numpy as np
import pyarrow as pa
import pytest

from filters.duplicates import dedup_key
from pipelines.packed_before import export_key, pack_passages, pack_queries, rows_before
from pipelines.shards import Part, ShardWriter
from sources.schema import make_pairs, text_ids
from trainer.backbone import load_tokenizer
from trainer.packing import PACKED_PASSAGE, Packer, PackingSettings

LONG = "river mountain valley harvest copper engine library window garden winter"
TEXTS = ["copper river", LONG, "the winter garden", "bridge"]


def passages(texts):
    return pa.RecordBatch.from_arrays(
        [text_ids(pa.array(texts)), pa.array(texts), dedup_key(pa.array(texts))],
        names=["passage_id", "text", "cluster_id"],
    )


@pytest.fixture
def packer(tiny_model):
    def make(**changes):
        settings = PackingSettings(max_query_length=8, max_passage_length=8, **changes)
        return Packer(load_tokenizer(tiny_model)[0], settings)

    return make


class Unused:
    """A tokenizer that must not be asked."""

    def encode_batch_fast(self, texts):
        assert not texts, texts
        return []


def written(folder, role, batch, schema, tokenising="t"):
    with ShardWriter(str(folder), role, "a", schema) as writer:
        writer.write(batch)
    details = {"tokenising": tokenising}
    return Part(task="a", fingerprint="1", files=[writer.file], rows_in=0, rows_out=0, dropped={}, details=details)


def passages_before(folder, packer, texts, tokenising="t"):
    part = written(folder, "passages", packer.pack_passages(passages(texts)), PACKED_PASSAGE, tokenising)
    return rows_before(str(folder), part, "passages", "t", "passage_id", ("token_ids", "length"))


def test_passages_packed_before_come_out_the_same(tmp_path, packer):
    before = passages_before(tmp_path, packer(), TEXTS)
    now = passages(["bridge", "a new lantern", LONG, "copper river"])
    again, fresh = packer(), packer()
    assert pack_passages(again, now, before) == fresh.pack_passages(now)
    assert again.truncated_passages == fresh.truncated_passages == 1


def test_texts_that_were_not_cut_are_not_tokenised_again(tmp_path, packer):
    before = passages_before(tmp_path, packer(), TEXTS)
    now = passages(["bridge", "the winter garden"])
    again = packer()
    again._passage_tokenizer = Unused()
    assert pack_passages(again, now, before) == packer().pack_passages(now)


def test_rows_that_were_tokenised_otherwise_do_not_count(tmp_path, packer):
    assert passages_before(tmp_path, packer(), TEXTS, tokenising="other") is None


def test_queries_packed_before_come_out_the_same_with_their_instructions(tmp_path, packer):
    rows = {"query": TEXTS, "positive": ["harbour"] * 4, "kind": "title_body", "source": "s", "document_id": "d"}
    then, _ = make_pairs(**rows, symmetric=[False, False, True, False])
    now, _ = make_pairs(**rows, symmetric=[True, False, True, False])
    with_plain = {"query_instruction": "the ", "keep_plain_queries": True}
    packed = packer(**with_plain).pack_queries(then["query"], then["symmetric"], then["source"], then["kind"])
    columns = [then["pair_id"], then["symmetric"], packed.lengths, packed.token_ids, packed.plain_token_ids]
    names = ["pair_id", "symmetric", "query_length", "query_token_ids", "plain_query_token_ids"]
    batch = pa.RecordBatch.from_arrays(columns, names=names)
    part = written(tmp_path, "pairs", batch, batch.schema)
    before = rows_before(str(tmp_path), part, "pairs", "t", "pair_id", tuple(names[1:]))
    again, fresh = packer(**with_plain), packer(**with_plain)
    found = pack_queries(again, now, before)
    wanted = fresh.pack_queries(now["query"], now["symmetric"], now["source"], now["kind"])
    assert found.token_ids.to_pylist() == wanted.token_ids.to_pylist()
    assert found.lengths.to_pylist() == wanted.lengths.to_pylist()
    assert found.plain_token_ids.to_pylist() == wanted.plain_token_ids.to_pylist()
    assert again.truncated_queries == fresh.truncated_queries == 1


def mined(rows, scores):
    columns = [pa.array(rows, pa.list_(pa.int64())), pa.array(scores, pa.list_(pa.float32()))]
    return pa.RecordBatch.from_arrays(columns, names=["negative_rows", "negative_scores"])


def test_an_export_follows_from_passages_and_scores_not_from_row_numbers():
    ids = text_ids(pa.array(["one", "two", "three"]))
    moved = ids.take(pa.array([2, 0, 1]))
    key = export_key(("a",), [mined([[0, 1], []], [[0.5, 0.25], []])], ids)
    assert key == export_key(("a",), [mined([[1, 2], []], [[0.5, 0.25], []])], moved)
    others = [
        export_key(("b",), [mined([[0, 1], []], [[0.5, 0.25], []])], ids),
        export_key(("a",), [mined([[0], [1]], [[0.5], [0.25]])], ids),
        export_key(("a",), [mined([[1, 0], []], [[0.5, 0.25], []])], ids),
        export_key(("a",), [mined([[0, 1], []], [[0.5, 0.2], []])], ids),
        export_key(("a",), [mined([[0, 1], []], [[0.5, None], []])], ids),
    ]
    assert len({key, *others}) == 6
    assert np.unique([len(each) for each in others]).tolist() == [64]

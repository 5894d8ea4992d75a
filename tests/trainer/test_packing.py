"""Packing: token rows are what the tokenizer gives, and every row number, length and score lands where it should."""

import json

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizerFast, PreTrainedTokenizerFast

from trainer.packing import (
    LENGTH_GROUPS,
    PACKED_PAIR,
    PACKED_PASSAGE,
    Packer,
    PackingError,
    PackingSettings,
    flagembedding_rows,
    length_groups,
    pack_pairs,
)

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "green", "blue", "sea", "sky", "##s", "query", ":"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return BertTokenizerFast(tokenizer_object=backend, model_max_length=64)


def ids(*numbers: int) -> pa.Array:
    return pa.array([bytes([number]) * 16 for number in numbers], pa.binary(16))


def passages(*texts: str) -> pa.RecordBatch:
    rows = range(len(texts))
    return pa.record_batch({"passage_id": ids(*rows), "text": pa.array(texts), "cluster_id": ids(*rows)})


def test_token_ids_are_those_of_the_tokenizer_cut_at_the_maximum_length(tokenizer):
    texts = ["red sea", "skys " * 30, "", "Blue unknown sky", "[SEP] red"]
    packed = Packer(tokenizer, PackingSettings(max_passage_length=8)).pack_passages(passages(*texts))
    expected = tokenizer(texts, truncation=True, max_length=8)["input_ids"]
    assert packed.schema == PACKED_PASSAGE
    assert packed["token_ids"].to_pylist() == expected
    assert packed["length"].to_pylist() == [len(row) for row in expected] == [4, 8, 2, 5, 4]


def test_cut_texts_are_counted_and_a_text_that_just_fits_is_not_one(tokenizer):
    packer = Packer(tokenizer, PackingSettings(max_query_length=5, max_passage_length=5))
    packer.pack_passages(passages("red red red", "red red red red", "red"))
    packer.pack_queries(pa.array(["red red red red red"]))
    assert (packer.truncated_passages, packer.truncated_queries) == (1, 1)


def test_lengths_never_exceed_the_model_s(tokenizer):
    assert Packer(tokenizer, PackingSettings()).max_passage_length == 64
    packer = Packer(tokenizer, PackingSettings(), model_max_length=6)
    assert (packer.max_query_length, packer.max_passage_length) == (6, 6)
    assert packer.pack_queries(pa.array(["red " * 20])).lengths.to_pylist() == [6]


def test_packing_leaves_the_caller_s_tokenizer_as_it_was(tokenizer):
    before = tokenizer.backend_tokenizer.to_str()
    Packer(tokenizer, PackingSettings(max_query_length=4)).pack_queries(pa.array(["red sea sky blue"]))
    assert tokenizer.backend_tokenizer.to_str() == before


def test_the_instruction_is_put_before_asymmetric_queries_only(tokenizer):
    packer = Packer(tokenizer, PackingSettings(query_instruction="query: "))
    packed = packer.pack_queries(pa.array(["red", "red"]), symmetric=pa.array([False, True]))
    assert packed.token_ids.to_pylist() == [[2, 11, 12, 5, 3], [2, 5, 3]]


def test_more_texts_than_one_tokenizer_call_takes_keep_their_order(tokenizer):
    texts = ["red " * (1 + row % 3) for row in range(9000)]
    packed = Packer(tokenizer, PackingSettings()).pack_queries(pa.array(texts))
    assert packed.lengths.to_pylist() == [3 + row % 3 for row in range(9000)]


def test_null_texts_are_refused(tokenizer):
    with pytest.raises(PackingError, match="1 of 2 texts to tokenise are null"):
        Packer(tokenizer, PackingSettings()).pack_queries(pa.array(["red", None]))


def test_length_groups_are_the_half_open_ranges_of_m3():
    lengths = pa.array([0, 499, 500, 999, 1000, 1999, 2000, 6999, 7000, 8192])
    assert len(LENGTH_GROUPS) == 9
    assert length_groups(lengths).to_pylist() == [0, 0, 1, 1, 2, 2, 3, 7, 8, 8]


@pytest.mark.parametrize("edges", [(), (1, 2), (0, 5, 5), (0, 9, 3)])
def test_length_edges_must_rise_from_zero(edges):
    with pytest.raises(ValidationError, match="must start at 0 and rise"):
        PackingSettings(length_edges=edges)


def packed_pairs(tokenizer, **changes):
    settings = PackingSettings(negatives=2, length_edges=(0, 4, 8))
    columns = {
        "pair_id": ids(1, 2, 3),
        "queries": Packer(tokenizer, settings).pack_queries(pa.array(["red", "sky", "red red red red red red red"])),
        "query_cluster_id": ids(1, 2, 3),
        "positive": pa.array([0, 1, 2], pa.int64()),
        "negatives": pa.array([[1, 2, 3], None, [3]], pa.list_(pa.int64())),
        "positive_score": pa.array([0.9, None, 0.8], pa.float32()),
        "negative_scores": pa.array([[0.5, 0.25, 0.125], [], None], pa.list_(pa.float32())),
        "dataset": pa.array(["d"] * 3),
        "kind": pa.array(["title_body"] * 3),
        "query_lang": pa.array(["eng_Latn"] * 3),
        "symmetric": pa.array([False] * 3),
        "passage_lengths": np.array([3, 4, 5, 99], np.int32),
        "settings": settings,
    }
    return pack_pairs(**columns | changes)


def test_a_pair_s_length_is_the_longest_of_its_query_positive_and_kept_negatives(tokenizer):
    packed = packed_pairs(tokenizer)
    assert packed.schema == PACKED_PAIR
    # Row 0: query 3, positive 3, kept negatives 4 and 5 (the one of 99 tokens is cut off); row 2 has that negative.
    assert packed["length"].to_pylist() == [5, 4, 99]
    assert packed["length_group"].to_pylist() == [1, 1, 2]


def test_negatives_are_capped_together_with_their_scores(tokenizer):
    packed = packed_pairs(tokenizer)
    assert packed["negatives"].to_pylist() == [[1, 2], [], [3]]
    assert packed["negative_scores"].to_pylist() == [[0.5, 0.25], [], []]


def test_pairs_without_any_scores_pack_to_nulls_and_empty_lists(tokenizer):
    packed = packed_pairs(tokenizer, positive_score=None, negative_scores=None)
    assert packed["positive_score"].to_pylist() == [None] * 3
    assert packed["negative_scores"].to_pylist() == [[]] * 3


def test_scores_that_do_not_match_their_negatives_are_refused(tokenizer):
    scores = pa.array([[0.5], [], []], pa.list_(pa.float32()))
    with pytest.raises(PackingError, match="row 0 has 3 negatives but 1 negative scores"):
        packed_pairs(tokenizer, negative_scores=scores)


def test_flagembedding_lines_hold_its_keys_and_scores_only_where_both_are_known():
    lines = flagembedding_rows(
        pa.array(["q1", "q\u2028\n2"]),
        pa.array(["p1", "p2"]),
        pa.array([["n1", "n2"], None], pa.list_(pa.string())),
        positive_scores=pa.array([0.5, 0.25]),
        negative_scores=pa.array([[0.125, 0.0], None], pa.list_(pa.float64())),
        prompt="find: ",
    )
    lines = list(lines)
    assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
    assert [json.loads(line) for line in lines] == [
        {
            "query": "q1",
            "pos": ["p1"],
            "neg": ["n1", "n2"],
            "pos_scores": [0.5],
            "neg_scores": [0.125, 0.0],
            "prompt": "find: ",
        },
        {"query": "q\u2028\n2", "pos": ["p2"], "neg": [], "prompt": "find: "},
    ]


def test_flagembedding_lines_load_with_hugging_face_datasets(tmp_path):
    from datasets import load_dataset

    rows = flagembedding_rows(pa.array(["q"]), pa.array([["p", "p2"]]), pa.array([["n"]]))
    (tmp_path / "train.jsonl").write_bytes(b"".join(rows))
    loaded = load_dataset("json", data_files=str(tmp_path / "train.jsonl"), split="train", cache_dir=str(tmp_path))
    assert loaded[0] == {"query": "q", "pos": ["p", "p2"], "neg": ["n"]}


def test_an_instruction_may_be_that_of_the_data_set_or_of_the_kind_and_symmetric_pairs_have_none(tokenizer):
    settings = PackingSettings(query_instruction="a ", query_instructions={"nq": "b ", "title_body": "c "})
    packed = Packer(tokenizer, settings).pack_queries(
        pa.array(["d"] * 4),
        symmetric=pa.array([False, False, False, True]),
        dataset=pa.array(["nq", "other", "other", "nq"]),
        kind=pa.array(["title_body", "title_body", "review", "title_body"]),
    )
    plain = Packer(tokenizer, PackingSettings()).pack_queries(pa.array(["b d", "c d", "a d", "d"]))
    assert packed.token_ids.to_pylist() == plain.token_ids.to_pylist()
    assert packed.plain_token_ids is None


def test_queries_are_kept_without_their_instruction_too_where_asked(tokenizer):
    settings = PackingSettings(query_instruction="a ", keep_plain_queries=True)
    packed = Packer(tokenizer, settings).pack_queries(
        pa.array(["d", "b", "c"]), symmetric=pa.array([False, True, False])
    )
    plain = Packer(tokenizer, PackingSettings()).pack_queries(pa.array(["d", "c"])).token_ids.to_pylist()
    assert packed.plain_token_ids.to_pylist() == [plain[0], [], plain[1]]


def test_the_special_tokens_around_a_text_are_counted(tokenizer):
    packer = Packer(tokenizer, PackingSettings())
    before, after = packer.special_tokens()
    ids = packer.pack_queries(pa.array(["red sea"])).token_ids[0].as_py()
    specials = set(tokenizer.all_special_ids)
    assert [token in specials for token in ids] == [True] * before + [False] * (len(ids) - before - after) + [
        True
    ] * after

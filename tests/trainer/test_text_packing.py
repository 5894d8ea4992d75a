"""Texts cut into rows of tokens, and where words begin in vocabularies of every kind."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from trainer.packing import PackingError
from trainer.ragged import Ragged
from trainer.text_packing import PACKED_TEXT, TextPacker, TextPackingSettings, WordRule, special_frame


def wordpiece(pieces: list[str], *, frame: bool = True) -> PreTrainedTokenizerFast:
    vocabulary = {piece: row for row, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if frame:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    names = {
        name: f"[{name[:-6].upper()}]" for name in ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    }
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def unigram(pieces: list[str]) -> PreTrainedTokenizerFast:
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    backend = Tokenizer(
        models.Unigram([(piece, -float(row)) for row, piece in enumerate([*special, *pieces])], unk_id=3)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    backend.add_special_tokens([*special, "<mask>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
    )


def byte_level(merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<s>", "</s>", "<pad>", *alphabet, *("".join(pair) for pair in merges)]
    backend = Tokenizer(models.BPE({name: row for row, name in enumerate(names)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def marked(tokenizer: PreTrainedTokenizerFast, text: str) -> list[list[str]]:
    """The tokens of a text, word by word."""
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    starts = WordRule.of(tokenizer).starts(Ragged.of([encoding.ids], np.int32))
    words: list[list[str]] = []
    for token, start in zip(encoding.tokens, starts, strict=True):
        words += [[token]] if start else []
        words[-1] += [] if start else [token]
    return words


def packed(packer: TextPacker, texts: list[str]) -> list[dict]:
    ids = pa.array([f"{number:016d}".encode() for number in range(len(texts))], pa.binary(16))
    batches = list(packer.pack(ids, pa.array(texts, pa.string())))
    return pa.Table.from_batches(batches, PACKED_TEXT).to_pylist()


def test_wordpiece_words_go_on_with_their_mark():
    tokenizer = wordpiece(["play", "##ing", "##s", "well", ",", "中", "国"])
    assert marked(tokenizer, "Playing, plays well 中国") == [
        ["play", "##ing"], [","], ["play", "##s"], ["well"], ["中"], ["国"],
    ]  # fmt: skip


def test_sentencepiece_words_begin_with_their_mark():
    tokenizer = unigram(["▁un", "happy", "▁day", "s", "▁", ".", "है", "▁नम", "स्ते", "ا", "▁السل", "م"])
    assert marked(tokenizer, "unhappy days. नमस्ते السلام") == [
        ["▁un", "happy"], ["▁day", "s"], ["."], ["▁नम", "स्ते"], ["▁السل", "ا", "م"],
    ]  # fmt: skip


def test_tokens_of_scripts_without_spaces_are_words_of_their_own():
    tokenizer = unigram(["▁", "東京", "都", "に", "は", "▁GPU", "GPU", "s", "กรุง", "เทพ", "។", "ភាសា"])
    assert marked(tokenizer, "東京都にはGPUs") == [["▁"], ["東京"], ["都"], ["に"], ["は"], ["GPU", "s"]]
    assert marked(tokenizer, "กรุงเทพ ភាសា។")[1:] == [["กรุง"], ["เทพ"], ["▁"], ["ភាសា"], ["។"]]


def test_byte_level_words_are_those_of_its_own_pre_tokens():
    tokenizer = byte_level([("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("c", "a")])
    for text in ("the cat, the hat", "café déjà vu; ça va", "один два три", "a  b\n\nc"):
        encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        starts = WordRule.of(tokenizer).starts(Ragged.of([encoding.ids], np.int32))
        begun = [place == 0 or word != encoding.word_ids[place - 1] for place, word in enumerate(encoding.word_ids)]
        assert starts[np.array(begun)].all(), text
    assert marked(tokenizer, "the cat, I") == [["t", "he"], ["Ġ", "ca", "t"], [","], ["Ġ", "I"]]


@given(st.text(alphabet=st.sampled_from("ab ,中.é"), max_size=40))
@settings(max_examples=100, deadline=None)
def test_wordpiece_words_are_the_tokenizers_own_word_numbers(text):
    tokenizer = wordpiece(["a", "b", "##a", "##b", ",", ".", "中", "e", "##e"])
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    starts = WordRule.of(tokenizer).starts(Ragged.of([encoding.ids], np.int32))
    numbers = encoding.word_ids
    assert starts.tolist() == [place == 0 or numbers[place] != numbers[place - 1] for place in range(len(numbers))]


def test_a_vocabulary_without_marks_has_words_of_one_token():
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    assert marked(tokenizer, "a b a") == [["a"], ["b"], ["a"]]


def test_long_texts_are_cut_and_short_ends_left_out():
    tokenizer = wordpiece(["a", "##a", "b"])
    packer = TextPacker(tokenizer, TextPackingSettings(max_length=8, min_length=2))
    rows = packed(packer, ["b " * 13, "", "b", "aaa b", "b aa b b b aaa"])
    b, a, more = 7, 5, 6
    assert [(row["text_id"][-1:], row["part"], row["token_ids"]) for row in rows] == [
        (b"0", 0, [b] * 6),
        (b"0", 1, [b] * 6),  # and an end of one token, below the least
        (b"3", 0, [a, more, more, b]),
        (b"4", 0, [b, a, more, b, b, b]),
        (b"4", 1, [a, more, more]),
    ]
    assert all(row["length"] == len(row["token_ids"]) == len(row["word_starts"]) for row in rows)
    assert rows[2]["word_starts"] == [True, False, False, True]
    assert (packer.short_texts, packer.short_ends) == (2, 1)


def test_a_cut_inside_a_word_begins_a_word():
    packer = TextPacker(wordpiece(["a", "##a"]), TextPackingSettings(max_length=8, min_length=1))
    rows = packed(packer, ["a" * 9])
    assert [row["word_starts"] for row in rows] == [[True, *[False] * 5], [True, False, False]]


@given(st.lists(st.integers(0, 30), max_size=12), st.integers(9, 14), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_rows_hold_each_texts_tokens_in_order(lengths, longest, least):
    packer = TextPacker(wordpiece(["a", "##a", "b"]), TextPackingSettings(max_length=longest, min_length=least))
    rows = packed(packer, ["b " * length for length in lengths])
    for number, length in enumerate(lengths):
        own = [row for row in rows if int(row["text_id"]) == number]
        assert [row["part"] for row in own] == list(range(len(own)))
        left_out = length - sum(row["length"] for row in own)
        assert 0 <= left_out < least
        assert all(row["length"] == longest - 2 for row in own[:-1])


def test_what_looks_like_a_special_token_is_text():
    packer = TextPacker(wordpiece(["mask", "[", "]", "cls"]), TextPackingSettings(max_length=8, min_length=1))
    (row,) = packed(packer, ["[MASK] [CLS]"])
    assert row["token_ids"] == [6, 5, 7, 6, 8, 7]


def test_a_special_token_that_is_a_piece_of_the_vocabulary_is_an_unknown_one():
    packer = TextPacker(unigram(["▁", "▁a", "b"]), TextPackingSettings(max_length=16, min_length=1))
    (row,) = packed(packer, ["a <s></s> b"])
    assert row["token_ids"] == [5, 4, 3, 3, 4, 6]


def test_the_callers_tokenizer_keeps_its_state():
    tokenizer = wordpiece(["a", "[", "]", "mask"])
    before = json.loads(tokenizer.backend_tokenizer.to_str())
    list(packed(TextPacker(tokenizer, TextPackingSettings(min_length=1)), ["a [MASK]"]))
    assert json.loads(tokenizer.backend_tokenizer.to_str()) == before
    assert not tokenizer.backend_tokenizer.encode_special_tokens


def test_texts_that_are_null_are_refused():
    packer = TextPacker(wordpiece(["a"]), TextPackingSettings())
    with pytest.raises(PackingError, match="1 of 2 texts to pack are null"):
        packed(packer, ["a", None])


def test_a_tokenizer_without_a_first_token_is_refused():
    with pytest.raises(PackingError, match="puts 0 special tokens before a text"):
        special_frame(wordpiece(["a"], frame=False))


def test_a_tokenizer_that_pads_and_cuts_by_itself_does_neither_here():
    tokenizer = wordpiece(["a", "b"])
    tokenizer.backend_tokenizer.enable_padding(length=8, pad_id=0, pad_token="[PAD]")
    tokenizer.backend_tokenizer.enable_truncation(6)
    assert special_frame(tokenizer) == ((2,), (3,))
    rows = packed(TextPacker(tokenizer, TextPackingSettings(max_length=32, min_length=1)), ["a b " * 10, "a"])
    assert [row["length"] for row in rows] == [20, 1]


def test_lengths_that_leave_no_row_are_refused():
    with pytest.raises(ValueError, match="no row could be kept"):
        TextPackingSettings(max_length=16, min_length=15)


def test_many_texts_come_in_several_batches_and_stay_in_order():
    packer = TextPacker(wordpiece(["a", "b"]), TextPackingSettings(min_length=1))
    rows = packed(packer, ["a " * (1 + number % 3) for number in range(2500)])
    assert [int(row["text_id"]) for row in rows] == list(range(2500))
    assert [row["length"] for row in rows] == [1 + number % 3 for number in range(2500)]

"""Plain texts into token rows for pre-training: the schema of pack's text shards, and the functions that fill them.

In:  texts and their ids as Arrow columns, a fast tokenizer.
Out: PACKED_TEXT batches that pre-training reads without tokenising (trainer.packed_texts).

Token ids are kept without special tokens: pre-training puts [CLS] and [SEP] around each row. A text longer than a row is cut
into several rows at token boundaries. `word_starts` says which tokens begin a word, so that words can be masked whole.
"""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.packing import PackingError
from trainer.ragged import Ragged, ranges

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]

PACKED_TEXT: Final = pa.schema(
    [
        pa.field("text_id", pa.binary(16), nullable=False),  # of the whole text
        pa.field("part", pa.int32(), nullable=False),  # which cut of it, from 0
        pa.field("token_ids", pa.list_(pa.int32()), nullable=False),  # without special tokens
        pa.field("length", pa.int32(), nullable=False),  # tokens
        pa.field("word_starts", pa.list_(pa.bool_()), nullable=False),  # one a token
    ]
)

DEFAULT_MAX_LENGTH: Final = 512
_TEXTS_PER_CALL: Final = 1024  # bounds the memory of tokenizer objects; documents are longer than passages
_CHARACTERS_PER_CALL: Final = 4_000_000
# Scripts written without spaces: their tokens are words of their own (first and last code point of each block).
_UNSPACED: Final = np.array(
    [
        (0x0E00, 0x0EFF),  # Thai, Lao
        (0x0F00, 0x0FFF),  # Tibetan
        (0x1000, 0x109F),  # Myanmar
        (0x1780, 0x17FF),  # Khmer
        (0x2E80, 0x31FF),  # CJK radicals, punctuation, kana, Bopomofo
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xF900, 0xFAFF),
        (0xFF00, 0xFFEF),  # full-width forms
        (0x1B000, 0x1B16F),  # historic kana
        (0x20000, 0x3FFFF),
    ],
    np.int64,
)
_METASPACE: Final = "▁"
_BYTE_SPACE: Final = "Ġ"  # byte-level BPE writes a space so


class TextPackingSettings(BaseModel):
    """How plain texts become rows of tokens for pre-training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_length: int = Field(
        DEFAULT_MAX_LENGTH,
        ge=8,
        le=1 << 20,
        description="tokens of a row with its special ones; longer texts are cut into several "
        "(C-Pack: 512, FlagEmbedding retromae_pretrain/arguments.py; M3 appendix B.1: 8,192)",
    )
    min_length: int = Field(
        16, ge=1, description="rows of fewer tokens, special ones not counted, are left out: nothing to learn (ours)"
    )

    @model_validator(mode="after")
    def _some_length_is_left(self) -> "TextPackingSettings":
        if self.min_length > self.max_length - 2:
            raise ValueError(
                f"min_length ({self.min_length}) is above max_length ({self.max_length}) less two special tokens: no row "
                f"could be kept; lower it"
            )
        return self


class TextPacker:
    """Cuts texts into rows of token ids with one tokenizer and one set of lengths; counts what it left out.

    What looks like a special token in a text ("[MASK]", "</s>") is tokenised as the characters it is made of, or is an
    unknown token where the vocabulary takes it for one piece (SentencePiece): no row holds a special token but that.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast", settings: TextPackingSettings) -> None:
        self.settings = settings
        self.frame = special_frame(tokenizer)
        self.row_tokens = settings.max_length - sum(map(len, self.frame))
        self.words = WordRule.of(tokenizer)
        self.short_texts = 0  # of no row at all
        self.short_ends = 0  # ends of cut texts, below min_length
        self._tokenizer = _uncut(tokenizer)
        self._tokenizer.encode_special_tokens = True
        self._as_text = np.arange(len(self.words.begins), dtype=np.int32)
        if tokenizer.unk_token_id is not None:
            self._as_text[tokenizer.all_special_ids] = tokenizer.unk_token_id

    def pack(self, text_id: pa.Array, texts: pa.Array) -> Iterator[pa.RecordBatch]:
        """PACKED_TEXT batches of the texts (string array [n], ids binary(16) [n]), in their order.

        Raises PackingError where a text is null.
        """
        if texts.null_count:
            raise PackingError(
                f"{texts.null_count} of {len(texts)} texts to pack are null; every text must be a string."
            )
        for start, end in _calls(texts):
            tokens = self._tokens(texts.slice(start, end - start).to_pylist())
            yield self._rows(text_id.slice(start, end - start), tokens)

    def _tokens(self, texts: list[str]) -> Ragged:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        values = self._as_text[np.fromiter(chain.from_iterable(ids), np.int32)]
        return Ragged.with_lengths(values, [len(each) for each in ids])

    def _rows(self, text_id: pa.Array, tokens: Ragged) -> pa.RecordBatch:
        starts = self.words.starts(tokens)
        counts = -(-tokens.lengths // self.row_tokens)
        text = np.repeat(np.arange(len(tokens)), counts)
        part = np.arange(len(text)) - np.repeat(np.cumsum(counts) - counts, counts)
        length = np.minimum(self.row_tokens, tokens.lengths[text] - part * self.row_tokens)
        kept = length >= self.settings.min_length
        self.short_texts += len(tokens) - len(np.unique(text[kept]))
        self.short_ends += int(np.count_nonzero(~kept & (part > 0)))
        text, part, length = text[kept], part[kept], length[kept]
        places = ranges(tokens.offsets[text] + part * self.row_tokens, length)
        offsets = pa.array(np.concatenate([[0], np.cumsum(length)]).astype(np.int32))
        begins = starts[places]
        begins[(np.cumsum(length) - length)] = True  # a cut may fall inside a word
        return pa.RecordBatch.from_arrays(
            [
                text_id.take(pa.array(text)),
                pa.array(part.astype(np.int32)),
                pa.ListArray.from_arrays(offsets, pa.array(tokens.values[places])),
                pa.array(length.astype(np.int32)),
                pa.ListArray.from_arrays(offsets, pa.array(begins)),
            ],
            schema=PACKED_TEXT,
        )


def _calls(texts: pa.Array) -> Iterator[tuple[int, int]]:
    """Runs of texts for one call of the tokenizer: a bounded number of texts and of characters."""
    characters = np.concatenate([[0], np.cumsum(pc.utf8_length(texts).to_numpy())])
    start = 0
    while start < len(texts):
        fitting = int(np.searchsorted(characters, characters[start] + _CHARACTERS_PER_CALL, side="right")) - 1
        end = min(max(fitting, start + 1), start + _TEXTS_PER_CALL)
        yield start, end
        start = end


def _uncut(tokenizer: "PreTrainedTokenizerFast") -> Any:
    """A copy of the Rust tokenizer that neither cuts nor pads; the caller's keeps its own state."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def special_frame(tokenizer: "PreTrainedTokenizerFast") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special token ids that the tokenizer puts before and after a text: ([CLS],) and ([SEP],) of BERT.

    Raises PackingError where it puts none before, because RetroMAE's embedding is the state of that token.
    """
    encoding = _uncut(tokenizer).encode("a")
    ids, mask = encoding.ids, encoding.special_tokens_mask
    first = mask.index(0) if 0 in mask else len(mask)
    last = mask[::-1].index(0) if 0 in mask else 0
    before, after = tuple(ids[:first]), tuple(ids[len(ids) - last :])
    if len(before) != 1:
        raise PackingError(
            f"The tokenizer puts {len(before)} special tokens before a text, and pre-training needs one, [CLS] or <s>, "
            f"whose state is the text's embedding. Choose a BERT-like model, or set the tokenizer's post-processor."
        )
    return before, after


@dataclass(frozen=True)
class WordRule:
    """Where words begin, told by token id alone.

    A token begins a word if its own spelling says so, or if the token before it ended one: WordPiece marks what goes on
    ("##"), SentencePiece ("▁") and byte-level BPE ("Ġ") mark what begins. Punctuation and each token in a script without
    spaces (Chinese, Japanese, Thai ...) are words of their own. A vocabulary without marks: every token is a word.
    """

    begins: Bool  # [V]
    ends: Bool  # [V]: the next token begins a word, whatever it is

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerFast") -> "WordRule":
        """From the vocabulary and kind of a fast tokenizer."""
        names = _spellings(tokenizer)
        kind, mark = _marks(tokenizer)
        if kind == "none":
            everywhere = np.ones(len(names), np.bool_)
            return cls(everywhere, everywhere)
        if kind == "continues":
            begins = np.array([not name.startswith(mark) for name in names], np.bool_)
            plain = [name.removeprefix(mark) for name in names]
        else:
            begins = np.array([name.startswith(mark) for name in names], np.bool_)
            plain = [name.removeprefix(mark) for name in names]
        if mark == _BYTE_SPACE:
            begins |= np.array([name[:1] in "ĊĉčĠ" for name in names], np.bool_)
            plain = [_decoded(name) for name in plain]
        alone = np.array([_stands_alone(name[:1]) for name in plain], np.bool_)
        ends = np.array([_stands_alone(name[-1:]) for name in plain], np.bool_)
        if kind == "continues":
            alone &= begins  # WordPiece cuts at such characters itself, and says where it did not
            ends &= False
        return cls(begins | alone, ends)

    def starts(self, tokens: Ragged) -> Bool:
        """bool [tokens]: which tokens begin a word. The first token of a text always does."""
        ids = tokens.values
        starts: Bool = self.begins[ids]
        starts[1:] |= self.ends[ids[:-1]]
        starts[tokens.offsets[:-1][tokens.lengths > 0]] = True
        return starts


def _spellings(tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    vocabulary: dict[str, int] = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
    names = [""] * (max(vocabulary.values(), default=-1) + 1)
    for name, number in vocabulary.items():
        names[number] = name
    return names


def _marks(tokenizer: "PreTrainedTokenizerFast") -> tuple[str, str]:
    """("continues", "##"), ("begins", "▁"), ("begins", "Ġ") or ("none", "")."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    model = content["model"]
    if prefix := model.get("continuing_subword_prefix"):
        return "continues", prefix
    parts = json.dumps([content.get("pre_tokenizer"), content.get("decoder"), content.get("normalizer")])
    if '"Metaspace"' in parts or json.dumps(_METASPACE) in parts or model["type"] == "Unigram":
        return "begins", _METASPACE
    if '"ByteLevel"' in parts:
        return "begins", _BYTE_SPACE
    return "none", ""


@cache
def _stands_alone(character: str) -> bool:
    """Whether a token that begins or ends with this character begins or ends a word there."""
    if not character:
        return False
    point = ord(character)
    unspaced = bool(((_UNSPACED[:, 0] <= point) & (point <= _UNSPACED[:, 1])).any()) if point >= 0x0E00 else False
    return unspaced or not (character.isalnum() or _is_mark(character))


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or character in "\ufffd\u200c\u200d_"


def _decoded(name: str) -> str:
    """The text that a token of byte-level BPE stands for; U+FFFD where it is a part of a character."""
    return bytes(_BYTES[character] for character in name if character in _BYTES).decode("utf-8", "replace")


def _byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (GPT-2): printable ones themselves, others from
    U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}


_BYTES: Final = _byte_alphabet()

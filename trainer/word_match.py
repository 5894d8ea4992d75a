"""Whether one text holds another as whole words, for many pairs at once.

In:  texts. Out: `Words`, their words in lower case with one space before, between and behind, end to end; and bool arrays.

Letters, digits and marks make words; all else separates them, as in DPR's has_answer and SQuAD's normalisation. In scripts
written without spaces, and in Hangul, which inflects by suffixes, each character is a word, so that any part of a text is held.
"""

import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sources.schema import normalise_text
from trainer.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_CODES: Final = 0x20000  # above are Han characters up to _LAST_HAN, then nothing that is written
_LAST_HAN: Final = 0x3FFFF
_SPACE: Final = 0x20
_BASE: Final = np.uint64(0x100000001B3)  # of the rolling hash; any odd number does
# Thai, Lao; Burmese; jamo; Khmer; kana, bopomofo, Hangul letters; Han; Yi; Hangul; Han
_ALONE: Final = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x318F),
    (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA000, 0xA4CF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF),
)  # fmt: skip


@dataclass(frozen=True)
class Words:
    """The words of n texts: those of text i are the bytes data[bounds[i]:bounds[i + 1]], " like this one "; one space where
    a text has no words."""

    data: Bytes
    bounds: Int64  # [n + 1]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Int64:
        """Bytes of each text, without the spaces around; -1 where it has no words."""
        return np.diff(self.bounds) - 2


def words_of(texts: pa.Array | pa.ChunkedArray) -> Words:
    """The words of (large) strings [n]; null is no text. Texts are composed (NFC) first, where they are not."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    # A copy without what lies around a slice, and with bounds of 32 bits.
    texts = normalise_text(texts.cast(pa.string()).fill_null(""))
    if len(texts) == 0:
        return Words(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    _, starts, data = texts.buffers()
    at = np.frombuffer(starts, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    source = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    lower, alone = _characters()
    bounds = np.zeros(len(texts) + 1, np.int64)
    folded = np.empty(2 * (int(at[-1]) - int(at[0])) + 2 * len(texts), np.uint8)  # no text grows to more
    _fold(source, at, lower, alone, folded, bounds)
    return Words(folded[: bounds[-1]].copy(), bounds)


def holds(whole: Words, whole_rows: Int64, part: Words, part_rows: Int64) -> Bool:
    """bool [m]: whether text whole_rows[i] of `whole` has the words of text part_rows[i] of `part` in it, one after the
    other. A text without words is in none."""
    found = np.zeros(len(whole_rows), np.bool_)
    _search(whole.data, whole.bounds, whole_rows, part.data, part.bounds, part_rows, found)
    return found


@cache
def _characters() -> tuple[npt.NDArray[np.int32], Bool]:
    """For each code its lower case, 0 where it separates words; and whether it is a word by itself."""
    lower, alone = np.zeros(_CODES, np.int32), np.zeros(_CODES, np.bool_)
    for code in range(_CODES):
        character = chr(code)
        if unicodedata.category(character)[0] in "LNM":
            small = character.lower()
            lower[code] = ord(small) if len(small) == 1 else code
    for first, last in _ALONE:
        alone[first : last + 1] = True
    return lower, alone


@compiled
def _fold(data: Bytes, starts: Any, lower: Any, alone: Bool, folded: Bytes, bounds: Int64) -> None:
    """Write the words of each text, and where they end."""
    out = 0
    for text in range(len(starts) - 1):
        at, end = starts[text], starts[text + 1]
        folded[out] = _SPACE
        out += 1
        while at < end:
            code, size = _decoded(data, at)
            at += size
            if code < _CODES:
                small, single = lower[code], alone[code]
            else:
                small, single = (code, True) if code <= _LAST_HAN else (0, False)
            if (small == 0 or single) and folded[out - 1] != _SPACE:
                folded[out] = _SPACE
                out += 1
            if small:
                out += _encode(folded, out, small)
                if single:
                    folded[out] = _SPACE
                    out += 1
        if folded[out - 1] != _SPACE:
            folded[out] = _SPACE
            out += 1
        bounds[text + 1] = out


@compiled
def _decoded(data: Bytes, at: int) -> tuple[np.int64, int]:
    """The character at a byte of UTF-8, and how many bytes it has."""
    first = np.int64(data[at])
    if first < 0x80:
        return first, 1
    if first < 0xE0:
        return (first & 0x1F) << 6 | (data[at + 1] & 0x3F), 2
    rest = np.int64(data[at + 1] & 0x3F) << 6 | (data[at + 2] & 0x3F)
    if first < 0xF0:
        return (first & 0x0F) << 12 | rest, 3
    return (first & 0x07) << 18 | rest << 6 | (data[at + 3] & 0x3F), 4


@compiled
def _encode(folded: Bytes, out: int, code: np.int64) -> int:
    """Write a character as UTF-8; how many bytes it has."""
    if code < 0x80:
        folded[out] = code
        return 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for place in range(size - 1, 0, -1):
        folded[out + place] = 0x80 | (code & 0x3F)
        code >>= 6
    folded[out] = (0xF0 << (4 - size) & 0xFF) | code
    return size


@compiled
def _search(
    whole: Bytes, whole_bounds: Int64, whole_rows: Int64, part: Bytes, part_bounds: Int64, part_rows: Int64, found: Bool
) -> None:
    """Karp and Rabin's search (1987): a rolling hash finds places, the bytes are compared there. Linear, whatever the texts."""
    for pair in range(len(whole_rows)):
        start, end = whole_bounds[whole_rows[pair]], whole_bounds[whole_rows[pair] + 1]
        first, last = part_bounds[part_rows[pair]], part_bounds[part_rows[pair] + 1]
        size = last - first
        if size <= 1 or size > end - start:
            continue
        wanted, hashed, highest = np.uint64(0), np.uint64(0), np.uint64(1)
        for place in range(size):
            wanted = wanted * _BASE + np.uint64(part[first + place])
            hashed = hashed * _BASE + np.uint64(whole[start + place])
            if place:
                highest *= _BASE
        at = start
        while True:
            if hashed == wanted:
                same = 0
                while same < size and whole[at + same] == part[first + same]:
                    same += 1
                if same == size:
                    found[pair] = True
                    break
            if at + size >= end:
                break
            hashed = (hashed - np.uint64(whole[at]) * highest) * _BASE + np.uint64(whole[at + size])
            at += 1

"""Exact duplicates: a key for each text, and what follows from keys alone.

Two texts have one key when they are the same but for case, white space, punctuation and ways of encoding the same
characters. Keys are binary(16); positions are integers that order the rows of a corpus, the smallest being kept.
Everything is vectorised over whole columns; the results do not depend on the order the rows come in, as long as no two
rows of one key share a position.
"""

from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from filters import characters
from filters.text_quality import utf8_buffers

KEY: Final = pa.binary(16)

# Punctuation that carries meaning in short texts: C# is not C, 50 % is not 50, @home is not home.
_MEANINGFUL: Final = "#%&@"


def fold(texts: pa.Array) -> pa.Array:
    """The form of each text that duplicates share: a string array, or large_string where it is too large; null is "".

    NFKD, then simple case folding; each run of white space, control characters and punctuation (Unicode P*, but
    # % & @) becomes one space, or nothing at the ends and beside a letter of a script written without spaces; format
    characters (joiners, variation selectors) go. Symbols (S*: + = < $, emoji) stay. A text of punctuation alone stays
    as NFKD leaves it.
    """
    from filters import loops

    bounds, data = utf8_buffers(_compatible(texts))
    bounds = bounds.astype(np.int64)
    folded_bounds = np.empty(len(bounds), np.int64)
    folded_data = np.empty((bounds[-1] - bounds[0]) * 3 // 2, np.uint8)
    loops.fold_texts(bounds, data, _foldable(), characters.folded_character(), folded_bounds, folded_data)
    used = folded_data[: folded_bounds[-1]]
    if folded_bounds[-1] >= 2**31:
        return pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(folded_bounds), pa.py_buffer(used))
    small_bounds = folded_bounds.astype(np.int32)
    return pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(small_bounds), pa.py_buffer(used))


def dedup_key(texts: pa.Array) -> pa.Array:
    """xxh3-128 of the folded form of each text: binary(16), the same on every machine; nulls are keyed as ""."""
    bounds, data = utf8_buffers(fold(texts))
    view, digest = data.data, xxhash.xxh3_128_digest
    places = bounds.tolist()
    keys = b"".join([digest(view[start:end]) for start, end in pairwise(places)])
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(places) - 1, [None, pa.py_buffer(keys)])


def first_of_each(keys: pa.Array, position: Any) -> NDArray[np.bool_]:
    """Which rows are kept where each key is kept once: the one with the smallest position: bool [rows].

    `position` is an integer array [rows]. Of equal positions the first row is kept.
    """
    first: NDArray[np.bool_] = rank_in_group(keys, position) == 0
    return first


def rank_in_group(keys: pa.Array, position: Any) -> NDArray[np.int32]:
    """Each row's place among the rows of its key by position: int32 [rows], 0 the first.

    `rank_in_group(...) < n` keeps at most n rows of each key.
    """
    high, low = _halves(keys)
    order = np.argsort(high)
    positions = np.asarray(position)
    if len(positions) != len(high):
        raise ValueError(f"There are {len(high)} keys but {len(positions)} positions; give each row one of both.")
    _sort_runs(order, high, low, positions)
    high, low = high[order], low[order]
    starts = np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])][: len(order)]
    places = np.arange(len(order))
    rank = np.empty(len(order), np.int32)
    rank[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    return rank


def in_any_group(keys: pa.Array, other_keys: pa.Array) -> NDArray[np.bool_]:
    """Which keys are among `other_keys`: bool [rows]."""
    found: NDArray[np.bool_] = pc.is_in(_whole(keys), _whole(other_keys)).to_numpy(zero_copy_only=False)
    return found


def _compatible(texts: pa.Array) -> pa.Array:
    """NFKD of the texts; those in ASCII, which it leaves alone, are not looked at.

    Not NFKC, which would do as well: Arrow's (25.0) leaves characters decomposed, and a version that mends it would
    change every key.
    """
    texts = _whole(texts)
    other = pc.invert(pc.fill_null(pc.string_is_ascii(texts), True))
    if not pc.any(other).as_py():
        return texts
    return pc.replace_with_mask(texts, other, pc.utf8_normalize(texts.filter(other), form="NFKD"))


def _whole(column: pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@cache
def _foldable() -> NDArray[np.uint8]:
    """The classes of characters, with SPACE for all that folds to a space."""
    table = characters.class_of_character().copy()
    table[table == characters.BROKEN] = characters.SPACE
    table[[0xFFFD, *range(0xE000, 0xF900)]] = characters.SYMBOL  # they stand for text, if an unknown one
    table[0xF0000:] = characters.SYMBOL
    table[characters.punctuation()] = characters.SPACE
    table[[ord(character) for character in _MEANINGFUL]] = characters.SYMBOL
    return table


def _halves(keys: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    keys = _whole(keys)
    if keys.null_count:
        raise ValueError("A key is null: every row needs one (dedup_key gives none for null texts).")
    data = keys.buffers()[1]
    if len(keys) == 0 or data is None:
        return np.empty(0, np.uint64), np.empty(0, np.uint64)
    pairs = np.frombuffer(data, np.uint64)[2 * keys.offset : 2 * (keys.offset + len(keys))].reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _sort_runs(
    order: NDArray[np.int64], high: NDArray[np.uint64], low: NDArray[np.uint64], positions: NDArray[Any]
) -> None:
    """Brings rows of one high half, adjacent in `order`, into the order of low half, position and row."""
    equal = high[order][1:] == high[order][:-1]
    shared = np.flatnonzero(np.r_[equal, False] | np.r_[False, equal])
    rows = order[shared]
    order[shared] = rows[np.lexsort((rows, positions[rows], low[rows], high[rows]))]

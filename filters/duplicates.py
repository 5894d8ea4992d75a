"""Exact duplicates: a key for each text, and what follows from keys alone.

Two texts have one key when they are the same but for case, white space, punctuation and ways of encoding the same
characters. Keys are binary(16); positions are integers that order the rows of a corpus, the smallest being kept.
Everything is vectorised over whole columns; the results do not depend on the order the rows come in, as long as no two
rows of one key share a position.
"""

from collections.abc import Sequence
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

# Of combined_keys: odd numbers with about as many ones as zeros (Steele and Vigna 2021; splitmix64's step).
_MULTIPLIER: Final = 0xD1342543DE82EF95
_INCREMENT: Final = 0x9E3779B97F4A7C15


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


def combined_keys(*columns: pa.Array) -> pa.Array:
    """A key of several columns, row by row: binary(16). Each is binary(16) or uint64 without nulls; their order counts.

    Two rows of different values have one key with the chance that 128 random bits agree: the columns must be hashes.
    """
    halves = [half for column in columns for half in _words(column)]
    sums = [np.full(len(columns[0]), seed, np.uint64) for seed in (1, 2)]
    for half in halves:
        sums = [_mixed(value * np.uint64(_MULTIPLIER) + half + np.uint64(_INCREMENT)) for value in sums]
    return keys_of_halves(*sums)


def key_halves(keys: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The first and last eight bytes of binary(16) keys as numbers that sort as the bytes do: uint64 [rows] each."""
    high, low = _halves(keys)
    return high.byteswap(), low.byteswap()


def keys_of_halves(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> pa.Array:
    """binary(16) keys from what key_halves gives."""
    raw = np.empty((len(high), 2), ">u8")
    raw[:, 0], raw[:, 1] = high, low
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(high), [None, pa.py_buffer(raw)])


def order_of_keys(high: NDArray[np.uint64], low: NDArray[np.uint64], *then: Any) -> NDArray[np.int64]:
    """The rows in the order of their keys (as key_halves gives them), and rows of one key in that of `then`: int64 [rows]."""
    order = np.argsort(high)
    _sort_runs(order, high, low, then)
    return order


def first_of_each(keys: pa.Array, *order: Any) -> NDArray[np.bool_]:
    """Which rows are kept where each key is kept once: the one that comes first in `order`: bool [rows].

    `order` is as in rank_in_group. Of rows equal in it the first is kept.
    """
    first: NDArray[np.bool_] = rank_in_group(keys, *order) == 0
    return first


def rank_in_group(keys: pa.Array, *order: Any) -> NDArray[np.int32]:
    """Each row's place among the rows of its key: int32 [rows], 0 the first.

    `order` is one array of numbers [rows] or several, smaller ones first; rows equal in one go by the next.
    `rank_in_group(...) < n` keeps at most n rows of each key.
    """
    high, low = _halves(keys)
    columns = [np.asarray(column) for column in order]
    for column in columns:
        if len(column) != len(high):
            raise ValueError(f"There are {len(high)} keys but {len(column)} positions; give each row one of both.")
    sorted_rows = order_of_keys(high, low, *columns)
    high, low = high[sorted_rows], low[sorted_rows]
    starts = np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])][: len(sorted_rows)]
    places = np.arange(len(sorted_rows))
    rank = np.empty(len(sorted_rows), np.int32)
    rank[sorted_rows] = places - np.maximum.accumulate(np.where(starts, places, 0))
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


def _words(column: pa.Array) -> tuple[NDArray[np.uint64], ...]:
    return (column.to_numpy(),) if pa.types.is_uint64(column.type) else key_halves(column)


def _mixed(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _sort_runs(
    order: NDArray[np.int64], high: NDArray[np.uint64], low: NDArray[np.uint64], then: Sequence[Any]
) -> None:
    """Brings rows of one high half, adjacent in `order`, into the order of low half, then `then`, then row."""
    equal = high[order][1:] == high[order][:-1]
    shared = np.flatnonzero(np.r_[equal, False] | np.r_[False, equal])
    rows = order[shared]
    columns = [np.asarray(column)[rows] for column in reversed(then)]
    order[shared] = rows[np.lexsort((rows, *columns, low[rows], high[rows]))]

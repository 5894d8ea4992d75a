"""Measures of a text that need no model: one pass over its UTF-8 bytes counts them all.

`measure_text` gives one side of the pairs (TEXT_MEASURES), `measure_likeness` the two sides against each other
(LIKENESS_MEASURES). The measures are those of Gopher (Rae et al. 2021, appendix A1.1), C4 and OpusFilter as far as they
mean something for texts of three words in any script; thresholds are set in filters.decide.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters import characters

TEXT_MEASURES: Final = pa.schema(
    [
        pa.field("characters", pa.int32(), nullable=False),  # code points, white space included
        pa.field("words", pa.int32(), nullable=False),
        pa.field("letters", pa.int32(), nullable=False),  # a Han or kana letter counts LETTERS_PER_CJK
        pa.field("length", pa.int32(), nullable=False),  # characters, a Han or kana letter counts LETTERS_PER_CJK
        pa.field("letter_share", pa.float32(), nullable=False),  # of the visible characters, as all shares but white's
        pa.field("digit_share", pa.float32(), nullable=False),
        pa.field("symbol_share", pa.float32(), nullable=False),  # punctuation, symbols, emoji
        pa.field("upper_share", pa.float32(), nullable=False),  # of the letters
        pa.field("cjk_share", pa.float32(), nullable=False),
        pa.field("url_share", pa.float32(), nullable=False),  # characters that belong to a web address
        pa.field("white_share", pa.float32(), nullable=False),  # of all characters
        pa.field("broken_share", pa.float32(), nullable=False),  # U+FFFD, control and private-use, of all characters
        pa.field("longest_run", pa.int32(), nullable=False),  # of one visible character
        pa.field("longest_word", pa.int32(), nullable=False),  # in characters, web addresses apart
    ]
)

LIKENESS_MEASURES: Final = pa.schema(
    [
        pa.field("length_ratio", pa.float32(), nullable=False),
        pa.field("copied_share", pa.float32(), nullable=False),
    ]
)

# One Han or kana character says about what three Latin letters say: NTREX-128's English has 2.9 times the characters of
# its Chinese translation and 2.2 times those of its Japanese one.
LETTERS_PER_CJK: Final = 3
# Added to both lengths before they are divided, so that "OK" -> "Aceptar" is no mismatch.
LENGTH_ALLOWANCE: Final = 10


def measure_text(texts: pa.Array) -> pa.RecordBatch:
    """TEXT_MEASURES of a string array, row by row; a null is measured as the empty text, whose shares are 0.

    A word is a run without white space that holds a letter or digit; in scripts written without spaces (Han, kana,
    Thai, Lao, Khmer, Burmese) every letter is a word.
    """
    counts = _count(texts)
    # In the order of filters.characters' classes, then of filters.loops' counters.
    _, upper, letter, mark, digit, symbol, space, broken, cjk, unspaced, words, url, longest_run, longest_word = counts
    total = counts[: characters.CLASSES].sum(axis=0)
    letters = upper + letter + cjk + unspaced
    visible = total - space
    more_per_cjk = (LETTERS_PER_CJK - 1) * cjk
    columns = {
        "characters": total,
        "words": words,
        "letters": letters + more_per_cjk,
        "length": total + more_per_cjk,
        "letter_share": _share(letters + mark, visible),
        "digit_share": _share(digit, visible),
        "symbol_share": _share(symbol, visible),
        "upper_share": _share(upper, letters),
        "cjk_share": _share(cjk, visible),
        "url_share": _share(url, visible),
        "white_share": _share(space, total),
        "broken_share": _share(broken, total),
        "longest_run": longest_run,
        "longest_word": longest_word,
    }
    arrays = [pa.array(columns[field.name].astype(field.type.to_pandas_dtype())) for field in TEXT_MEASURES]
    return pa.RecordBatch.from_arrays(arrays, schema=TEXT_MEASURES)


def measure_likeness(
    query: pa.Array, positive: pa.Array, query_measures: pa.RecordBatch, positive_measures: pa.RecordBatch
) -> pa.RecordBatch:
    """LIKENESS_MEASURES of the pairs of two string arrays of one length, whose TEXT_MEASURES are given.

    `length_ratio` is the longer side's length over the shorter's, at least 1, with LENGTH_ALLOWANCE added to both.
    `copied_share` is the query's share of the positive where the positive starts with it, case aside, and 0 where it
    does not: 1 is a copy.
    """
    lengths = np.stack([measures["length"].to_numpy() for measures in (query_measures, positive_measures)])
    ratio = (lengths.max(axis=0) + LENGTH_ALLOWANCE) / (lengths.min(axis=0) + LENGTH_ALLOWANCE)
    query_characters, positive_characters = (
        measures["characters"].to_numpy() for measures in (query_measures, positive_measures)
    )
    starts = _starts_with(positive, query)
    copied = np.where(starts, np.minimum(_share(query_characters, positive_characters), 1), np.float32(0))
    return pa.RecordBatch.from_arrays([pa.array(ratio, pa.float32()), pa.array(copied)], schema=LIKENESS_MEASURES)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float32]:
    share: NDArray[np.float32] = (part / np.maximum(whole, 1)).astype(np.float32)
    return share


def utf8_buffers(texts: pa.Array) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The bounds (int32 or int64 [rows + 1]) and bytes of a (large) string array without copying; nulls are empty."""
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if texts.null_count:
        texts = texts.fill_null("")
    if len(texts) == 0:
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    _, bounds, data = texts.buffers()
    kind = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    bounds = np.frombuffer(bounds, kind)[texts.offset : texts.offset + len(texts) + 1]
    return bounds, np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


def _count(texts: pa.Array) -> NDArray[np.int32]:
    from filters import loops

    bounds, data = utf8_buffers(texts)
    counts = np.zeros((len(bounds) - 1, loops.COUNTERS), np.int32)
    loops.count_characters(bounds, data, characters.class_of_character(), counts)
    return counts.T


def _starts_with(texts: pa.Array, starts: pa.Array) -> NDArray[np.bool_]:
    from filters import loops

    folded = characters.folded_character()
    result: NDArray[np.bool_] = loops.compare_starts(*utf8_buffers(texts), *utf8_buffers(starts), folded)
    return result

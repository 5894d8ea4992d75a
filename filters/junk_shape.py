"""Three measures of how a text is put together, for menus and lists that are written without any sign between the items.

Titles one after the other have no ends of sentences, and in scripts without spaces they have spaces.
"""

from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.text_quality import utf8_buffers
from filters.word_order import character_tables

SHAPE_MEASURES: Final = pa.schema(
    [
        pa.field("sentence_end_words", pa.float32(), nullable=False),  # words for each end of a sentence
        pa.field("sentence_capitals", pa.float32(), nullable=False),  # capitalised words within, for each end
        pa.field("letter_gap_share", pa.float32(), nullable=False),  # of the letters of scripts without spaces
    ]
)


def measure_shape(texts: pa.Array) -> pa.RecordBatch:
    """SHAPE_MEASURES of a string array, row by row; all 0 of a text without words.

    `sentence_end_words`: words over ends of sentences, half an end where there is none. An end is a full stop, question
    or exclamation mark of any script after a word of two letters or more, or after the signs that close one ("B.5." and
    "4." are none). A word is a run with a letter or digit; where no spaces are written, a letter, as in
    filters.text_quality.

    `sentence_capitals`: words that begin with a capital, but for the first of a sentence, over ends of sentences as
    above. A sentence of text has one or two names (five nouns in German), a menu a dozen titles.

    `letter_gap_share`: of the letters of scripts written without spaces, those after which white space and another such
    letter follow, be it after a sign with spaces around it. Text has nearly none, spaces there stand beside foreign words and numbers.
    """
    from filters import junk_shape_loops

    bounds, data = utf8_buffers(texts)
    class_of, _, sign_of = character_tables()
    counts = np.zeros((len(bounds) - 1, junk_shape_loops.COUNTERS), np.int32)
    junk_shape_loops.count_shapes(bounds, data, class_of, sign_of, counts)
    words, ends, unspaced, gaps, capitals = counts.T
    ends = np.maximum(ends, 0.5)
    columns = [_over(words, ends), _over(capitals, ends), _over(gaps, np.maximum(unspaced, 1))]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=SHAPE_MEASURES)


def _over(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float32]:
    return (part / whole).astype(np.float32)  # type: ignore[no-any-return]

"""The compiled loop of filters.junk_shape."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.characters import CJK, DIGIT, IGNORED, MARK, SPACE, UPPER
from filters.loops import compiled, decode
from filters.word_order_loops import SIGN_CLOSING, SIGN_ENDING, SIGN_OPENING

WORDS, ENDS, UNSPACED, GAPS, CAPITALS = range(5)
COUNTERS: Final = 5


@compiled
def count_shapes(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    class_of: NDArray[np.uint8],
    sign_of: NDArray[np.uint8],
    counts: NDArray[np.int32],
) -> None:
    """Fills counts (int32 [rows, COUNTERS], zeroed)."""
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        counted = counts[row]
        letters = 0  # of the run of letters that the place before belongs to or ends
        in_word = False
        closes = False  # only signs of ends and of closing since the last letter, an end among them
        after_unspaced = gap = False
        starts = True  # nothing stands before since the text's beginning or a sentence's end
        while at < end:
            character, size = decode(data, at, end)
            at += size
            kind = class_of[character]
            if kind == SPACE:
                counted[ENDS] += closes
                starts = starts or closes
                letters = 0
                in_word = closes = False
                gap = after_unspaced
            elif kind >= CJK:
                counted[ENDS] += closes
                counted[WORDS] += 1
                counted[UNSPACED] += 1
                counted[GAPS] += gap
                letters = 2  # such a letter may be a whole word
                in_word = closes = gap = starts = False
                after_unspaced = True
            elif UPPER <= kind <= DIGIT:
                counted[WORDS] += not in_word and kind != MARK
                counted[CAPITALS] += not in_word and kind == UPPER and not starts
                starts = False
                letters = 0 if kind == DIGIT or closes else letters + 1
                in_word = True
                closes = gap = False
                after_unspaced = after_unspaced and kind == MARK
            elif kind != IGNORED:
                sign = sign_of[character]
                if sign == SIGN_ENDING:
                    closes = closes or letters >= 2
                elif sign != SIGN_CLOSING and character != 34:  # the straight quote both opens and closes
                    closes = False
                # A sign with spaces around it parts letters as they do, one that touches a letter or opens does not.
                gap = gap and sign != SIGN_OPENING
                after_unspaced = gap
        counted[ENDS] += closes

"""The byte loop that finds where the elements of a JSON array end, compiled by numba: imported where it is called."""

import numba
import numpy as np
import numpy.typing as npt

DEPTH, IN_TEXT, ESCAPED = range(3)  # of the state that goes from one chunk to the next

_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)


@numba.njit(cache=True, nogil=True)
def find_cuts(
    chunk: npt.NDArray[np.uint8],
    words: npt.NDArray[np.uint64],
    level: int,
    state: npt.NDArray[np.int64],
    cuts: npt.NDArray[np.int32],
    ends: npt.NDArray[np.bool_],
) -> int:
    """The number of commas and brackets that bound elements at `level`: their places go into `cuts`.

    `ends` says which of them end an element. `words` are the whole words of eight bytes of `chunk`; `state` (int64 [3]) is that
    of the chunk before and becomes that of this one. `cuts` and `ends` are as long as the chunk.
    """
    depth, in_text, escaped = int(state[DEPTH]), state[IN_TEXT] != 0, state[ESCAPED] != 0
    found = 0
    at = 0
    while at < len(chunk):
        if in_text and not escaped and at & 7 == 0:
            at = _end_of_text_words(words, at)
            if at == len(chunk):
                break
        byte = chunk[at]
        after_backslash, escaped = escaped, False
        if byte == 0x5C:  # \
            escaped = not after_backslash
        elif byte == 0x22:  # "
            in_text = in_text == after_backslash
        elif in_text:
            pass
        elif byte == 0x2C:  # ,
            if depth == level:
                cuts[found], ends[found] = at, True
                found += 1
        elif byte in (0x5B, 0x7B):  # [ {
            depth += 1
            if depth == level:
                cuts[found], ends[found] = at, False
                found += 1
        elif byte in (0x5D, 0x7D):  # ] }
            depth -= 1
            if depth == level - 1:
                cuts[found], ends[found] = at, True
                found += 1
        at += 1
    state[DEPTH], state[IN_TEXT], state[ESCAPED] = depth, in_text, escaped
    return found


@numba.njit(cache=True, nogil=True)
def _end_of_text_words(words: npt.NDArray[np.uint64], at: int) -> int:
    """Where the whole words from `at` on end that hold neither a quote nor a backslash."""
    place = at >> 3
    while place < len(words):
        quotes, backslashes = words[place] ^ _QUOTES, words[place] ^ _BACKSLASHES  # a byte of zero where there is one
        if ((quotes - _ONES) & ~quotes | (backslashes - _ONES) & ~backslashes) & _HIGH:
            break
        place += 1
    return place << 3

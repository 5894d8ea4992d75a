"""The byte loops of this folder, compiled by numba.

Importing this module costs half a second, and the first call of a loop another one or two where no compiled code is
cached: it is imported where a loop is needed, never at the top of a module. Compiled code is kept beside the source,
else in the user's cache folder or the one NUMBA_CACHE_DIR names.

Texts come as Arrow holds them: `bounds` (int32 or int64 [rows + 1]) into `data` (uint8). Bytes that are not UTF-8 give
wrong characters, never a read outside the text.
"""

from collections.abc import Callable
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

from filters.characters import CJK, CLASSES, DIGIT, IGNORED, MARK, SPACE, UPPER

# What count_characters counts of a text besides the characters of each class.
WORDS, URL, LONGEST_RUN, LONGEST_WORD = range(CLASSES, CLASSES + 4)
COUNTERS: Final = CLASSES + 4


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """numba's machine code for a function, from its cache where there is one; runs without Python's lock."""
    try:
        fast: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no writable folder for a cache: every process compiles for itself
        fast = numba.njit(nogil=True)(function)
    return fast


@compiled
def decode(data: NDArray[np.uint8], at: int, end: int) -> Any:
    """The character that starts at byte `at` (int64), and its length in bytes; U+FFFD where the text ends within it."""
    first = np.int64(data[at])
    size = 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if at + size > end:
        return np.int64(0xFFFD), end - at
    if size == 1:
        return first, size
    last = np.int64(data[at + size - 1] & 0x3F)
    if size == 2:
        return (first & 0x1F) << 6 | last, size
    second = np.int64(data[at + 1] & 0x3F)
    if size == 3:
        return (first & 0x0F) << 12 | second << 6 | last, size
    third = np.int64(data[at + 2] & 0x3F)
    return min((first & 0x07) << 18 | second << 12 | third << 6 | last, 0x10FFFF), size


@compiled
def encode(character: int, data: NDArray[np.uint8], at: int) -> int:
    """Writes a character as UTF-8 at byte `at`; the byte after it."""
    if character < 0x80:
        data[at] = character
        return at + 1
    if character < 0x800:
        data[at] = 0xC0 | character >> 6
        data[at + 1] = 0x80 | character & 0x3F
        return at + 2
    if character < 0x10000:
        data[at] = 0xE0 | character >> 12
        data[at + 1] = 0x80 | character >> 6 & 0x3F
        data[at + 2] = 0x80 | character & 0x3F
        return at + 3
    data[at] = 0xF0 | character >> 18
    data[at + 1] = 0x80 | character >> 12 & 0x3F
    data[at + 2] = 0x80 | character >> 6 & 0x3F
    data[at + 3] = 0x80 | character & 0x3F
    return at + 4


@compiled
def starts_url(data: NDArray[np.uint8], at: int, end: int) -> bool:
    """Whether `http://`, `https://` or `www.` starts at byte `at`."""
    if data[at] == 119:
        return at + 4 <= end and data[at + 1] == 119 and data[at + 2] == 119 and data[at + 3] == 46
    if data[at] != 104 or at + 7 > end or data[at + 1] != 116 or data[at + 2] != 116 or data[at + 3] != 112:
        return False
    colon = at + 5 if data[at + 4] == 115 else at + 4
    return colon + 3 <= end and data[colon] == 58 and data[colon + 1] == 47 and data[colon + 2] == 47


@compiled
def count_characters(
    bounds: NDArray[Any], data: NDArray[np.uint8], class_of: NDArray[np.uint8], counts: NDArray[np.int32]
) -> None:
    """Fills counts (int32 [rows, COUNTERS], zeroed) by the table `class_of` (filters.characters)."""
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        counted = counts[row]
        words = url = run = longest_run = word = longest_word = 0
        previous = -1
        in_word = in_url = False
        while at < end:
            character, size = decode(data, at, end)
            kind = class_of[character]
            counted[kind] += 1
            if kind == SPACE:
                previous = -1
                word = 0
                in_word = in_url = False
                at += size
                continue
            run = run + 1 if character == previous else 1
            previous = character
            longest_run = max(longest_run, run)
            if kind >= CJK:  # in scripts without spaces every letter is a word
                words += 1
                word = 0
                in_word = in_url = False
                at += size
                continue
            in_url = size == 1 and (in_url or starts_url(data, at, end))
            if in_url:
                url += 1
            else:
                word += 1
                longest_word = max(longest_word, word)
            if not in_word and UPPER <= kind <= DIGIT:
                words += 1
                in_word = True
            at += size
        counted[WORDS] = words
        counted[URL] = url
        counted[LONGEST_RUN] = longest_run
        counted[LONGEST_WORD] = longest_word


@compiled
def count_classes(
    bounds: NDArray[Any], data: NDArray[np.uint8], class_of: NDArray[np.uint8], counts: NDArray[np.int32]
) -> None:
    """Fills counts (int32 [rows, classes], zeroed): the characters of each class of the table `class_of`."""
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        while at < end:
            character, size = decode(data, at, end)
            counts[row, class_of[character]] += 1
            at += size


@compiled
def compare_starts(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    start_bounds: NDArray[Any],
    start_data: NDArray[np.uint8],
    folded: NDArray[np.uint32],
) -> NDArray[np.bool_]:
    """Whether each text starts with the other text of its row, case folded by the table: bool [rows]."""
    result = np.empty(len(bounds) - 1, np.bool_)
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        start_at, start_end = start_bounds[row], start_bounds[row + 1]
        equal = True
        while equal and start_at < start_end:
            equal = at < end
            if equal:
                character, size = decode(data, at, end)
                other, other_size = decode(start_data, start_at, start_end)
                at += size
                start_at += other_size
                equal = character == other or fold_character(character, folded) == fold_character(other, folded)
        result[row] = equal
    return result


@compiled
def fold_character(character: int, folded: NDArray[np.uint32]) -> int:
    """The character in simple case folding; those beyond the table have no case."""
    return np.int64(folded[character]) if character < len(folded) else character  # type: ignore[return-value]


@compiled
def fold_texts(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    class_of: NDArray[np.uint8],
    folded: NDArray[np.uint32],
    folded_bounds: NDArray[np.int64],
    folded_data: NDArray[np.uint8],
) -> None:
    """Writes the folded form of each text (see filters.duplicates.fold) and its bounds (int64 [rows + 1]).

    `class_of` says SPACE of all that folds to a space. folded_data must hold 3/2 of the texts' bytes: folding makes
    two bytes three at worst.
    """
    to = 0
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        start = to
        folded_bounds[row] = to
        space = False
        last = SPACE  # nothing to keep apart from at the start
        while at < end:
            character, size = decode(data, at, end)
            at += size
            kind = class_of[character]
            if kind == SPACE:
                space = True
            elif kind != IGNORED:
                if space and to > start and last < CJK and kind < CJK:
                    folded_data[to] = 32
                    to += 1
                space = False
                if kind != MARK:
                    last = kind
                to = encode(fold_character(character, folded), folded_data, to)
        if to == start:  # only punctuation: the text stands for itself
            for byte in range(bounds[row], end):
                folded_data[to] = data[byte]
                to += 1
    folded_bounds[len(bounds) - 1] = to

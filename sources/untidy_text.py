"""Which texts need tidying, and tidying them: passes over the bytes of an Arrow array, compiled."""

import numba
import numpy as np
import numpy.typing as npt

UNTIDY = 1  # holds a character to remove or a white space to change, or plain spaces at an end or side by side
REMOVED = 4  # of a character: it is left out of tidy texts; UNTIDY too
STRANGE = 2  # holds a character that is not known to be plain
CODES = 1 << 16  # characters beyond are strange

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

# Eight bytes at once: a number in each of the eight bytes of a word.
_HIGH = np.uint64(0x8080808080808080)
_TO_HIGH_FROM_SPACE = np.uint64(0x6060606060606060)  # added to a byte below 0x80, it reaches 0x80 from 0x20 on
_DELETE = np.uint64(0x7F7F7F7F7F7F7F7F)
_SPACES = np.uint64(0x2020202020202020)
_FIRST = np.uint64(0x80)
_BYTE = np.uint64(8)
_LAST = np.uint64(63)


def words_of(data: Bytes) -> Words:
    """The bytes as whole words of eight; what is left at the end is in none."""
    return data[: len(data) // 8 * 8].view(np.uint64)


@numba.njit(cache=True, nogil=True)
def _end_of_plain(words: Words, at: int, end: int, after_space: bool) -> int:
    """Where a run of whole words ends that hold only ASCII letters, marks and single spaces; `at` starts a word."""
    while at + 8 <= end:
        word = words[at >> 3]
        spaces = ~((word ^ _SPACES) + _DELETE) & _HIGH  # the high bit of each byte that is a space, where all are ASCII
        fault = (
            word | ~(word + _TO_HIGH_FROM_SPACE) | ~((word ^ _DELETE) + _DELETE)
        ) & _HIGH | spaces & spaces << _BYTE
        if after_space:
            fault |= spaces & _FIRST
        if fault:
            break
        after_space = spaces >> _LAST != 0
        at += 8
    return at


@numba.njit(cache=True, nogil=True)
def _character(data: Bytes, at: int, size: int) -> int:
    """The character of two or three bytes."""
    second = int(data[at + 1]) & 0x3F
    if size == 2:
        return (int(data[at]) & 0x1F) << 6 | second
    return (int(data[at]) & 0x0F) << 12 | second << 6 | (int(data[at + 2]) & 0x3F)


@numba.njit(cache=True, nogil=True)
def classify_texts(bounds: npt.NDArray[np.int32], data: Bytes, words: Words, classes: Bytes, flags: Bytes) -> None:
    """Sets flags[i] to UNTIDY | STRANGE of text i, valid UTF-8 in data[bounds[i]:bounds[i + 1]].

    `classes` gives UNTIDY or STRANGE or 0 for each of the first CODES characters; the plain space is 0. `words` are those
    of data.
    """
    for row in range(len(bounds) - 1):
        at, end = int(bounds[row]), int(bounds[row + 1])
        flag = 0
        after_space = True
        if at == end:
            flags[row] = flag
            continue
        while at < end:
            if at & 7 == 0:
                plain = _end_of_plain(words, at, end, after_space)
                if plain > at:
                    after_space = data[plain - 1] == 0x20
                    at = plain
                    continue
            byte = int(data[at])
            if 0x20 < byte < 0x7F:  # plain whatever `classes` says
                after_space = False
                at += 1
                continue
            if byte < 0x80:
                flag |= int(classes[byte])
                if byte == 0x20 and after_space:
                    flag |= UNTIDY
                after_space = byte == 0x20
                at += 1
                continue
            after_space = False
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            flag |= int(classes[_character(data, at, size)]) if size < 4 else STRANGE
            at += size
        if after_space:
            flag |= UNTIDY
        flags[row] = flag


@numba.njit(cache=True, nogil=True)
def tidy_texts(
    bounds: npt.NDArray[np.int32],
    data: Bytes,
    words: Words,
    classes: Bytes,
    flags: Bytes,
    tidy_bounds: npt.NDArray[np.int32],
    tidy: Bytes,
) -> None:
    """Writes the texts; those that are UNTIDY without REMOVED characters, each run of white space as one space, none at the ends.

    White space is what is UNTIDY and not REMOVED, and the plain space. `tidy` is as long as the texts: none grows.
    """
    used = 0
    tidy_bounds[0] = 0
    for row in range(len(bounds) - 1):
        at, end = int(bounds[row]), int(bounds[row + 1])
        if not flags[row] & UNTIDY:
            tidy[used : used + end - at] = data[at:end]
            used += end - at
            tidy_bounds[row + 1] = used
            continue
        start = used
        waiting = False  # a space, if more text follows
        while at < end:
            byte = int(data[at])
            if 0x20 < byte < 0x7F:  # plain whatever `classes` says
                if waiting:
                    tidy[used] = 0x20
                    used += 1
                    waiting = False
                plain = _end_of_plain(words, at, end, False) if at & 7 == 0 else at
                if plain == at:
                    tidy[used] = byte
                    used += 1
                    at += 1
                    continue
                waiting = data[plain - 1] == 0x20  # that space is written if more text follows
                length = plain - int(waiting) - at
                tidy[used : used + length] = data[at : at + length]
                used += length
                at = plain
                continue
            size = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            kind = int(classes[byte if size == 1 else _character(data, at, size)]) if size < 4 else 0
            if kind & REMOVED:
                at += size
                continue
            if kind & UNTIDY or byte == 0x20:
                waiting = used > start
                at += size
                continue
            if waiting:
                tidy[used] = 0x20
                used += 1
                waiting = False
            for place in range(size):
                tidy[used + place] = data[at + place]
            used += size
            at += size
        tidy_bounds[row + 1] = used

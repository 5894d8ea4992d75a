"""Which texts need tidying, and tidying them: passes over the bytes of an Arrow array, compiled."""

import numba
import numpy as np
import numpy.typing as npt

UNTIDY = 1  # holds a character to remove or a white space to change, or plain spaces at an end or side by side
REMOVED = 4  # of a character: it is left out of tidy texts; UNTIDY too
STRANGE = 2  # holds a character that is not known to be plain
CODES = 1 << 16  # characters beyond are strange

Bytes = npt.NDArray[np.uint8]


@numba.njit(cache=True, nogil=True)
def classify_texts(bounds: npt.NDArray[np.int32], data: Bytes, classes: Bytes, flags: Bytes) -> None:
    """Sets flags[i] to UNTIDY | STRANGE of text i, valid UTF-8 in data[bounds[i]:bounds[i + 1]].

    `classes` gives UNTIDY or STRANGE or 0 for each of the first CODES characters; the plain space is 0.
    """
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        flag = 0
        after_space = True
        if at == end:
            flags[row] = flag
            continue
        while at < end:
            byte = int(data[at])
            if 0x20 < byte < 0x7F:  # most bytes: plain whatever `classes` says
                after_space = False
                at += 1
                continue
            if byte < 0x80:
                flag |= int(classes[byte])
                if byte == 0x20:
                    if after_space:
                        flag |= UNTIDY
                    after_space = True
                else:
                    after_space = False
                at += 1
                continue
            after_space = False
            if byte < 0xE0:
                code = (byte & 0x1F) << 6 | (int(data[at + 1]) & 0x3F)
                at += 2
            elif byte < 0xF0:
                code = (byte & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6 | (int(data[at + 2]) & 0x3F)
                at += 3
            else:
                flag |= STRANGE
                at += 4
                continue
            flag |= int(classes[code])
        if after_space:
            flag |= UNTIDY
        flags[row] = flag


@numba.njit(cache=True, nogil=True)
def tidy_texts(
    bounds: npt.NDArray[np.int32], data: Bytes, classes: Bytes, tidy_bounds: npt.NDArray[np.int32], tidy: Bytes
) -> None:
    """Writes the texts without REMOVED characters, each run of white space as one space, none at the ends.

    White space is what is UNTIDY and not REMOVED, and the plain space. `tidy` is as long as the texts: none grows.
    """
    used = 0
    tidy_bounds[0] = 0
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        start = used
        waiting = False  # a space, if more text follows
        while at < end:
            byte = int(data[at])
            if 0x20 < byte < 0x7F:  # most bytes: plain whatever `classes` says
                if waiting:
                    tidy[used] = 0x20
                    used += 1
                    waiting = False
                tidy[used] = byte
                used += 1
                at += 1
                continue
            size = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            code = byte
            if size == 2:
                code = (byte & 0x1F) << 6 | (int(data[at + 1]) & 0x3F)
            elif size == 3:
                code = (byte & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6 | (int(data[at + 2]) & 0x3F)
            kind = int(classes[code]) if size < 4 else 0
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

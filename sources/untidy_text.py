"""Which texts need tidying: one pass over the bytes of an Arrow array, compiled."""

import numba
import numpy as np
import numpy.typing as npt

UNTIDY = 1  # holds a character to remove or a white space to change, or plain spaces at an end or side by side
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

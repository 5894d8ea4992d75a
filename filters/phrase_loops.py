"""The loops that find phrases in texts, compiled by numba; imported where needed (see filters.loops).

A phrase is a row of tokens. Each of its beginnings is known by a key of 64 bits made from the key of the beginning one
token shorter and the token's hash, so that a trie is no more than a hash table from keys to what they end.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled, decode
from filters.shingle_loops import mix
from filters.shingles import CJK, CODE_POINT, MARK, SPACE, SYMBOL, UNSPACED

Codes = NDArray[np.uint32]  # entries of the folding table (filters.shingles)
Keys = NDArray[np.uint64]
Flags = NDArray[np.uint8]

# What a key of the table stands for; a free place holds 0.
BEGINNING: Final = 1
WHOLE: Final = 2  # a phrase ends here
OPEN: Final = 4  # a phrase ends here, and whatever follows belongs to it

FIRST_TOKENS: Final = 1 << 16  # size of the table that tells apart tokens that no phrase starts with
TRAILING_NUMBERS: Final = 2  # after a whole phrase: "Untitled 2", "Page 1/5"

_SEED: Final = 0xCBF29CE484222325  # FNV-1a
_FACTOR: Final = 0x100000001B3
_ALONE: Final = CJK | UNSPACED | SYMBOL


@compiled
def next_token(data: NDArray[np.uint8], at: int, end: int, folding: Codes) -> Any:
    """The next token from byte `at` on: its hash, its characters (0: there is none), the byte after it.

    A word without marks of punctuation, or one character of a script without spaces, or one symbol.
    """
    token = np.uint64(_SEED)
    size = 0
    while at < end:
        byte = data[at]
        step = 1
        if byte < 0x80:
            code = folding[byte]
        else:
            character, step = decode(data, at, end)
            code = folding[character]
        if code == SPACE:
            if size > 0:
                break
        elif code != 0:
            alone = (code & _ALONE) != 0 or ((code & MARK) != 0 and size == 0)
            if alone and size > 0:
                break
            token = (token ^ np.uint64(code & CODE_POINT)) * np.uint64(_FACTOR)
            size += 1
            if alone:
                return token, size, at + step
        at += step
    return token, size, at


@compiled
def first_place(token: Any) -> Any:
    """Where a phrase's first token is marked."""
    return (token ^ (token >> np.uint64(29))) & np.uint64(FIRST_TOKENS - 1)


@compiled
def look_up(key: Any, keys: Keys, flags: Flags) -> int:
    """The flags of a key, 0 where it is not in the table."""
    mask = np.uint64(len(keys) - 1)
    place = key & mask
    while flags[place] != 0:
        if keys[place] == key:
            return int(flags[place])
        place = (place + np.uint64(1)) & mask
    return 0


@compiled
def add_phrases(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    is_open: NDArray[np.bool_],
    folding: Codes,
    keys: Keys,
    flags: Flags,
    starts: NDArray[np.bool_],
) -> int:
    """Enters the phrases into a table with room for all their tokens; the first row without a token, or -1."""
    mask = np.uint64(len(keys) - 1)
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        key = np.uint64(0)
        token, size, at = next_token(data, at, end, folding)
        if size == 0:
            return row
        starts[first_place(token)] = True
        place = np.uint64(0)
        while size > 0:
            key = mix(key ^ token)
            place = key & mask
            while flags[place] != 0 and keys[place] != key:
                place = (place + np.uint64(1)) & mask
            keys[place] = key
            flags[place] |= BEGINNING
            token, size, at = next_token(data, at, end, folding)
        flags[place] |= OPEN if is_open[row] else WHOLE
    return -1


@compiled
def find_phrases(
    bounds: NDArray[Any],
    data: NDArray[np.uint8],
    folding: Codes,
    keys: Keys,
    flags: Flags,
    starts: NDArray[np.bool_],
    counts: NDArray[np.int32],
) -> None:
    """Fills counts (int32 [rows, 3]): phrases found, their characters, all characters; white space and punctuation apart.

    At each token the longest phrase that starts there is taken, and the search goes on behind it.
    """
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        matches = covered = total = 0
        while True:
            token, size, at = next_token(data, at, end, folding)
            if size == 0:
                break
            total += size
            if not starts[first_place(token)]:
                continue
            longest, reached = longest_phrase(token, size, data, at, end, folding, keys, flags)
            if longest > 0:
                matches += 1
                covered += longest
                total += longest - size
                at = reached
        counts[row, 0] = matches
        counts[row, 1] = covered
        counts[row, 2] = total


@compiled
def longest_phrase(
    token: Any, size: int, data: NDArray[np.uint8], at: int, end: int, folding: Codes, keys: Keys, flags: Flags
) -> Any:
    """Characters of the longest phrase that starts with a token (0: none) and the byte after it; `at` is after the token."""
    longest, reached, characters = 0, at, 0
    key = np.uint64(0)
    while size > 0:
        characters += size
        key = mix(key ^ token)
        flag = look_up(key, keys, flags)
        if flag == 0:
            break
        if flag & (WHOLE | OPEN):
            longest, reached = characters, at
        token, size, at = next_token(data, at, end, folding)
    return longest, reached


@compiled
def find_whole_texts(
    bounds: NDArray[Any], data: NDArray[np.uint8], folding: Codes, keys: Keys, flags: Flags
) -> NDArray[np.bool_]:
    """Whether each text is one phrase, numbers after it apart, or starts with an open one: bool [rows]."""
    result = np.zeros(len(bounds) - 1, np.bool_)
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        key = np.uint64(0)
        flag = 0
        token, size, after = next_token(data, at, end, folding)
        while size > 0:
            key = mix(key ^ token)
            found = look_up(key, keys, flags)
            if found == 0:
                break
            flag, at = found, after
            if flag & OPEN:
                break
            token, size, after = next_token(data, at, end, folding)
        result[row] = (flag & OPEN) != 0 or ((flag & WHOLE) != 0 and only_numbers(data, at, end, folding))
    return result


@compiled
def only_numbers(data: NDArray[np.uint8], at: int, end: int, folding: Codes) -> bool:
    """Whether a text holds nothing more, or TRAILING_NUMBERS numbers at most."""
    numbers = 0
    while True:
        _, size, after = next_token(data, at, end, folding)
        if size == 0:
            return numbers <= TRAILING_NUMBERS
        while at < after:
            character, step = decode(data, at, after)
            code = folding[character]
            if code not in (SPACE, 0) and not 48 <= code <= 57:
                return False
            at += step
        numbers += 1

"""The loops that fold texts and hash their shingles, compiled by numba; imported where needed (see filters.loops).

All hashes are of 64 bits, the same on every machine. Constants are those of splitmix64 (Steele et al. 2014).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled, decode
from filters.shingles import CJK, CODE_POINT, MARK, SHORT, SPACE, SYMBOL, UNSPACED, WORDS

Codes = NDArray[np.uint32]  # entries of the folding table
Hashes = NDArray[np.uint64]

# The places of ShingleSettings' numbers.
(
    WORDS_SIZE,
    CJK_SIZE,
    UNSPACED_SIZE,
    SHORT_SIZE,
    SHORT_CJK_SIZE,
    SHORT_MOST,
    LONG_LEAST,
    UNSPACED_MOST,
    UNSPACED_LEAST,
) = range(9)

GOLDEN: Final = 0x9E3779B97F4A7C15
MULTIPLIER: Final = 0xD1342543DE82EF95  # odd, full period as the factor of a polynomial (Steele and Vigna 2021)


@compiled
def mix(value: Any) -> Any:
    """splitmix64's finaliser: a bijection of uint64 whose every bit depends on every bit."""
    value = np.uint64(value)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def eight_bytes(data: NDArray[np.uint8], at: Any) -> Any:
    """Eight bytes from `at` on as a little-endian uint64; one instruction where the processor has it."""
    at = np.uint64(at)
    value = np.uint64(data[at])
    for place in range(1, 8):
        value |= np.uint64(data[at + np.uint64(place)]) << np.uint64(8 * place)
    return value


@compiled
def leading_letters(value: Any) -> Any:
    """How many of eight bytes from the lowest on are letters and digits of ASCII."""
    plain = value & np.uint64(0x7F7F7F7F7F7F7F7F)
    lower = plain | np.uint64(0x2020202020202020)
    # An addition sets a byte's highest bit where the byte reaches a bound: a, what follows z, 0, what follows 9.
    letter = (lower + np.uint64(0x1F1F1F1F1F1F1F1F)) & ~(lower + np.uint64(0x0505050505050505))
    digit = (plain + np.uint64(0x5050505050505050)) & ~(plain + np.uint64(0x4646464646464646))
    other = ~((letter | digit) & ~value) & np.uint64(0x8080808080808080)
    if other == 0:
        return 8
    first = (other & (~other + np.uint64(1))) >> np.uint64(7)
    return np.int64((first * np.uint64(0x0001020304050607)) >> np.uint64(56))


@compiled
def add_code(word: Any, tail: Any, filled: int, code: Any) -> Any:
    """The state of a word's hash after one more character; begins with zeros.

    Characters of ASCII are gathered in `tail`, `filled` of them, and go into the hash eight at a time.
    """
    if code < 0x80:
        tail |= np.uint64(code) << np.uint64(8 * filled)
        filled += 1
        if filled < 8:
            return word, tail, filled
        return (word ^ tail) * np.uint64(MULTIPLIER), np.uint64(0), 0
    if filled:
        word = (word ^ tail) * np.uint64(MULTIPLIER)
    return (word + np.uint64(code)) * np.uint64(MULTIPLIER), np.uint64(0), 0


@compiled
def add_letters(word: Any, tail: Any, filled: int, letters: Any, count: int) -> Any:
    """add_code of the `count` lowest bytes of `letters`, the others being 0."""
    tail |= letters << np.uint64(8 * filled)
    filled += count
    if filled < 8:
        return word, tail, filled
    filled -= 8
    rest = letters >> np.uint64(8 * (count - filled)) if filled else np.uint64(0)
    return (word ^ tail) * np.uint64(MULTIPLIER), rest, filled


@compiled
def is_plain_space(byte: Any, folding: Codes) -> Any:
    """Whether a byte is white space or punctuation of ASCII."""
    return byte < 0x80 and folding[byte] == SPACE


@compiled
def fold_text(data: NDArray[np.uint8], at: int, end: int, folding: Codes, codes: Codes, words: Hashes) -> Any:  # noqa: PLR0912, PLR0915 - one pass, a branch for each kind of character
    """Writes the folded text to codes and its words' hashes to words.

    Gives how many codes and words there are, and how many letters and digits: all, CJK and of other unspaced scripts.
    White space is one SPACE between two characters, none at the ends or beside a letter of a script without spaces. A
    word is a run without spaces and symbols, or one letter of a script without spaces.
    """
    count = found = letters = cjk = unspaced = 0
    last = np.uint32(SPACE)  # the last character; a mark does not hide what script its letter is of
    word, tail, filled = np.uint64(0), np.uint64(0), 0
    while at < end:
        byte = data[at]
        if byte < 0x80:
            if at + 8 <= end:  # most texts are mostly runs of plain letters: up to eight at once
                eight = eight_bytes(data, at)
                run = leading_letters(eight)
                if run:
                    lower = eight | np.uint64(0x2020202020202020)
                    for place in range(8):
                        codes[count + place] = np.uint32(lower >> np.uint64(8 * place)) & np.uint32(0xFF)
                    lower &= np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 8 * run)
                    word, tail, filled = add_letters(word, tail, filled, lower, run)
                    count += run
                    letters += run
                    at += run
                    last = np.uint32(SPACE + 1)
                    if run < 8 and is_plain_space(data[at], folding):  # what most words end with
                        words[found] = mix(word ^ tail)
                        found += 1
                        word, tail, filled = np.uint64(0), np.uint64(0), 0
                        codes[count] = last = np.uint32(SPACE)
                        count += 1
                        at += 1
                    continue
            code = folding[byte]
            at += 1
        else:
            character, size = decode(data, at, end)
            code = folding[character]
            at += size
        if code > SPACE and code <= CODE_POINT:  # a letter or digit
            letters += 1
            word, tail, filled = add_code(word, tail, filled, code)
        elif code == 0:
            continue
        elif code & np.uint32(MARK):
            word, tail, filled = add_code(word, tail, filled, code)
            if last & np.uint32(CJK | UNSPACED):
                codes[count] = code
                count += 1
                continue
        else:
            if word | tail:
                words[found] = mix(word ^ tail)
                found += 1
                word, tail, filled = np.uint64(0), np.uint64(0), 0
            if code == SPACE:
                if last == SPACE or last & np.uint32(CJK | UNSPACED):
                    continue
            elif code & np.uint32(CJK | UNSPACED):
                count -= last == SPACE and count > 0
                words[found] = mix(np.uint64(code))
                found += 1
                letters += 1
                cjk += (code & np.uint32(CJK)) != 0
                unspaced += (code & np.uint32(UNSPACED)) != 0
        codes[count] = code
        count += 1
        last = code
    if word | tail:
        words[found] = mix(word ^ tail)
        found += 1
    count -= last == SPACE and count > 0
    return count, found, letters, cjk, unspaced


@compiled
def hash_ngrams(units: Hashes, count: int, size: int, hashes: Hashes) -> int:
    """Writes the hash of each `size` units in a row, or of all where there are fewer: how many. May work in place."""
    multiplier = np.uint64(MULTIPLIER)
    size = min(size, count)
    if size == 0:
        return 0
    leaving = np.uint64(1)
    for _ in range(size):
        leaving *= multiplier
    window = np.zeros(size, np.uint64)  # the last units: what was read may have been overwritten
    oldest = 0
    value = np.uint64(0)
    for place in range(count):
        unit = units[place]
        value = value * multiplier + unit - window[oldest] * leaving
        window[oldest] = unit
        oldest = oldest + 1 if oldest + 1 < size else 0
        if place >= size - 1:
            hashes[place - size + 1] = mix(value + np.uint64(size))
    return count - size + 1


@compiled
def hash_codes(codes: Codes, start: int, size: int) -> Any:
    """The hash of `size` characters in a row: uint64."""
    value = np.uint64(size)
    for place in range(start, start + size):
        value = value * np.uint64(MULTIPLIER) + np.uint64(codes[place])
    return mix(value)


@compiled
def short_shingles(codes: Codes, count: int, settings: NDArray[np.float64], hashes: Hashes) -> int:
    """Writes the hashes of a short text's shingles: n-grams of characters, n by the first of them."""
    written = 0
    for start in range(count):
        cjk = codes[start] & np.uint32(CJK)
        size = np.int64(settings[SHORT_CJK_SIZE]) if cjk else np.int64(settings[SHORT_SIZE])
        if start + size > count:
            continue
        hashes[written] = hash_codes(codes, start, size)
        written += 1
    if written == 0 and count > 0:  # the whole text is shorter than any n-gram
        hashes[0] = hash_codes(codes, 0, count)
        written = 1
    return written


@compiled
def hash_characters(codes: Codes, count: int, hashes: Hashes) -> int:
    """Writes the hash of each letter, digit and mark."""
    written = 0
    for place in range(count):
        code = codes[place]
        if code != SPACE and code & np.uint32(SYMBOL) == 0:
            hashes[written] = mix(np.uint64(code))
            written += 1
    return written


@compiled
def hash_shingles(
    codes: Codes,
    count: int,
    words: Hashes,
    found: int,
    view: int,
    mostly_cjk: bool,
    settings: NDArray[np.float64],
    hashes: Hashes,
) -> Any:
    """Writes the hashes of a folded text's shingles in one view: how many, equal ones included."""
    if view == SHORT:
        return short_shingles(codes, count, settings, hashes)
    if view == WORDS:
        return hash_ngrams(words, found, np.int64(settings[WORDS_SIZE]), hashes)
    units = hash_characters(codes, count, hashes)
    size = settings[CJK_SIZE] if mostly_cjk else settings[UNSPACED_SIZE]
    return hash_ngrams(hashes, units, np.int64(size), hashes)


@compiled
def is_in_view(view: int, count: int, letters: int, cjk: int, unspaced: int, settings: NDArray[np.float64]) -> Any:
    """Whether a text is compared in a view, by what fold_text counted."""
    length = letters + 2 * cjk
    if view == SHORT:
        return count > 0 and length <= settings[SHORT_MOST]
    if letters == 0 or length < settings[LONG_LEAST]:
        return False
    if view == WORDS:
        return cjk + unspaced <= settings[UNSPACED_MOST] * letters
    return cjk + unspaced >= settings[UNSPACED_LEAST] * letters


@compiled
def longest_text(bounds: NDArray[Any]) -> int:
    """Bytes of the longest text."""
    longest = 0
    for row in range(len(bounds) - 1):
        longest = max(longest, bounds[row + 1] - bounds[row])
    return longest


@compiled
def distinct(hashes: Hashes, count: int) -> int:
    """Sorts the first hashes and leaves each once: how many."""
    hashes[:count].sort()
    written = 0
    for place in range(count):
        if place == 0 or hashes[place] != hashes[written - 1]:
            hashes[written] = hashes[place]
            written += 1
    return written


@compiled
def shingle_set(
    data: NDArray[np.uint8],
    at: int,
    end: int,
    view: int,
    folding: Codes,
    settings: NDArray[np.float64],
    codes: Codes,
    words: Hashes,
    hashes: Hashes,
) -> Any:
    """Writes a text's distinct shingles in one view, sorted: how many. The last three hold as many as bytes."""
    count, found, _, cjk, unspaced = fold_text(data, at, end, folding, codes, words)
    return distinct(hashes, hash_shingles(codes, count, words, found, view, cjk >= unspaced, settings, hashes))


@compiled
def hash_shingle_sets(
    bounds: NDArray[Any], data: NDArray[np.uint8], folding: Codes, settings: NDArray[np.float64], view: int
) -> Any:
    """The distinct shingles of all texts, one after the other (uint64), and where each text's end (int64 [rows])."""
    rows = len(bounds) - 1
    longest = longest_text(bounds)
    codes = np.empty(longest + 1, np.uint32)
    words = np.empty(longest + 1, np.uint64)
    hashes = np.empty(longest + 1, np.uint64)
    ends = np.empty(rows, np.int64)
    values = np.empty(bounds[rows] - bounds[0], np.uint64)
    total = 0
    for row in range(rows):
        count = shingle_set(data, bounds[row], bounds[row + 1], view, folding, settings, codes, words, hashes)
        values[total : total + count] = hashes[:count]
        total += count
        ends[row] = total
    return values[:total], ends

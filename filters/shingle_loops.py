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
def fold_text(data: NDArray[np.uint8], at: int, end: int, folding: Codes, codes: Codes, words: Hashes) -> Any:  # noqa: PLR0912 - one pass, a branch for each kind of character
    """Writes the folded text to codes and its words' hashes to words.

    Gives how many codes and words there are, and how many letters and digits: all, CJK and of other unspaced scripts.
    White space is one SPACE between two characters, none at the ends or beside a letter of a script without spaces. A
    word is a run without spaces and symbols, or one letter of a script without spaces.
    """
    count = found = letters = cjk = unspaced = 0
    last = np.uint32(SPACE)  # the last character; a mark does not hide what script its letter is of
    word = np.uint64(0)
    while at < end:
        byte = data[at]
        if byte < 0x80:
            code = folding[byte]
            at += 1
        else:
            character, size = decode(data, at, end)
            code = folding[character]
            at += size
        if code > SPACE and code <= CODE_POINT:  # most are plain letters and digits
            letters += 1
            word = (word + np.uint64(code)) * np.uint64(MULTIPLIER)
        elif code == 0:
            continue
        elif code & np.uint32(MARK):
            word = (word + np.uint64(code)) * np.uint64(MULTIPLIER)
            if last & np.uint32(CJK | UNSPACED):
                codes[count] = code
                count += 1
                continue
        else:
            if word:
                words[found] = mix(word)
                found += 1
                word = np.uint64(0)
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
    if word:
        words[found] = mix(word)
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

"""The loop that counts mojibake, compiled by numba; imported where needed (see filters.loops)."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled, decode

Table = NDArray[np.uint8]

# How sure a row of characters is to be mojibake.
SOUND: Final = 0
IN_COMPANY: Final = 1  # if another such row stands beside it
SURE: Final = 2

# Cyrillic words of Windows-1251 count from this many letters on: Ukrainian has "Рі" at the start of words.
CYRILLIC_RUN: Final = 3


@compiled
def measure_mojibake(
    bounds: NDArray[Any], data: NDArray[np.uint8], western: Table, cyrillic: Table, share: NDArray[np.float32]
) -> None:
    """Fills share (float32 [rows]). The tables give a character's byte in Windows-1252 and Windows-1251."""
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        characters = found = 0
        previous = np.int64(0)  # the character before
        row_end, row_length = -1, 0  # the last row of characters: where it ends, how long it is while not counted
        run_end, run = -1, 0  # the last letters of Windows-1251
        while at < end:
            if data[at] < 0x80:
                previous = np.int64(data[at])
                characters += 1
                at += 1
                continue
            character, size = decode(data, at, end)
            length, after, sure = western_row(previous, character, data, at + size, end, western)
            if length > 0:
                if row_end == at:  # two in a row are sure, whatever each was
                    found += length + row_length
                    row_length = 0
                elif sure == SURE:
                    found += length
                    row_length = 0
                else:
                    row_length = length
                row_end = after
                characters += length
                previous, at = np.int64(0x80), after
                continue
            if is_cyrillic_letter(character, data, at + size, end, cyrillic):
                run = run + 1 if run_end == at else 1
                found += 2 * CYRILLIC_RUN if run == CYRILLIC_RUN else 2 if run > CYRILLIC_RUN else 0
                characters += 2
                _, second = decode(data, at + size, end)
                previous, at = character, at + size + second
                run_end = at
                continue
            length, after = known_row(previous, character, data, at + size, end)
            found += length
            characters += max(length, 1)
            previous, at = character, after
        share[row] = found / max(characters, 1)


@compiled
def western_row(  # noqa: PLR0911 - a return for each form
    previous: int, character: int, data: NDArray[np.uint8], at: int, end: int, western: Table
) -> tuple[int, int, int]:
    """Length in characters of the row that starts with `character` (0: none), the byte after it, how sure it is.

    `at` is the byte after the character.
    """
    lead = western[character] if character < len(western) else 0
    if lead < 0xC2 or lead > 0xF4 or lead == 0xDF:  # the German sharp s ends words, and leads to N'Ko only
        return 0, at, SOUND
    wanted = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
    after_lower = is_lower(previous)
    marks = 0  # continuing characters that follow words in sound text too
    second = 0
    after = at
    for place in range(wanted):
        continuing, size = decode(data, after, end) if after < end else (np.int64(0), 0)
        byte = western[continuing] if continuing < len(western) else 0
        if not 0x80 <= byte <= 0xBF or (place == 0 and not may_follow(lead, byte)):
            if place == 1 and lead == 0xE2 and second == 0x80:  # "â€" and a byte that normalisation took out
                return 2, after, SURE
            # Of "Ã" with a no-break space or soft hyphen the second goes in normalisation.
            return (1, at, SURE) if after_lower and lead in (0xC2, 0xC3) and place == 0 else (0, at, SOUND)
        second = byte if place == 0 else second
        marks += is_mark(continuing)
        after += size
    if wanted == 3 or (lead == 0xE2 and second == 0x80):
        return wanted + 1, after, SURE
    if wanted == 2:
        return 3, after, IN_COMPANY if marks == 2 else SURE
    following = np.int64(0)
    if after < end:
        following, _ = decode(data, after, end)
    beside_letter = after_lower or is_lower(following)
    if lead <= 0xC5 and (beside_letter or (lead <= 0xC3 and marks == 0)):
        return 2, after, SURE
    return 2, after, SURE if after_lower and marks == 0 else IN_COMPANY


@compiled
def may_follow(lead: int, second: int) -> bool:
    """Whether UTF-8 allows the second byte after the first (RFC 3629, section 4)."""
    if lead == 0xE0:
        return second >= 0xA0
    if lead == 0xED:
        return second < 0xA0
    if lead == 0xF0:
        return second >= 0x90
    return lead != 0xF4 or second < 0x90


@compiled
def is_mark(character: int) -> bool:
    """Quotation marks, dashes, ellipsis and the like, that follow a word without a space; case does not matter."""
    return 0x2010 <= character <= 0x203A or character in (0xAB, 0xBB, 0xB7, 0xB4, 0xA8, 0xB0, 0xAA, 0xBA, 0xA0, 0x2122)


@compiled
def is_lower(character: int) -> bool:
    """Lower-case Latin letters, those of Latin-1 among them."""
    return 0x61 <= character <= 0x7A or (0xDF <= character <= 0xFF and character != 0xF7)


@compiled
def is_cyrillic_letter(character: int, data: NDArray[np.uint8], at: int, end: int, cyrillic: Table) -> bool:
    """Whether a character and the one at byte `at` are the two bytes of a Russian letter in Windows-1251."""
    if at >= end or character not in (0x420, 0x421):
        return False
    second, _ = decode(data, at, end)
    byte = cyrillic[second] if second < len(cyrillic) else 0
    if character == 0x420:
        return 0x90 <= byte <= 0xBF or byte == 0x81
    return 0x80 <= byte <= 0x8F or byte == 0x91


@compiled
def known_row(previous: int, character: int, data: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:  # noqa: PLR0911 - a return for each form
    """Length of a row that other encodings give, 0 for none, and the byte after it."""
    if character in (0x951B, 0x9286, 0x9225, 0x7E3A, 0x7E67, 0x7E5D):  # 锛 銆 鈥 (GBK), 縺 繧 繝 (Shift-JIS)
        return 1, at
    if at >= end:
        return 0, at
    second, size = decode(data, at, end)
    after = at + size
    if character == 0x251C:  # code page 850: an accented letter is ├ and one more
        following = np.int64(0)
        if after < end:
            following, _ = decode(data, after, end)
        accented = second in (
            0xAE,
            0xF1,
            0xC2,
            0x255D,
            0xE1,
            0xBF,
            0xBA,
            0x2592,
            0x2502,
            0xA1,
            0xED,
            0x2551,
            0xAC,
            0xBD,
        )
        return (2, after) if accented and (is_lower(previous) or is_lower(following)) else (0, at)
    if after >= end:
        return 0, at
    third, size = decode(data, after, end)
    if character == 0x951F and second == 0x65A4 and third == 0x62F7:  # 锟斤拷: U+FFFD read as GBK
        return 3, after + size
    if character == 0x432 and second == 0x402:  # вЂ™: punctuation read as Windows-1251
        return 3, after + size
    if (
        character == 0x201A and second == 0xC4 and third in (0xF4, 0xFA, 0xF9, 0xEE, 0xEC, 0xF2, 0xB6, 0xA2)
    ):  # Mac Roman
        return 3, after + size
    if character == 0xD4 and second == 0xC7 and third >= 0x80:  # the same in code page 850
        return 3, after + size
    return 0, at

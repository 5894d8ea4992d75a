"""What each Unicode character is to a filter, as a table the byte loops look characters up in.

The classes come from Python's unicodedata (general categories); the scripts written without spaces from Unicode's
Scripts.txt (block ranges). Built once per process in a fraction of a second.
"""

import unicodedata
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

# numba keeps the compiled loops by the age of loops.py alone: after renumbering classes, save that file too.
IGNORED: Final = 0  # neither text nor noise: joiners, variation selectors, and what this Python's Unicode does not know
UPPER: Final = 1  # upper-case and title-case letters
LETTER: Final = 2  # other letters
MARK: Final = 3  # combining marks: part of a letter in most of Asia's scripts
DIGIT: Final = 4
SYMBOL: Final = 5  # punctuation and symbols, emoji among them
SPACE: Final = 6
BROKEN: Final = 7  # U+FFFD, control, private-use and surrogate code points: traces of a wrong decoding
CJK: Final = 8  # Han, kana and Bopomofo letters
UNSPACED: Final = 9  # letters of Thai, Lao, Khmer and Burmese, which put no spaces between words either
CLASSES: Final = 10

CODE_POINTS: Final = 0x110000

_CLASS_OF_CATEGORY: Final = {
    **dict.fromkeys(("Lu", "Lt"), UPPER),
    **dict.fromkeys(("Ll", "Lm", "Lo"), LETTER),
    **dict.fromkeys(("Mn", "Mc", "Me"), MARK),
    **dict.fromkeys(("Nd", "Nl", "No"), DIGIT),
    **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So"), SYMBOL),
    **dict.fromkeys(("Zs", "Zl", "Zp"), SPACE),
    **dict.fromkeys(("Cc", "Co", "Cs"), BROKEN),
    **dict.fromkeys(("Cf", "Cn"), IGNORED),
}

_CJK_RANGES: Final = (
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # iteration mark, closing mark, ideographic zero
    (0x3021, 0x3029),
    (0x3031, 0x3035),
    (0x3038, 0x312F),  # Hangzhou numerals, hiragana, katakana, Bopomofo
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # half-width katakana
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
_UNSPACED_RANGES: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x19E0, 0x19FF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),
)


@cache
def class_of_character() -> NDArray[np.uint8]:
    """The class of every code point: uint8 [0x110000]."""
    table = np.full(CODE_POINTS, IGNORED, np.uint8)
    table[0xF0000:] = BROKEN  # two planes of private use
    # Planes 4 to 13 are unassigned, and three quarters of the time to look up.
    for start, end in ((0, 0x40000), (0xE0000, 0xE1000)):
        categories = map(unicodedata.category, map(chr, range(start, end)))
        table[start:end] = np.fromiter(map(_CLASS_OF_CATEGORY.__getitem__, categories), np.uint8, end - start)
    for space in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85":
        table[ord(space)] = SPACE
    table[0xFFFD] = BROKEN
    table[0xFE00:0xFE10] = IGNORED  # variation selectors are marks by category, but no part of a word
    table[0xE0100:0xE01F0] = IGNORED
    for ranges, unspaced in ((_CJK_RANGES, CJK), (_UNSPACED_RANGES, UNSPACED)):
        for start, end in ranges:
            part = table[start : end + 1]
            part[(part == LETTER) | (part == DIGIT) & (unspaced == CJK)] = unspaced
    return table


@cache
def folded_character() -> NDArray[np.uint32]:
    """Each code point below 0x20000 in its simple case folding: uint32 [0x20000]; no character above has case.

    A folding to several characters (the German sharp s) is left out, unless lower-casing gives one.
    """
    table = np.arange(0x20000, dtype=np.uint32)
    for code in range(0x20000):
        character = chr(code)
        for folded in (character.casefold(), character.lower()):
            if len(folded) == 1:
                table[code] = ord(folded)
                break
    return table


@cache
def punctuation() -> NDArray[np.bool_]:
    """Which code points are punctuation (general category P*): bool [0x110000]."""
    table = np.zeros(CODE_POINTS, np.bool_)
    for code in range(0x20000):  # none is assigned above
        table[code] = unicodedata.category(chr(code)).startswith("P")
    return table


SCRIPTS: Final = ("", "Latn", "Cyrl", "Arab", "Deva", "Guru", "Kana", "Hani", "Hant", "Hans")
_SCRIPT_RANGES: Final = {
    "Latn": ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x1E00, 0x1EFF)),
    "Cyrl": ((0x400, 0x52F),),
    "Arab": ((0x600, 0x6FF), (0x750, 0x77F), (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC)),
    "Deva": ((0x900, 0x97F),),
    "Guru": ((0xA00, 0xA7F),),
    "Kana": ((0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FD, 0x30FF)),
    "Hani": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF)),
}
# The same frequent words in the two ways of writing Chinese: characters that the other way does not use.
_TRADITIONAL: Final = "這們國說時來對發會個沒為還讓學東車見問長門開關點無樣從過間種經應實現當與書電話頭體"
_SIMPLIFIED: Final = "这们国说时来对发会个没为还让学东车见问长门开关点无样从过间种经应实现当与书电话头体"


@cache
def script_of_character() -> NDArray[np.uint8]:
    """The script of every code point, an index into SCRIPTS: uint8 [0x110000].

    Only what tells languages of one label apart is in it. Hant and Hans are the Han characters that only traditional or
    only simplified Chinese uses, the most frequent of them.
    """
    table = np.zeros(CODE_POINTS, np.uint8)
    for script, ranges in _SCRIPT_RANGES.items():
        for start, end in ranges:
            table[start : end + 1] = SCRIPTS.index(script)
    for traditional, simplified in zip(_TRADITIONAL, _SIMPLIFIED, strict=True):
        if traditional != simplified:
            table[ord(traditional)] = SCRIPTS.index("Hant")
            table[ord(simplified)] = SCRIPTS.index("Hans")
    return table

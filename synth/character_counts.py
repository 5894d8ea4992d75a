"""How many characters of each class a text has, by one look-up a character."""

import unicodedata
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

(
    OTHER,
    SPACE,
    UPPER,
    LOWER,
    LETTER,  # without case, and marks on letters
    THAI,  # and Lao: no spaces between words, no ends of sentences
    HAN_OR_KANA,
    HANGUL,
    DIGIT,
    SEPARATOR,  # between entries of a list
    CODE,  # of programs
    SEPARATOR_OR_CODE,
) = range(12)
CLASSES: Final = 12
_PLANES: Final = 0x20000  # what lies above is rare Han
_SEPARATORS: Final = ",、，；،·/•"
_CODE: Final = "{}[]<>=$#@\\^~`_&"
_BOTH: Final = ";|"
_CLASS_OF_CATEGORY: Final = {
    "Lu": UPPER,
    "Lt": UPPER,
    "Ll": LOWER,
    "Lo": LETTER,
    "Lm": LETTER,
    "Mn": LETTER,
    "Mc": LETTER,
    "Nd": DIGIT,
    "Zs": SPACE,
}
_RANGES: Final = (
    (0x0E00, 0x0E4F, THAI),
    (0x0E80, 0x0ED0, THAI),
    (0x3041, 0x3100, HAN_OR_KANA),
    (0x31F0, 0x3200, HAN_OR_KANA),
    (0x3400, 0x4DC0, HAN_OR_KANA),
    (0x4E00, 0xA000, HAN_OR_KANA),
    (0xF900, 0xFB00, HAN_OR_KANA),
    (0xAC00, 0xD7A4, HANGUL),
)


@cache
def _classes() -> npt.NDArray[np.uint8]:
    table = np.zeros(_PLANES, np.uint8)
    for code in range(0x3400):
        table[code] = _CLASS_OF_CATEGORY.get(unicodedata.category(chr(code)), OTHER)
    for code in (*range(0xA000, 0xAC00), *range(0xFB00, 0x10000)):
        table[code] = _CLASS_OF_CATEGORY.get(unicodedata.category(chr(code)), OTHER)
    for start, end, kind in _RANGES:
        table[start:end] = kind
    for characters, kind in (
        ("\t\n\v\f\r", SPACE),
        (_SEPARATORS, SEPARATOR),
        (_CODE, CODE),
        (_BOTH, SEPARATOR_OR_CODE),
    ):
        for character in characters:
            table[ord(character)] = kind
    return table


def count_characters(text: str) -> list[int]:
    """Characters of each class [CLASSES]."""
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)
    classes = np.where(codes < _PLANES, _classes()[np.minimum(codes, _PLANES - 1)], HAN_OR_KANA)
    counts: list[int] = np.bincount(classes, minlength=CLASSES).tolist()
    return counts


def weight(text: str) -> int:
    """Characters; one of Chinese or Japanese counts three, a Korean one two: they say as much."""
    if text.isascii():
        return len(text)
    counts = count_characters(text)
    return len(text) + 2 * counts[HAN_OR_KANA] + counts[HANGUL]

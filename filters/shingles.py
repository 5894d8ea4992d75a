"""What near-duplicates are compared by: the shingles of a text, chosen by its script and its length.

Every text is folded first: case, accents, punctuation, white space and the ways of encoding one character make no
difference. Then it is seen in one or more views:

    SHORT        titles, questions: n-grams of characters, spaces and symbols included; n by the script of each character
    WORDS        longer texts of scripts with spaces: n-grams of words, a Han or kana character being a word
    CHARACTERS   longer texts of scripts without spaces: n-grams of letters and digits, spaces left out

Texts are compared view by view. One that lies near a border, of length or of script, is in the views on both sides: an
edit that moves a copy across the border does not hide it.
"""

import unicodedata
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from filters import characters
from filters.text_quality import utf8_buffers

# numba keeps the compiled loops by the age of their own files: after changing these numbers, save *_loops.py too.
SHORT, WORDS, CHARACTERS = range(3)
VIEWS: Final = ("short", "words", "characters")

# An entry of the folding table: a code point and what it is. 0 is left out of the text, SPACE parts words.
SPACE: Final = 32
CODE_POINT: Final = (1 << 21) - 1
CJK: Final = 1 << 21
UNSPACED: Final = 1 << 22
MARK: Final = 1 << 23
SYMBOL: Final = 1 << 24

# Punctuation that carries meaning in short texts: C# is not C, 50 % is not 50, @home is not home.
_MEANINGFUL: Final = "#%&@"
_ACCENTS: Final = range(0x300, 0x370)
_HANGUL: Final = range(0xAC00, 0xD7A4)
_FOLDED_PLANES: Final = 0x20000  # nothing above folds, but for compatibility ideographs


class ShingleSettings(BaseModel):
    """Sizes of the n-grams, and where one view ends and the next begins.

    Lengths are in letters: folded characters without white space, a Han or kana character counting three.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: int = Field(5, ge=1, le=32, description="words in an n-gram of longer texts in scripts with spaces")
    cjk_characters: int = Field(5, ge=1, le=32, description="characters in an n-gram of longer Han and kana texts")
    unspaced_characters: int = Field(
        10, ge=1, le=64, description="characters in an n-gram of longer Thai, Lao, Khmer and Burmese texts"
    )
    short_characters: int = Field(3, ge=1, le=16, description="characters in an n-gram of short texts")
    short_cjk_characters: int = Field(
        2, ge=1, le=16, description="characters in an n-gram of short texts that starts with a Han or kana character"
    )
    short_most: int = Field(240, ge=1, description="letters of the longest text that is compared as a short one")
    long_least: int = Field(150, ge=1, description="letters of the shortest text that is compared as a longer one")
    unspaced_most: float = Field(
        0.42, ge=0, le=1, description="share of letters of scripts without spaces up to which words are compared"
    )
    unspaced_least: float = Field(
        0.25, ge=0, le=1, description="share of letters of scripts without spaces from which characters are compared"
    )

    @model_validator(mode="after")
    def _leave_no_gap(self) -> "ShingleSettings":
        if self.long_least > self.short_most + 1:
            raise ValueError(
                f"Texts of {self.short_most + 1} to {self.long_least - 1} letters would be in no view: "
                f"set short_most to {self.long_least - 1} at least, or long_least lower."
            )
        if self.unspaced_least > self.unspaced_most:
            raise ValueError(
                f"Texts of which a share between {self.unspaced_most} and {self.unspaced_least} is in scripts without "
                "spaces would be in no view: set unspaced_least to unspaced_most at most."
            )
        return self

    def numbers(self) -> NDArray[np.float64]:
        """The settings as the loops read them (filters.shingle_loops.SETTINGS): float64 [9]."""
        return np.array([getattr(self, name) for name in ShingleSettings.model_fields], np.float64)


DEFAULT_SHINGLES: Final = ShingleSettings()


def shingle_sets(texts: pa.Array, view: int, settings: ShingleSettings = DEFAULT_SHINGLES) -> list[NDArray[np.uint64]]:
    """The distinct shingles of each text in one view, whatever its length and script: sorted uint64 hashes [n].

    Two texts' Jaccard similarity is that of their sets. A text too short for one n-gram has one shingle, itself; one
    without letters, digits or symbols has none.
    """
    from filters import shingle_loops

    bounds, data = utf8_buffers(texts)
    values, ends = shingle_loops.hash_shingle_sets(bounds, data, folding(), settings.numbers(), view)
    return np.split(values, ends[:-1]) if len(ends) else []


@cache
def folding() -> NDArray[np.uint32]:
    """What each code point becomes: uint32 [0x110000]: 0, SPACE, or a code point with its flags.

    Compatibility forms and accented letters become the plain letter where that is one character, decimal digits those
    of ASCII, case is folded simply. Symbols and # % & @ stay, other punctuation and control characters are spaces.
    """
    table = np.arange(characters.CODE_POINTS, dtype=np.uint32)
    for code in range(0x80, _FOLDED_PLANES):
        if code not in _HANGUL and unicodedata.decomposition(character := chr(code)):
            table[code] = _plain_character(character)
    for code in range(0x2F800, 0x2FA20):
        table[code] = _plain_character(chr(code))
    below = table < _FOLDED_PLANES
    table[below] = characters.folded_character()[table[below]]
    kinds = characters.class_of_character()
    for code in np.flatnonzero(kinds == characters.DIGIT).tolist():
        value = unicodedata.decimal(chr(code), None)
        if value is not None:
            table[code] = ord("0") + value
    return _flagged(table, kinds)


def _plain_character(character: str) -> int:
    """The character without accents and in its compatible form; itself where that takes several."""
    plain = [part for part in unicodedata.normalize("NFKD", character) if ord(part) not in _ACCENTS]
    if len(plain) == 1:
        return ord(plain[0])
    composed = unicodedata.normalize("NFKC", character)
    return ord(composed) if len(composed) == 1 else ord(character)


def _flagged(table: NDArray[np.uint32], kinds: NDArray[np.uint8]) -> NDArray[np.uint32]:
    kind = kinds[table]
    punctuation = characters.punctuation()[table]
    for character in _MEANINGFUL:
        punctuation[table == ord(character)] = False
    for flag, flagged in ((CJK, characters.CJK), (UNSPACED, characters.UNSPACED), (MARK, characters.MARK)):
        table[kind == flagged] |= np.uint32(flag)
    table[kind == characters.SYMBOL] |= np.uint32(SYMBOL)
    table[(kind == characters.SPACE) | (kind == characters.BROKEN) | punctuation] = SPACE
    table[kind == characters.IGNORED] = 0
    table[_ACCENTS.start : _ACCENTS.stop] = 0
    return table

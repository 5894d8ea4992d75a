"""Which script each letter belongs to, and which scripts a language is written in by its code."""

import unicodedata
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from filters.characters import CODE_POINTS

# The first word of a letter's Unicode name is its script; ISO 15924 calls them so. Places are numbers in the table.
_NAMES: Final = {
    "LATIN": "Latn",
    "CYRILLIC": "Cyrl",
    "GREEK": "Grek",
    "COPTIC": "Copt",
    "ARMENIAN": "Armn",
    "HEBREW": "Hebr",
    "ARABIC": "Arab",
    "SYRIAC": "Syrc",
    "THAANA": "Thaa",
    "NKO": "Nkoo",
    "DEVANAGARI": "Deva",
    "BENGALI": "Beng",
    "GURMUKHI": "Guru",
    "GUJARATI": "Gujr",
    "ORIYA": "Orya",
    "TAMIL": "Taml",
    "TELUGU": "Telu",
    "KANNADA": "Knda",
    "MALAYALAM": "Mlym",
    "SINHALA": "Sinh",
    "THAI": "Thai",
    "LAO": "Laoo",
    "TIBETAN": "Tibt",
    "MYANMAR": "Mymr",
    "GEORGIAN": "Geor",
    "HANGUL": "Hang",
    "ETHIOPIC": "Ethi",
    "CHEROKEE": "Cher",
    "CANADIAN": "Cans",
    "KHMER": "Khmr",
    "MONGOLIAN": "Mong",
    "TIFINAGH": "Tfng",
    "HIRAGANA": "Hira",
    "KATAKANA": "Kana",
    "KATAKANA-HIRAGANA": "Kana",
    "BOPOMOFO": "Bopo",
    "CJK": "Hani",
    "IDEOGRAPHIC": "Hani",
    "YI": "Yiii",
    "BALINESE": "Bali",
    "JAVANESE": "Java",
    "SUNDANESE": "Sund",
    "MEETEI": "Mtei",
    "OL": "Olck",
    "CHAKMA": "Cakm",
    "ADLAM": "Adlm",
}
SCRIPTS: Final = ("", "other", *dict.fromkeys(_NAMES.values()))
NO_LETTER: Final = 0  # or a letter of no one script, such as a modifier letter
OTHER: Final = 1

# Codes of ISO 15924 that stand for several scripts.
_TOGETHER: Final = {
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Hani": ("Hani", "Bopo"),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Hrkt": ("Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
    "Latf": ("Latn",),
    "Aran": ("Arab",),
}
ANY_SCRIPT: Final = (1 << 64) - 1


@cache
def script_of_letter() -> NDArray[np.uint8]:
    """The script of every code point, a place in SCRIPTS: uint8 [0x110000]."""
    table = np.zeros(CODE_POINTS, np.uint8)
    places = {name: SCRIPTS.index(script) for name, script in _NAMES.items()}
    for code in (*range(0x41, 0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x18000), *range(0x1E000, 0x1F000)):
        character = chr(code)
        if unicodedata.category(character)[0] == "L":
            words = unicodedata.name(character, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split(" ", 1)
            table[code] = places.get(words[0], NO_LETTER if words[0] in _COMMON else OTHER)
    table[0x3400:0x4DC0] = table[0x4E00:0xA000] = table[0x20000:0x323B0] = SCRIPTS.index("Hani")
    table[0xAC00:0xD7A4] = SCRIPTS.index("Hang")
    return table


_COMMON: Final = (
    "MODIFIER",
    "FEMININE",
    "MASCULINE",
    "MICRO",
    "DOUBLE-STRUCK",
    "SCRIPT",
    "BLACK-LETTER",
    "MATHEMATICAL",
)


@lru_cache(maxsize=65_536)  # codes come from data: bounded
def scripts_of_language(code: str) -> int:
    """The scripts a code such as zho_Hans names, as bits of places in SCRIPTS; ANY_SCRIPT where it names none known."""
    _, _, script = code.partition("_")
    names = _TOGETHER.get(script, (script,))
    if any(name not in SCRIPTS[2:] for name in names):
        return ANY_SCRIPT
    return sum(1 << SCRIPTS.index(name) for name in names)

"""Whether a text is prose that a question can be asked about: sentences, not a list, a table, code, a menu or boilerplate.

Layout has been seen to before (synth.text_blocks); here a text's characters and words decide, so that texts whose lines were
folded away are judged too. The rules are ours and mild on length: synth.paragraphs sees to that.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from synth.apparatus import BOILERPLATE
from synth.character_counts import (
    CLASSES,
    CODE,
    DIGIT,
    HAN_OR_KANA,
    HANGUL,
    LETTER,
    LOWER,
    SEPARATOR,
    SEPARATOR_OR_CODE,
    SPACE,
    THAI,
    UPPER,
    count_characters,
)

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

REASONS: Final = {
    "boilerplate": "licence, copyright, navigation or another text that many documents share",
    "markup": "left-over markup",
    "references": "addresses, citations or a list of works",
    "code": "program code, commands or settings",
    "table": "columns of short entries",
    "list": "an enumeration",
    "menu": "names or questions side by side, a path through menus, a table of contents",
    "symbols": "few letters",
    "capitals": "mostly capitals",
    "unfinished": "it does not begin and end as sentences do: it leads to a list, or goes on after one",
    "repeats": "the same sentence several times",
}

# Expressions of RE2, for Arrow.
_MARKUP: Final = r"\{\{|\}\}|\[\[|\]\]|</?[a-z]{1,10}[\s/>]|\\(?:displaystyle|frac|begin|left|text)\b|&[a-z]{2,6};|__[A-Z]{3,}__|\\[*_#\[]"
_ADDRESS: Final = r"https?://\S+|www\.\S+|\S+@\S+\.[a-z]+"
_CITATION: Final = (
    r"\bISBN\b|\bISSN\b|\bdoi:|\bpp?\. ?\d|\bS\. \d|\bvol\. ?\d|\bBd\. ?\d|\bet al\.|\barXiv\b|ページ。|页。| с\. ?\d"
    r"|\(\d{4}\)[.,:]|\bed\.\)|\bHrsg\.|BGBl\.? ?I"
)
_CODE_MARK: Final = r"\s--?[a-z][\w-]+|/\w+/\w+|\w\(\)|::|->|=>|\*\.\w+"
_PROMPT: Final = r"^(?:[$#%>]|>>>|\.\.\.|C:\\>|sudo |root@|//|/\*|#!|import \w+|def \w+\(|SELECT )"
_BULLET: Final = (
    r"(?:^|\s)(?:[•‣◦▪●○·∙*]|[-–—] |[(（]?\d{1,2}[.)）] |\d{1,3}(?:\.\d{1,3})+\.? |[(（]?[a-z][)）] |[①-⑳]"
    r"|\d{1,2}\.? (?:de )?\pL{3,} ?[—–] |\d{3,4} ?[—–] )"  # days and years of a chronicle
)
_PATH: Final = r"\s[>»›→|·•/▸]\s"
_LEADER: Final = r"\.{4,}|…{2,}|(?:\. ){4,}"
_ENDS: Final = r"[.!?…。！？｡।॥۔؟።][\"'”’»«」』）)\]]*(?:\[\d+\])*\z"
_BEGINS_LATE: Final = r"^(?:[(（]\d{1,3}[a-z]?[)）]\s*)?(?:[,;:.)\]}、，；：。）」』?!]|[^\pL\pN]*\p{Ll}|のよう|という|である|を|する|となる)"

# Counted, so that a line of a million dots takes no longer than another one.
_SENTENCE_END: Final = re.compile(r"[.!?…।॥۔؟]{1,6}[\"'”’»)\]]{0,6}\s+|[。！？｡]{1,6}[」』）”]{0,6}")
_SPACES: Final = re.compile(r"\s+")
_THAI: Final = re.compile(r"[\u0e00-\u0eff]")

_WORDS_OF_A_SENTENCE: Final = 4.0  # on average; names side by side have fewer


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of a text lie, white space behind them left out.

    A full stop ends one before white space, an ideographic one anywhere. Thai, which marks no ends, is cut at spaces.
    """
    ends = [found.end() for found in (_SPACES if _is_thai(text) else _SENTENCE_END).finditer(text)]
    found, start = [], 0
    for end in [*ends, len(text)]:
        if _abbreviated(text, start, end) and end < len(text):
            continue
        if piece := text[start:end].strip():
            begin = start + text[start:end].index(piece[0])
            found.append((begin, begin + len(piece)))
        start = end
    return found


# A full stop after a single letter, a number or one of these is no end: "J. Smith", "Art. 5", "z. B. so".
_ABBREVIATED: Final = re.compile(
    r"(?:\b\w|\b\d{1,3}|\b(?:Dr|Mr|Mrs|Ms|Prof|St|No|Nr|Art|Abs|Bd|vs|etc|ca|bzw|vgl|usw|ff|Sr|Sra|Ing|ed|fig|Fig|Jr|Inc|Ltd|Co|al|cf|e\.g|i\.e|z\.B|d\.h"
    r"|янв|февр|тыс|руб|гг?|др|им|см|ст|напр))\.\s+\Z"
)


def _abbreviated(text: str, start: int, end: int) -> bool:
    return bool(_ABBREVIATED.search(text[max(start, end - 12) : end]))


def _is_thai(text: str) -> bool:
    return 2 * len(_THAI.findall(text)) > len(text)


@dataclass(frozen=True)
class _Texts:
    """Some texts, and what the rules look at: numbers are arrays [texts]."""

    texts: pa.Array
    classes: Counts  # [texts, classes of synth.character_counts]
    sentences: list[list[str]]

    @classmethod
    def of(cls, texts: Sequence[str]) -> "_Texts":
        counts = np.array([count_characters(text) for text in texts], np.int64).reshape(-1, CLASSES)
        return cls(
            pa.array(texts, pa.string()), counts, [[text[slice(*place)] for place in sentences(text)] for text in texts]
        )

    def number(self, *classes: int) -> Counts:
        """Characters of some classes together."""
        counts: Counts = self.classes[:, classes].sum(axis=1)
        return counts

    @property
    def length(self) -> Counts:
        counts: Counts = self.classes.sum(axis=1)
        return counts

    @property
    def words(self) -> npt.NDArray[np.float64]:
        """Between spaces; two characters of Chinese and Japanese, four of Thai are a word, about."""
        return 1 + self.number(SPACE) + self.number(HAN_OR_KANA) / 2 + self.number(THAI) / 4

    @property
    def thai(self) -> Mask:
        return 2 * self.number(THAI) > self.length

    def matches(self, pattern: str) -> Mask:
        found: Mask = pc.match_substring_regex(self.texts, pattern).to_numpy(zero_copy_only=False)
        return found

    def times(self, pattern: str) -> Counts:
        found: Counts = pc.count_substring_regex(self.texts, pattern).to_numpy(zero_copy_only=False)
        return found


def why_no_prose(texts: Sequence[str]) -> list[str | None]:
    """For each text, its white space folded: a name of REASONS where it is not prose, else None."""
    if not texts:
        return []
    measured = _Texts.of(texts)
    names = list(_RULES)
    first = np.select([rule(measured) for rule in _RULES.values()], list(range(len(names))), -1)
    return [None if place < 0 else names[place] for place in first.tolist()]


def _is_boilerplate(texts: _Texts) -> Mask:
    return texts.matches(BOILERPLATE)


def _is_markup(texts: _Texts) -> Mask:
    return texts.matches(_MARKUP)


def _is_references(texts: _Texts) -> Mask:
    kept = pc.utf8_length(pc.replace_substring_regex(texts.texts, _ADDRESS, "")).to_numpy(zero_copy_only=False)
    many: Mask = (kept < 0.85 * texts.length) | (texts.times(_CITATION) > texts.length / 130)
    return many


def _is_code(texts: _Texts) -> Mask:
    marks = texts.number(CODE, SEPARATOR_OR_CODE) + texts.times(_CODE_MARK)
    return (marks > 0.02 * texts.length) | texts.matches(_PROMPT)


def _is_table(texts: _Texts) -> Mask:
    return texts.number(DIGIT) > 0.15 * texts.length


def _is_list(texts: _Texts) -> Mask:
    many_items = texts.times(_BULLET) > np.maximum(1, texts.length / 250)
    found: Mask = many_items | (texts.number(SEPARATOR, SEPARATOR_OR_CODE) > 0.22 * texts.words)
    return found


def _is_menu(texts: _Texts) -> Mask:
    count = np.array([len(each) for each in texts.sentences], np.int64)
    fragments = ~texts.thai & (texts.words < _WORDS_OF_A_SENTENCE * count)
    questions = texts.times("[?？؟]")
    many_questions = (questions >= 2) & (2 * questions > count)
    found: Mask = fragments | many_questions | (texts.times(_PATH) >= 2) | texts.matches(_LEADER)
    return found


def _is_symbols(texts: _Texts) -> Mask:
    letters = texts.number(UPPER, LOWER, LETTER, THAI, HAN_OR_KANA, HANGUL)
    return letters < 0.75 * (texts.length - texts.number(SPACE))


def _is_capitals(texts: _Texts) -> Mask:
    cased = texts.number(UPPER, LOWER)
    return (texts.number(UPPER) > 0.35 * cased) & (cased > 20)


def _is_unfinished(texts: _Texts) -> Mask:
    return texts.matches(_BEGINS_LATE) | ~(texts.thai | texts.matches(_ENDS))


def _repeats(texts: _Texts) -> Mask:
    often = [len(each) >= 3 and len(set(each)) <= 0.7 * len(each) for each in texts.sentences]
    return np.array(often, np.bool_) & ~texts.thai


_RULES: Final[dict[str, Callable[[_Texts], Mask]]] = {
    "boilerplate": _is_boilerplate,
    "markup": _is_markup,
    "references": _is_references,
    "menu": _is_menu,
    "code": _is_code,
    "table": _is_table,
    "list": _is_list,
    "symbols": _is_symbols,
    "capitals": _is_capitals,
    "unfinished": _is_unfinished,
    "repeats": _repeats,
}

"""The names of files that belong together line by line: which language each holds, and what they have in common.

corpus.de-en.de, corpus.de-en.en        OPUS's Moses format, with corpus.de-en.scores and .ids
eng_Latn.dev, fra_Latn.dev              FLORES; also without an ending
newstest2019-src.eng.txt, newstest2019-ref.deu.txt     NTREX
"""

import re
from dataclasses import dataclass
from typing import Final

from sources.files.reading import base_name
from sources.languages import is_language
from sources.source import SourceError

# Ends of names that say nothing of the language, though some of them are codes of one.
_WORDS: Final = "txt text tok snt sent raw lc clean dedup dev devtest test train valid validation val lines src ref"
_ENDINGS: Final = frozenset(_WORDS.split())
_SIDE: Final = re.compile(r"-(?:src|ref)(?=\.)")
_APART: Final = re.compile(
    r"(?:readme|licen[cs]e|copying|info|provenance|changes|changelog|authors|citation)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class AlignedName:
    """What a file's name says: `group` is the name with a * for the language, alike for all files that belong together."""

    group: str
    language: str  # as the name has it


def aligned_name(path: str, pattern: re.Pattern[str] | None = None) -> AlignedName | None:
    """The group and language of a file; None where its name does not say them."""
    if pattern is not None:
        found = pattern.search(path)
        if found is None:
            return None
        start, end = found.span("language")
        return AlignedName(f"{path[:start]}*{path[end:]}", found["language"])
    folder, _, _ = path.rpartition("/")
    parts = base_name(path).split(".")
    for at in range(len(parts) - 1, -1, -1):
        if at and parts[at].lower() in _ENDINGS:
            continue
        if not is_language(parts[at]):
            return None
        name = _SIDE.sub("-*", ".".join([*parts[:at], "*", *parts[at + 1 :]]))
        return AlignedName(f"{folder}/{name}", parts[at])
    return None


def name_pattern(template: str) -> re.Pattern[str]:
    """`{language}/train.txt`, `news-*_{language}` ... as a pattern of the end of a path, compressed or not."""
    if template.count("{language}") != 1:
        raise SourceError(
            f"names: {template!r} must hold {{language}} once, where the language stands in the files' names"
        )
    pieces = {"{language}": r"(?P<language>[^/.]+?)", "*": r"[^/]*"}
    body = "".join(pieces.get(part, re.escape(part)) for part in re.split(r"(\{language\}|\*)", template))
    return re.compile(rf"(?:^|/){body}(?:\.(?:gz|bz2|xz|zst))?\Z")


def stands_apart(path: str) -> bool:
    """Whether a file is a licence or a readme, not a part of the corpus."""
    return _APART.match(path.rpartition("/")[2]) is not None or path.lower().endswith(".md")

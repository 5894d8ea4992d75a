"""SQuAD 1.1 and 2.0 and the corpora of their layout: (question, paragraph); the answers, where `kinds` asks for them.

ARCD, CMRC 2018 (squad-style), DRCD, DuReader-robust and -checklist, FQuAD, GermanQuAD, JaQuAD, KorQuAD 1, MLQA, MRQA,
PIAF, SberQuAD, SQuAD-es, SQuAD-it, TyDi QA (gold passages), UIT-ViQuAD, XQuAD, SQuAD itself: see
sources/families/squad_layout.py for the layout and for questions without an answer.

Languages: MLQA, XQuAD and the translations of SQuAD name them in their file names, TyDi QA in the questions' ids.
Else the setting `language` says it, else the corpus's name in the path does.
"""

import re
from collections.abc import Sequence
from typing import Final

from sources.families.squad_layout import SQUAD_FORMAT, SQUAD_KINDS, SquadFile
from sources.records import Layout, RecordSettings, record_source
from sources.source import Split

_LANGUAGE_OF: Final = {
    "arcd": "ar",
    "cmrc2018": "zh-Hans",
    "drcd": "zh-Hant",
    "dureader": "zh-Hans",
    "fquad": "fr",
    "germanquad": "de",
    "jaquad": "ja",
    "korquad": "ko",
    "mlqa": None,
    "mrqa": "en",
    "piaf": "fr",
    "sberquad": "ru",
    "squad_it": "it",
    "squad-es": "es",
    "tydiqa": None,
    "viquad": "vi",
    "xquad": None,
    "squad": "en",
}
_CORPUS: Final = re.compile(rf"(?<![a-z])({'|'.join(_LANGUAGE_OF)})(?![a-z])")
_MLQA: Final = re.compile(r"context-([a-z]{2})-question-([a-z]{2})|mlqa\.([a-z]{2})\.([a-z]{2})(?![a-z])")
_TRANSLATED: Final = re.compile(
    r"xquad\.([a-z]{2})(?![a-z])|(?<![a-z])([a-z]{2})_squad-translate-train|mlqa-translate-train\.([a-z]{2})(?![a-z])"
    r"|v[12]\.[01]-([a-z]{2})(?![a-z])"
)
_SQUAD_ITSELF: Final = re.compile(r"(train|dev)-v[12]\.[01]\.json")


def squad_file(path: str, language: str | None) -> SquadFile:
    """What the last three parts of a file's path tell of its corpus and languages."""
    parts = path.lower().split("/")[-3:]
    place = "/".join(parts)
    names = [match[1] for part in reversed(parts) if (match := _CORPUS.search(part))]
    corpus = names[0] if names else "squad"
    if "translate-test" in place:  # machine-translated from every language into English
        return SquadFile("mlqa", "en", "en")
    if match := _MLQA.search(place):
        context, question = [code for code in match.groups() if code]
        return SquadFile("mlqa", question, context)
    if match := _TRANSLATED.search(place):
        code = next(code for code in match.groups() if code)
        return SquadFile("mlqa" if "translate-train" in place else corpus, code, code)
    known = _LANGUAGE_OF[corpus] if names or _SQUAD_ITSELF.match(parts[-1]) else None
    return SquadFile(corpus, language or known, language or known)


def _layouts(split: Split, settings: RecordSettings) -> Sequence[Layout]:
    return squad_file(split.path, settings.language).layouts()


SOURCE: Final = record_source(
    name="squad",
    summary="SQuAD and its relatives in many languages: questions about paragraphs of Wikipedia",
    kinds=SQUAD_KINDS,
    usual_kinds=("question_context",),
    languages="as the file names or the questions' ids say; else `language`; else those of the corpora known by name",
    layout="SQuAD JSON: data[].paragraphs[].{context, qas[].{question, answers[].text, is_impossible}}; MRQA JSON lines; hub"
    " rows id, title, context, question, answers{text[]}",
    license="CC BY-SA 4.0 (SQuAD); the relatives have their own",
    obtain="https://rajpurkar.github.io/SQuAD-explorer/",
    verified="real rows of SQuAD 1.1, ARCD, DRCD, JaQuAD; a few of SQuAD 2.0, CMRC 2018, MLQA, XQuAD, TyDi QA; hub rows and"
    " MRQA from memory",
    layouts=_layouts,
    format=SQUAD_FORMAT,
)

"""TyDi QA: questions in 11 languages written without having seen the answer, with whole articles of Wikipedia.

The primary task: (question, passage) for each passage that an annotator chose; (question, minimal answer) where
`kinds` asks for it, in bytes of the article's UTF-8 as the corpus counts them. Questions that the article does not
answer are no pairs. The gold passages, in SQuAD's layout, are read too. `documents` gives the articles.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from sources.families.squad_layout import SQUAD_FORMAT, SQUAD_KINDS, TYDI_LANGUAGES, SquadFile
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawDocument, RawPair, RecordSettings, field_of, record_id, record_source


class TydiSettings(RecordSettings):
    """Settings of the source tydiqa."""

    min_annotators: int = Field(
        1, ge=1, description="annotators that must agree on a passage (development files: of 3)"
    )


def _pairs(record: Record, settings: TydiSettings) -> Iterator[RawPair]:
    annotations = record["annotations"] or []
    chosen = Counter(_number(field_of(one, "passage_answer", dict), "candidate_index") for one in annotations)
    passages = [place for place, votes in chosen.items() if place >= 0 and votes >= settings.min_annotators]
    if not passages:
        return
    article = (record["document_plaintext"] or "").encode()
    candidates = record["passage_answer_candidates"] or []
    language = _language(record)
    for place in passages:
        if place >= len(candidates):
            raise BadRecord("wrong_value", f"candidate_index: {place} is none of {len(candidates)} passages")
        yield _pair(record, _cut(article, candidates[place]), "question_context", language)
    minimal = (_cut(article, field_of(one, "minimal_answer", dict)) for one in annotations)
    for answer in dict.fromkeys(text for text in minimal if text):
        yield _pair(record, answer, "question_answer", language)


def _pair(record: Record, positive: str, kind: str, language: str | None) -> RawPair:
    return RawPair(
        record["question_text"], positive, kind, None, language, language, _identity(record), record.get("document_url")
    )


def _number(record: Any, name: str) -> int:
    value = record.get(name) if type(record) is dict else None
    if type(value) is not int:
        raise BadRecord("wrong_type", f"{name}: expected a number")
    return value


def _cut(article: bytes, span: Any) -> str:
    """The text between two bytes; none where the span says -1. Raises BadRecord where it is none of the article."""
    start, end = _number(span, "plaintext_start_byte"), _number(span, "plaintext_end_byte")
    if start < 0 or end < 0:
        return ""
    if not start <= end <= len(article):
        raise BadRecord("wrong_value", f"bytes {start} to {end} of an article of {len(article)}")
    try:
        return article[start:end].decode()
    except UnicodeDecodeError as error:
        raise BadRecord("wrong_value", f"bytes {start} to {end} cut a character") from error


def _language(record: Record) -> str | None:
    return TYDI_LANGUAGES.get((record.get("language") or "").lower())


def _identity(record: Record) -> str | None:
    return record_id("tydiqa", record.get("document_title"))


def _document(record: Record, settings: TydiSettings) -> RawDocument:
    return RawDocument(
        record.get("document_title"),
        record["document_plaintext"],
        _language(record),
        _identity(record),
        record.get("document_url"),
    )


SOURCE: Final = record_source(
    name="tydiqa",
    summary="questions in 11 languages with the passages of Wikipedia that answer them (TyDi QA)",
    kinds=SQUAD_KINDS,
    usual_kinds=("question_context",),
    languages="Arabic, Bengali, English, Finnish, Indonesian, Japanese, Korean, Russian, Swahili, Telugu, Thai: as the records"
    " say",
    layout="tydiqa-v1.0-{train,dev}.jsonl.gz: question_text, language, document_title, document_url, document_plaintext,"
    " passage_answer_candidates[], annotations[]; tydiqa-goldp-v1.1-{train,dev}.json",
    license="Apache-2.0",
    obtain="https://github.com/google-research-datasets/tydiqa",
    verified="real rows of the primary task, a few of the gold passages",
    layouts=(
        Layout(
            {"question_text": str, "document_plaintext": str, "passage_answer_candidates": list, "annotations": list},
            _pairs,
            {"language": str, "document_title": str, "document_url": str},
            _document,
        ),
        *SquadFile("tydiqa").layouts(),
    ),
    Settings=TydiSettings,
    format=SQUAD_FORMAT,
)

"""Natural Questions: questions asked of a search engine with the long answers marked in a page of Wikipedia.

(question, long answer) as question_context; (question, short answer) as question_answer where `kinds` asks for it. A
page comes as tokens, tags among them: the tags are left out and the tokens joined as running text. A question without
a long answer is no pair, and a mere yes or no is no short answer. Where several people marked the page (the
development files) each different answer counts once.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote

from pydantic import Field

from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, field_of, record_id, record_source, text_of
from sources.wiki.wikitext import unescape_entities

_TAG: Final = re.compile(r"</?[A-Za-z][^<>]*>")
_TITLE: Final = re.compile(r"[?&;]title=([^&;]+)")
# The tokens are those of the Penn Treebank: `` and '' for quotes, blanks around punctuation.
_BLANK_BEFORE: Final = re.compile(r" ([.,;:!?%)\]}]|'s\b|n't\b|'(?:re|ve|ll|d|m)\b|'')(?![.\w])")
_BLANK_AFTER: Final = re.compile(r"(``|[(\[{$]) ")

Span = tuple[int, int]


class NaturalQuestionsSettings(RecordSettings):
    """Settings of the source natural_questions."""

    paragraphs_only: bool = Field(False, description="leave out the long answers that are tables or lists")


def _simplified(record: Record, settings: NaturalQuestionsSettings) -> Iterator[RawPair]:
    tokens = record["document_text"].split(" ") if record["document_text"] else []
    yield from _pairs(record["question_text"], tokens, record, record["annotations"] or [], settings)


def _full(record: Record, settings: NaturalQuestionsSettings) -> Iterator[RawPair]:
    tokens = [field_of(token, "token", str) for token in record["document_tokens"] or ()]
    yield from _pairs(record["question_text"], tokens, record, record["annotations"] or [], settings)


def _row(record: Record, settings: NaturalQuestionsSettings) -> Iterator[RawPair]:
    page, marked = record["document"], record["annotations"]
    tokens = field_of(field_of(page, "tokens", dict), "token", list)
    longs, shorts = field_of(marked, "long_answer", list), field_of(marked, "short_answers", list)
    if len(longs) != len(shorts):
        raise BadRecord("wrong_value", f"annotations: {len(longs)} long answers, {len(shorts)} lists of short ones")
    annotations = [
        {"long_answer": long, "short_answers": _spans_of_columns(short)}
        for long, short in zip(longs, shorts, strict=True)
    ]
    place = {"document_url": page.get("url"), "document_title": page.get("title"), "example_id": record.get("id")}
    yield from _pairs(field_of(record["question"], "text", str), tokens, place, annotations, settings)


def _spans_of_columns(short: Any) -> list[dict[str, Any]]:
    starts, ends = field_of(short, "start_token", list), field_of(short, "end_token", list)
    if len(starts) != len(ends):
        raise BadRecord("wrong_value", f"short_answers: {len(starts)} starts, {len(ends)} ends")
    return [{"start_token": start, "end_token": end} for start, end in zip(starts, ends, strict=True)]


def _pairs(
    question: str,
    tokens: Sequence[Any],
    place: Record,
    annotations: list[Any],
    settings: NaturalQuestionsSettings,
) -> Iterator[RawPair]:
    url = unescape_entities(place["document_url"]) if type(place.get("document_url")) is str else None
    identity = _identity(place, url)
    longs: dict[Span, None] = {}
    shorts: dict[Span, None] = {}
    for annotation in annotations:
        if span := _span(field_of(annotation, "long_answer", dict), len(tokens)):
            longs[span] = None
        for short in field_of(annotation, "short_answers", list):
            if span := _span(short, len(tokens)):
                shorts[span] = None
    for start, end in longs:
        if settings.paragraphs_only and text_of(tokens[start], "tokens").upper() != "<P>":
            continue
        text = _running_text(tokens[start:end])
        yield RawPair(question, text, "question_context", document_id=identity, url=url)
    given: set[str] = set()  # the same answer may stand in several places
    for start, end in shorts:
        text = _running_text(tokens[start:end])
        if text not in given:
            given.add(text)
            yield RawPair(question, text, "question_answer", document_id=identity, url=url)


def _span(place: Any, length: int) -> Span | None:
    """First token and the one after the last; None where there is no answer. Raises BadRecord outside of the page."""
    start, end = (place.get(name) if type(place) is dict else None for name in ("start_token", "end_token"))
    if type(start) is not int or type(end) is not int:
        raise BadRecord("wrong_type", "expected an answer with the numbers start_token and end_token")
    if start < 0 or end < 0:
        return None
    if not start < end <= length:
        raise BadRecord("wrong_value", f"an answer from token {start} to {end} of {length}")
    return start, end


def _running_text(tokens: Sequence[Any]) -> str:
    words = (text_of(token, "tokens") for token in tokens)
    text = " ".join(word for word in words if not _TAG.fullmatch(word))
    text = _BLANK_AFTER.sub(r"\1", _BLANK_BEFORE.sub(r"\1", text))
    return text.replace("``", '"').replace("''", '"')


def _identity(place: Record, url: str | None) -> str | None:
    """The article: its title, as the file or the address of its page says it; else the question."""
    title = place.get("document_title")
    if not title and url and (match := _TITLE.search(url)):
        title = unquote(match[1]).replace("_", " ")
    return record_id("natural_questions", title) or record_id("natural_questions:example", place.get("example_id"))


SOURCE: Final = record_source(
    name="natural_questions",
    summary="questions asked of a search engine with answers marked in pages of Wikipedia (Natural Questions)",
    kinds=("question_context", "question_answer"),
    usual_kinds=("question_context",),
    languages="eng_Latn",
    layout="v1.0-simplified_simplified-nq-train.jsonl: document_text, question_text, annotations[{long_answer{start_token,"
    " end_token}, short_answers[]}], document_url, example_id; the full files with document_tokens[{token}]; hub rows",
    license="CC BY-SA 3.0",
    obtain="https://ai.google.com/research/NaturalQuestions/download",
    verified="the corpus's README (full files) and data card (hub rows); the simplified file from memory",
    layouts=(
        Layout({"document_text": str, "question_text": str, "annotations": list}, _simplified),
        Layout({"document_tokens": list, "question_text": str, "annotations": list}, _full),
        Layout({"document": dict, "question": dict, "annotations": dict}, _row),
    ),
    Settings=NaturalQuestionsSettings,
    language="eng_Latn",
)

"""DuReader 2.0: questions asked of Baidu's search engine with up to five found pages each.

The positive is the paragraph of a page that agrees most with the answers: documents[answer_docs[i]] and its
`most_related_para`. Where the files hold no such fields (the raw ones do not), it is the whole text of each page from
which the annotators took their answer (`is_selected`). With `positives: selected` these pages count where both are
there. (question, answer) and (page title, page text) come where `kinds` asks for them. A page that was not selected
was judged by nobody, so there are no negatives. DuReader-robust and -checklist are in SQuAD's layout: source squad.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from pydantic import Field

from sources.families.answers import answer_texts
from sources.formats.json_records import shown
from sources.record_formats import Record
from sources.records import (
    BadRecord,
    Layout,
    RawPair,
    RecordSettings,
    field_of,
    joined_texts,
    record_id,
    record_source,
    text_of,
)


class DuReaderSettings(RecordSettings):
    """Settings of the source dureader."""

    positives: Literal["answer_docs", "selected"] = Field(
        "answer_docs", description="positives: the pages that agree most with the answers, or all that annotators used"
    )


def _pairs(record: Record, settings: DuReaderSettings) -> Iterator[RawPair | BadRecord]:
    question, documents = record["question"], record["documents"] or []
    identity = record_id("dureader", record.get("question_id"))
    for number in _positives(record, documents, settings):
        try:
            positive = _passage(documents[number])
        except BadRecord as error:
            yield error
            continue
        yield RawPair(question, positive, "question_context", document_id=_page(identity, number))
    for answer in answer_texts(record.get("answers")):
        yield RawPair(question, answer, "question_answer", document_id=identity)
    if "title_body" in (settings.kinds or ()):
        for number, document in enumerate(documents):
            yield RawPair(
                field_of(document, "title", str), _text(document), "title_body", document_id=_page(identity, number)
            )


def _positives(record: Record, documents: list[Any], settings: DuReaderSettings) -> list[int]:
    """The places of the positive pages among the documents. Raises BadRecord where a place is none of the list."""
    places = record.get("answer_docs")
    if places is None or settings.positives == "selected":
        return [place for place, page in enumerate(documents) if type(page) is dict and page.get("is_selected") is True]
    for place in places:
        if type(place) is not int or not 0 <= place < len(documents):
            raise BadRecord("wrong_value", f"answer_docs: {shown(place)} is none of {len(documents)} documents")
    return list(dict.fromkeys(places))


def _page(identity: str | None, number: int) -> str | None:
    return f"{identity}:{number}" if identity else None


def _passage(document: Any) -> str:
    paragraphs = field_of(document, "paragraphs", list)
    place = document.get("most_related_para")
    if place is None or type(place) is not int:
        return _text(document)
    if not 0 <= place < len(paragraphs):
        raise BadRecord("wrong_value", f"most_related_para: {place} is none of {len(paragraphs)} paragraphs")
    return text_of(paragraphs[place], "paragraphs")


def _text(document: Any) -> str:
    return joined_texts(field_of(document, "paragraphs", list), "\n", "paragraphs")


SOURCE: Final = record_source(
    name="dureader",
    summary="Chinese questions of search users with found pages and written answers (DuReader 2.0)",
    kinds=("question_context", "question_answer", "title_body"),
    usual_kinds=("question_context",),
    languages="zho_Hans",
    layout="JSON lines {search,zhidao}.{train,dev}.json: question, question_id, documents[{title, paragraphs[], is_selected,"
    " most_related_para}], answers[], answer_docs[]",
    license="Apache-2.0",
    obtain="https://github.com/baidu/DuReader/tree/master/DuReader-2.0",
    verified="real rows of the preprocessed files; the raw ones from the corpus's README",
    layouts=(Layout({"question": str, "documents": list}, _pairs, {"answers": list, "answer_docs": list}),),
    Settings=DuReaderSettings,
    language="zho_Hans",
)

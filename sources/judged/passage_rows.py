"""Rows of a question with its passages, as Mr. TyDi, MIRACL and MLDR have them: query, positive_passages, negative_passages."""

from collections.abc import Iterator
from typing import Any

from sources.record_formats import Record
from sources.records import Layout, RawPair, field_of


def passage_rows(name: str, document_end: str | None = None) -> Layout:
    """The layout of a corpus's rows: a pair for each positive passage, all with the row's negatives.

    A passage's title is put before its text unless the settings' `with_title` says no; `max_negatives` is theirs too. A
    document's id is the corpus's name and the passage's id up to `document_end`.
    """

    def pairs(record: Record, settings: Any) -> Iterator[RawPair]:
        passages = record.get("negative_passages") or ()
        negatives = [_text(passage, settings) for passage in passages[: settings.max_negatives]]
        for passage in record["positive_passages"] or ():
            text = _text(passage, settings)
            number = field_of(passage, "docid", str)
            document = number.partition(document_end)[0] if document_end else number
            yield RawPair(record["query"], text, negatives=negatives or None, document_id=f"{name}:{document}")

    return Layout({"query": str, "positive_passages": list}, pairs, {"negative_passages": list})


def _text(passage: Any, settings: Any) -> str:
    text = field_of(passage, "text", str)
    title = passage.get("title")
    return f"{title} {text}" if settings.with_title and type(title) is str else text

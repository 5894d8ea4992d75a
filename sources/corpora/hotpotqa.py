"""HotpotQA: questions that need two articles of Wikipedia.

Positives are the paragraphs of the context whose titles `supporting_facts` names, one pair each, though each alone
answers only a part; the other paragraphs of the context, chosen to distract, are the negatives. A supporting article
that the context lacks (in the fullwiki files a search chose it) gives no pair, nor do test questions, whose facts are
kept back.
"""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import Field

from sources.families.answers import answer_texts
from sources.formats.json_records import type_name
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


class HotpotSettings(RecordSettings):
    """Settings of the source hotpotqa."""

    with_title: bool = Field(True, description="put the article's title before its paragraph")
    max_negatives: int = Field(16, ge=0, description="most negatives of a question, in the order of the context")


def _pairs(record: Record, settings: HotpotSettings) -> Iterator[RawPair]:
    question = record["question"]
    wanted = set(_titles(record.get("supporting_facts")))
    paragraphs = [_paragraph(title, sentences, settings) for title, sentences in _context(record["context"])]
    negatives = [text for title, text in paragraphs if title not in wanted][: settings.max_negatives]
    for title, text in paragraphs:
        if title in wanted:
            yield RawPair(question, text, "question_context", negatives, document_id=f"hotpotqa:{title}")
    for answer in answer_texts(record.get("answer")):
        yield RawPair(question, answer, "question_answer", document_id=_identity(record))


def _titles(facts: Any) -> list[str]:
    """Of the files: [title, sentence number] each; of the hub's rows: {"title": [...], "sent_id": [...]}."""
    if facts is None:
        return []
    if type(facts) is dict:
        return [text_of(title, "supporting_facts") for title in field_of(facts, "title", list)]
    if type(facts) is not list:
        raise BadRecord("wrong_type", f"supporting_facts: expected a list, found {type_name(facts)}")
    return [text_of(fact[0] if type(fact) is list and fact else fact, "supporting_facts") for fact in facts]


def _context(context: Any) -> Iterator[tuple[Any, Any]]:
    """Title and sentences of each paragraph."""
    if type(context) is dict:
        titles, sentences = field_of(context, "title", list), field_of(context, "sentences", list)
        if len(titles) != len(sentences):
            raise BadRecord("wrong_value", f"context: {len(titles)} titles, {len(sentences)} lists of sentences")
        yield from zip(titles, sentences, strict=True)
        return
    for entry in context or ():
        if type(entry) is not list or len(entry) != 2:
            raise BadRecord("wrong_type", "context: expected lists of a title and its sentences")
        yield entry[0], entry[1]


def _paragraph(title: Any, sentences: Any, settings: HotpotSettings) -> tuple[str, str]:
    if type(sentences) is not list:
        raise BadRecord("wrong_type", f"context: expected a list of sentences, found {type_name(sentences)}")
    text = joined_texts(sentences, " ", "context")
    name = text_of(title, "context")
    return name, f"{name} {text}" if settings.with_title and text.strip() else text


def _identity(record: Record) -> str | None:
    return record_id("hotpotqa:question", record.get("_id", record.get("id")))


SOURCE: Final = record_source(
    name="hotpotqa",
    summary="questions that need two articles of Wikipedia, with the paragraphs and distractors",
    kinds=("question_context", "question_answer"),
    usual_kinds=("question_context",),
    languages="eng_Latn",
    layout="hotpot_train_v1.1.json, hotpot_dev_{distractor,fullwiki}_v1.json: a list of {_id, question, answer,"
    " supporting_facts[[title, sentence]], context[[title, [sentences]]]}; or hub rows",
    license="CC BY-SA 4.0",
    obtain="https://hotpotqa.github.io/",
    verified="the corpus's README and made-up rows of its layout; hub rows from memory",
    layouts=(
        Layout({"question": str, "context": list}, _pairs, {"answer": str}),
        Layout({"question": str, "context": dict}, _pairs, {"answer": str, "supporting_facts": dict}),
    ),
    Settings=HotpotSettings,
    language="eng_Latn",
)

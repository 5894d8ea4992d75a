"""MKQA: 10,000 questions of Natural Questions in 26 languages, with short answers: (question, answer) of each language.

A question whose answer is a long one or unknown has no answer text and so gives no such pair. Where `kinds` asks for
parallel, the English question comes with that of each other language. The evaluation files of BGE-M3 (one a language,
named by its code) are read too.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final

from pydantic import Field

from sources.families.answers import answer_texts
from sources.files.reading import base_name
from sources.languages import language_code
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, field_of, record_id, record_source
from sources.source import Split

_NAMED_BY_LANGUAGE: Final = re.compile(r"([a-z]{2}(?:_[a-z]{2})?)\.jsonl?")


class MkqaSettings(RecordSettings):
    """Settings of the source mkqa."""

    languages: tuple[str, ...] | None = Field(None, description="languages to take, e.g. [de, zh_cn]; default: all 26")


def _layouts(split: Split, settings: MkqaSettings) -> Sequence[Layout]:
    wanted = None if settings.languages is None else frozenset(language_code(tag) for tag in settings.languages)
    match = _NAMED_BY_LANGUAGE.fullmatch(base_name(split.path).lower())
    return (
        Layout({"queries": dict, "answers": dict}, partial(_pairs, wanted), {"query": str}),
        Layout({"question": str, "answers": list}, partial(_of_one_language, match[1] if match else None)),
    )


def _pairs(wanted: frozenset[str] | None, record: Record, settings: MkqaSettings) -> Iterator[RawPair | BadRecord]:
    identity = record_id("mkqa", record.get("example_id"))
    questions, answers = record["queries"] or {}, record["answers"] or {}
    english = record.get("query") or questions.get("en")
    for tag in questions:
        if wanted is not None and language_code(tag) not in wanted:
            continue
        try:
            question = field_of(questions, tag, str)
            texts = answer_texts(answers.get(tag))
        except BadRecord as error:
            yield error
            continue
        for text in texts:
            yield RawPair(question, text, "question_answer", None, tag, tag, identity)
        if tag != "en" and type(english) is str:
            yield RawPair(english, question, "parallel", None, "en", tag, identity)


def _of_one_language(language: str | None, record: Record, settings: MkqaSettings) -> Iterator[RawPair]:
    identity = record_id("mkqa", record.get("id"))
    for text in answer_texts(record["answers"]):
        yield RawPair(record["question"], text, "question_answer", None, language, language, identity)


SOURCE: Final = record_source(
    name="mkqa",
    summary="questions of Natural Questions with short answers in 26 languages (MKQA)",
    kinds=("question_answer", "parallel"),
    usual_kinds=("question_answer",),
    languages="26, as the records say",
    layout="mkqa.jsonl.gz or hub rows: example_id, query, queries{language}, answers{language: [{type, text, aliases[]}]};"
    " {language}.jsonl: id, question, answers[]",
    license="CC BY-SA 3.0",
    obtain="https://github.com/apple/ml-mkqa",
    verified="a few real rows; the files of one language from memory",
    layouts=_layouts,
    Settings=MkqaSettings,
)

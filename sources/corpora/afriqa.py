"""AfriQA: questions in ten African languages about passages of the English or French Wikipedia.

The gold passages: (question, passage) across languages, and the question's translation with the passage, which is in
its language. Answers, where `kinds` asks for question_answer: in both languages, each with the question of its own.
The files with questions only give just those. The languages are in the file names:
gold_span_passages.afriqa.swa.en.train.json.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from sources.families.answers import answer_texts
from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_id, record_source
from sources.source import Split

LONGEST_LIST: Final = 10_000  # characters of a list of answers; a parsed one takes a hundred times its text
_NAME: Final = re.compile(r"afriqa\.([a-z]{2,3})\.(en|fr)\.")

Languages = tuple[str | None, str | None]  # of the question and of its translation


def _layouts(split: Split, settings: RecordSettings) -> Sequence[Layout]:
    match = _NAME.search(split.path.lower().rsplit("/", 1)[-1])
    languages: Languages = (match[1], match[2]) if match else (None, None)
    return (
        Layout(
            {"context": str, "question_lang": str, "question_translated": str},
            partial(_of_passage, languages),
            {"title": str, "answer_lang": str, "answer_pivot": dict},
        ),
        Layout({"question": str, "translated_question": str}, partial(_of_question, languages), {"lang": str}),
    )


def _of_passage(languages: Languages, record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    own, pivot = languages
    context, question, translation = record["context"], record["question_lang"], record["question_translated"]
    identity = record_id("afriqa", record.get("title"))
    yield RawPair(question, context, "question_context", None, own, pivot, identity)
    yield RawPair(translation, context, "question_context", None, pivot, pivot, identity)
    for answer in answer_texts(record.get("answer_lang")):
        yield RawPair(question, answer, "question_answer", None, own, own, identity)
    for answer in answer_texts(record.get("answer_pivot")):
        yield RawPair(translation, answer, "question_answer", None, pivot, pivot, identity)


def _of_question(languages: Languages, record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    own, pivot = record.get("lang") or languages[0], languages[1]
    for answer in answer_texts(_listed(record.get("answers"))):
        yield RawPair(record["question"], answer, "question_answer", None, own, own)
    for answer in answer_texts(_listed(record.get("translated_answer"))):
        yield RawPair(record["translated_question"], answer, "question_answer", None, pivot, pivot)


def _listed(answers: Any) -> Any:
    """The files write a list of answers as the text of a Python list; anything else is an answer as it stands."""
    if type(answers) is not str or not answers.startswith("[") or len(answers) > LONGEST_LIST:
        return answers
    try:
        listed = ast.literal_eval(answers)
        "".join(listed).encode()  # texts, and no halves of a character: only Python's own notation can write these
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return answers
    return listed


SOURCE: Final = record_source(
    name="afriqa",
    summary="questions in ten African languages about the English and French Wikipedia (AfriQA)",
    kinds=("question_context", "question_answer"),
    usual_kinds=("question_context",),
    languages="Bemba, Fon, Hausa, Igbo, Kinyarwanda, Swahili, Twi, Wolof, Yoruba, Zulu with English or French: as the file names"
    " say",
    layout="gold_span_passages.afriqa.{language}.{en,fr}.{split}.json, JSON lines: context, title, question_lang,"
    " question_translated, answer_lang, answer_pivot{text[]}; queries.afriqa.{language}.{en,fr}.{split}.json",
    license="CC BY 4.0",
    obtain="https://github.com/masakhane-io/afriqa",
    verified="real rows of the gold passages; the corpus's README for the files of questions",
    layouts=_layouts,
)

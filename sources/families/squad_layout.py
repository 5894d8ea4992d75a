"""The layout of SQuAD, which many corpora of reading comprehension share.

    articles     {"title", "paragraphs": [{"context", "qas": [...]}]}, each of qas
                 {"id", "question", "answers": [{"text"}], "is_impossible"}
    paragraphs   {"context", "qas": [...]}, as MRQA has them
    rows         {"id", "title", "context", "question", "answers": {"text": [...]}}, as data hubs have them

A question that its paragraph does not answer (`is_impossible`, or a list of answers that is empty) is no pair: the
corpus knows no positive for it. A question whose answers are kept back is a pair all the same.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from sources.families.answers import answer_texts
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, RawDocument, RawPair, RecordSettings, field_of, record_id
from sources.schema import text_id

SQUAD_FORMAT: Final = Format(within="data")
SQUAD_KINDS: Final = ("question_context", "question_answer")

# TyDi QA starts the ids of its questions with the language.
TYDI_LANGUAGES: Final = {
    "arabic": "ar",
    "bengali": "bn",
    "english": "en",
    "finnish": "fi",
    "indonesian": "id",
    "japanese": "ja",
    "korean": "ko",
    "russian": "ru",
    "swahili": "sw",
    "telugu": "te",
    "thai": "th",
}

# About one question in fifteen of ARCD begins with the mark of a list and ends with a lone article after its own mark.
_ARCD_MARKS: Final = re.compile(r"^\s*-\s+|(?<=؟)\s*ال\s*$")


@dataclass(frozen=True)
class SquadFile:
    """What is known of all questions of a file: the corpus, and the languages where the file tells them."""

    corpus: str
    question_language: str | None = None
    context_language: str | None = None

    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of the records of such a file."""
        return (
            Layout({"paragraphs": list}, self._of_article, {"title": str}, self._article),
            Layout({"context": str, "qas": list}, self._of_paragraph, {"title": str}),
            Layout({"context": str, "question": str}, self._of_row, {"title": str}),
            Layout({"header": dict}, self._of_header),
        )

    def _of_article(self, article: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
        identity = self._identity(article, None)
        for paragraph in article["paragraphs"] or ():
            try:
                context, questions = field_of(paragraph, "context", str), field_of(paragraph, "qas", list)
            except BadRecord as error:
                yield error
                continue
            yield from self._of_questions(questions, context, identity)

    def _of_paragraph(self, paragraph: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
        context = paragraph["context"] or ""
        yield from self._of_questions(paragraph["qas"] or [], context, self._identity(paragraph, context))

    def _of_row(self, row: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
        context = row["context"] or ""
        yield from self._of_question(row, context, self._identity(row, context))

    def _of_header(self, header: Record, settings: RecordSettings) -> Iterator[RawPair]:
        """The first line of MRQA's files says what they are."""
        yield from ()

    def _of_questions(self, questions: list[Any], context: str, identity: str | None) -> Iterator[RawPair | BadRecord]:
        for question in questions:
            try:
                pairs = self._of_question(question, context, identity)
            except BadRecord as error:
                yield error
            else:
                yield from pairs

    def _of_question(self, record: Any, context: str, identity: str | None) -> Iterable[RawPair]:
        question = field_of(record, "question", str)
        if self.corpus == "arcd":
            question = _ARCD_MARKS.sub("", question)
        given = record.get("answers")
        answers = answer_texts(given)
        if record.get("is_impossible") is True or (given is not None and not answers):
            return ()
        language = _language_of(record.get("id"))
        languages = language or self.question_language, language or self.context_language
        pairs = (RawPair(question, answer, "question_answer", None, *languages, identity) for answer in answers)
        return chain((RawPair(question, context, "question_context", None, *languages, identity),), pairs)

    def _article(self, article: Record, settings: RecordSettings) -> RawDocument:
        """The paragraphs as one text; those that cannot be used are quarantined with their questions already."""
        objects = (paragraph for paragraph in article["paragraphs"] or () if type(paragraph) is dict)
        contexts = (paragraph.get("context") for paragraph in objects)
        text = "\n\n".join(context for context in contexts if type(context) is str)
        return RawDocument(article.get("title"), text, self.context_language, self._identity(article, None))

    def _identity(self, record: Record, context: str | None) -> str | None:
        """The article: its title; of a paragraph without one, the text itself; else where the record lies."""
        if identity := record_id(self.corpus, record.get("title")):
            return identity
        return record_id(self.corpus, text_id(context).hex()) if context else None


def _language_of(question_id: Any) -> str | None:
    """The language that an id of TyDi QA starts with; of any other id None."""
    return TYDI_LANGUAGES.get(question_id.partition("-")[0]) if type(question_id) is str else None

"""CMRC 2018: Chinese questions about paragraphs of Wikipedia.

(question, paragraph), and (question, answer) where `kinds` asks for it. Its own layout and the squad-style one.
The document is the article, named by its title.
"""

from collections.abc import Iterator
from typing import Final

from sources.families.answers import answer_texts
from sources.families.squad_layout import SQUAD_FORMAT, SQUAD_KINDS, SquadFile
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, field_of, record_id, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
    context, identity = record["context_text"], record_id("cmrc2018", record.get("title") or record["context_id"])
    for question in record["qas"] or ():
        try:
            text = field_of(question, "query_text", str)
            answers = answer_texts(question.get("answers"))
        except BadRecord as error:
            yield error
            continue
        yield RawPair(text, context, "question_context", document_id=identity)
        for answer in answers:
            yield RawPair(text, answer, "question_answer", document_id=identity)


SOURCE: Final = record_source(
    name="cmrc2018",
    summary="Chinese questions about paragraphs of Wikipedia (CMRC 2018)",
    kinds=SQUAD_KINDS,
    usual_kinds=("question_context",),
    languages="zho_Hans",
    layout="cmrc2018_{train,dev,trial}.json: a list of {context_id, context_text, title, qas[{query_text, query_id, answers[]}]};"
    " also squad-style JSON and hub rows",
    license="CC BY-SA 4.0",
    obtain="https://github.com/ymcui/cmrc2018",
    verified="real rows of the own layout, a few of the squad-style one; hub rows from memory",
    layouts=(
        Layout({"context_id": str, "context_text": str, "qas": list}, _pairs, {"title": str}),
        *SquadFile("cmrc2018").layouts(),
    ),
    format=SQUAD_FORMAT,
    language="zho_Hans",
)

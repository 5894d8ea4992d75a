"""NQ-open: the questions of Natural Questions with their short answers, without documents: (question, answer)."""

from collections.abc import Iterator
from typing import Final

from sources.families.answers import answer_texts
from sources.record_formats import Record
from sources.records import Layout, RawPair, RecordSettings, record_source


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    for answer in answer_texts(record["answer"]):
        yield RawPair(record["question"], answer, "question_answer")


SOURCE: Final = record_source(
    name="nq_open",
    summary="questions asked of a search engine with their short answers (open-domain Natural Questions)",
    kinds=("question_answer",),
    languages="eng_Latn",
    layout="NQ-open.{train,dev}.jsonl or hub rows: question, answer[]",
    license="CC BY-SA 3.0",
    obtain="https://github.com/google-research-datasets/natural-questions/tree/master/nq_open",
    verified="a few real rows of the JSON lines",
    layouts=(Layout({"question": str, "answer": list}, _pairs),),
    language="eng_Latn",
)

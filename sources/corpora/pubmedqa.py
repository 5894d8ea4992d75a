"""PubMedQA: titles of papers that are questions, with the abstract before its conclusion and the conclusion itself.

(question, abstract without its conclusion) as question_context, (question, conclusion) as question_answer. The
labelled, unlabelled and artificial parts (PQA-L, -U, -A) have one layout. The document is the paper, named by its
PubMed id.
"""

from collections.abc import Iterator
from typing import Any, Final

from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, field_of, joined_texts, record_id, record_source


def _of_paper(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    paper = record["value"]
    question = field_of(paper, "QUESTION", str)
    yield from _pairs(question, field_of(paper, "CONTEXTS", list), paper.get("LONG_ANSWER"), record["key"])


def _of_row(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    contexts = field_of(record["context"], "contexts", list)
    yield from _pairs(record["question"], contexts, record.get("long_answer"), record.get("pubid"))


def _pairs(question: str, contexts: list[Any], conclusion: Any, identity: Any) -> Iterator[RawPair]:
    paper = record_id("pubmedqa", identity)
    abstract = joined_texts(contexts, " ", "contexts")
    yield RawPair(question, abstract, "question_context", document_id=paper)
    if conclusion is not None:
        if type(conclusion) is not str:
            raise BadRecord("wrong_type", "the long answer is no text")
        yield RawPair(question, conclusion, "question_answer", document_id=paper)


SOURCE: Final = record_source(
    name="pubmedqa",
    summary="biomedical questions with abstracts and their conclusions",
    kinds=("question_context", "question_answer"),
    languages="eng_Latn",
    layout="ori_pqa{l,u,a}.json: {PubMed id: {QUESTION, CONTEXTS[], LONG_ANSWER, ...}}; or hub rows pubid, question,"
    " context{contexts[]}, long_answer",
    license="MIT",
    obtain="https://github.com/pubmedqa/pubmedqa",
    verified="real rows of PQA-L, a few of PQA-U and PQA-A; hub rows from memory",
    layouts=(
        Layout({"key": str, "value": dict}, _of_paper),
        Layout({"question": str, "context": dict}, _of_row),
    ),
    format=Format(members=True),
    language="eng_Latn",
)

"""LAW-GPT (LiuHC0428/LAW-GPT): Chinese questions of law with answers, and the articles that those rest on.

The pair is (question, answer). The kind `question_context`, when asked for, gives (question, article) for each reference.
"""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, record_source, text_of


def _pairs(record: Record, settings: RecordSettings) -> Iterator[RawPair | BadRecord]:
    yield RawPair(record["question"], record["answer"])
    for index, reference in enumerate(record.get("reference") or ()):
        try:
            yield RawPair(record["question"], text_of(reference, f"reference[{index}]"), "question_context")
        except BadRecord as error:
            yield error


def _single_turn(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["input"], record["output"])


SOURCE: Final = record_source(
    name="law_gpt",
    summary="140,000 Chinese questions of law with answers",
    kinds=("question_answer", "question_context"),
    usual_kinds=("question_answer",),
    languages="zho_Hans",
    layout="JSON arrays (or lines): question, answer, reference (a list of texts); the single-turn file: input, output",
    license="none stated by the publisher",
    obtain="https://github.com/LiuHC0428/LAW-GPT",
    verified="the corpus's README (question, answer, reference); input, output: memory only",
    layouts=(
        Layout({"question": str, "answer": str}, _pairs, {"reference": list}),
        Layout({"input": str, "output": str}, _single_turn),
    ),
    language="zho_Hans",
)

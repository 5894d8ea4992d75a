"""Quora question pairs: duplicates make a pair; other questions are negatives of the pairs with the same first question."""

from collections.abc import Iterator
from typing import Final

from sources.families.negatives import RawNegative
from sources.families.similarity import similarity
from sources.record_formats import Format, Record
from sources.records import BadRecord, Layout, NegativesSettings, RawPair, field_of, record_id, record_source, text_of


def _row(record: Record, settings: NegativesSettings) -> Iterator[RawPair | RawNegative]:
    return similarity(
        record["question1"], record["question2"], record["is_duplicate"], record_id("quora", record.get("qid2"))
    )


def _hub_row(record: Record, settings: NegativesSettings) -> Iterator[RawPair | RawNegative]:
    texts, ids = field_of(record["questions"], "text", list), field_of(record["questions"], "id", list)
    if len(texts) != 2 or len(ids) != 2:
        raise BadRecord("wrong_type", f"questions: expected two, found {len(texts)} texts and {len(ids)} ids")
    first, second = (text_of(text, "text") for text in texts)
    return similarity(first, second, record["is_duplicate"], record_id("quora", ids[1]))


SOURCE: Final = record_source(
    name="quora",
    summary="400,000 pairs of English questions, duplicates or not",
    kinds=("question_question",),
    languages="eng_Latn",
    layout="quora_duplicate_questions.tsv or train.csv: id, qid1, qid2, question1, question2, is_duplicate; "
    "hub rows: questions (id, text), is_duplicate",
    license="Quora's terms: non-commercial use",
    obtain="https://quoradata.quora.com/First-Quora-Dataset-Release-Question-Pairs",
    verified="real rows (the table); hub rows: memory only",
    layouts=(
        *(Layout({"question1": str, "question2": str, "is_duplicate": kind}, _row) for kind in (str, int, bool)),
        *(Layout({"questions": dict, "is_duplicate": kind}, _hub_row) for kind in (bool, int)),
    ),
    Settings=NegativesSettings,
    language="eng_Latn",
    format=Format(other="tsv", quoting=True),
    gathers_negatives=True,
)

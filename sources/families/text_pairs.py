"""Rows whose field names alone say what they are: the names that sets of training pairs use, and the kinds they mean."""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from pydantic import Field, field_validator

from sources.families.similarity import number_of
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, text_of
from sources.schema import KINDS

_NEGATIVES: Final = re.compile(r"negatives?|negative_\d+")
_JUDGED: Final = ("paraphrase", "question_question")  # kinds whose rows may have a score or a label
# Query, positive, kind; the first pair of names that a record has counts.
FIELD_PAIRS: Final = (
    ("anchor", "positive", "other"),
    ("query", "positive", "other"),
    ("query", "answer", "question_answer"),
    ("question", "answer", "question_answer"),
    ("question", "context", "question_context"),
    ("query", "context", "question_context"),
    ("query", "passage", "question_context"),
    ("question1", "question2", "question_question"),
    ("title", "abstract", "title_abstract"),
    ("title", "passage", "title_body"),
    ("title", "content", "title_body"),
    ("title", "body", "title_body"),
    ("title", "text", "title_body"),
    ("summary", "text", "summary_body"),
    ("text", "simplified", "paraphrase"),
    ("instruction", "output", "instruction_output"),
    ("inputs", "targets", "instruction_output"),
    ("comment", "code", "docstring_code"),
    ("english", "non_english", "parallel"),
    ("sentence1", "sentence2", "paraphrase"),
    ("sentence_a", "sentence_b", "paraphrase"),
    ("text1", "text2", "paraphrase"),
)


class TextPairSettings(RecordSettings):
    """Settings of sources that hold pairs of many kinds."""

    kind: str | None = Field(
        None, description="kind of every pair, e.g. question_answer; default: what the names of the fields say"
    )

    min_score: float = Field(
        0.8, description="least score (or label) of a pair in rows of two sentences that have one, on the file's scale"
    )

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str | None) -> str | None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
        return kind


def field_pair_layouts() -> tuple[Layout, ...]:
    """A layout for each of FIELD_PAIRS; the fields negative, negative_1 ... negative_n and negatives hold negatives.

    Rows of two sentences with `score` or `label` are pairs from `min_score` on; the score is the pair's label.
    """
    return tuple(
        Layout({query: str, positive: str}, _pairs(query, positive, kind)) for query, positive, kind in FIELD_PAIRS
    )


def positives_layout() -> Layout:
    """The layout of {"query", "pos": [...], "neg": [...]}: a pair for each positive."""

    def pairs(record: Record, settings: TextPairSettings) -> Iterator[RawPair | BadRecord]:
        kind = settings.kind or "other"
        return positives_of(record["query"], record["pos"] or [], negatives=record.get("neg"), kind=kind)

    return Layout({"query": str, "pos": list}, pairs, {"neg": list})


def _pairs(query: str, positive: str, kind: str) -> Callable[[Record, Any], Iterator[RawPair]]:
    def pairs(record: Record, settings: TextPairSettings) -> Iterator[RawPair]:
        judged = next((name for name in ("score", "label") if name in record), None) if kind in _JUDGED else None
        score = number_of(record[judged]) if judged else None
        if judged is None or (score is not None and score >= settings.min_score):
            yield RawPair(
                record[query], record[positive], settings.kind or kind, negatives=_negatives(record), label=score
            )

    return pairs


def _negatives(record: Record) -> list[str] | None:
    """The texts of `negative`, `negative_1` ... `negative_n`, `negatives`, each a text or a list of them."""
    found: list[str] = []
    for name, value in record.items():
        if value is None or not name.startswith("negative") or not _NEGATIVES.fullmatch(name):
            continue
        found += texts_of(value, name) if type(value) is list else [text_of(value, name)]
    return found or None


def texts_of(values: list[Any], what: str) -> list[str]:
    """A list that must hold texts. Raises BadRecord where it does not."""
    for value in values:
        if type(value) is not str:
            text_of(value, what)
    return values


def positives_of(
    query: str | None,
    positives: list[Any],
    *,
    negatives: list[Any] | None,
    kind: str,
    labels: list[float] | None = None,
) -> Iterator[RawPair | BadRecord]:
    """A pair for each positive of a query, with all of its negatives; none at all gives one with an empty positive.

    A positive that is no text is a bad part of the record. Raises BadRecord for such a negative.
    """
    texts = texts_of(negatives, "neg") if negatives else None
    if not positives:
        yield RawPair(query, None, kind, negatives=texts)
    for index, positive in enumerate(positives):
        try:
            text = text_of(positive, f"pos[{index}]")
        except BadRecord as error:
            yield error
            continue
        yield RawPair(query, text, kind, negatives=texts, label=labels[index] if labels else None)

"""The training files of DPR: Natural Questions, TriviaQA, SQuAD and others with passages of Wikipedia of 100 words.

The positive is the first of `positive_ctxs`: the gold passage in Natural Questions, else the best-ranked one that
holds an answer; `max_positives` takes more of them, which a search found and nobody read. Negatives are
`hard_negative_ctxs`, the best-ranked passages without an answer; `negatives` chooses. Files with `ctxs` (what a
reader gets: FiD, Lost in the Middle) are read too: positives are the passages with `isgold`, or without that field
those with `hasanswer` (`has_answer`); the negatives those without an answer. A question without a positive is no pair.
The document is the passage's article of Wikipedia.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from sources.families.answers import answer_texts
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings, field_of, record_id, record_source


class DprSettings(RecordSettings):
    """Settings of the source dpr."""

    with_title: bool = Field(True, description="put the article's title before the passage, as DPR's encoder has it")
    max_positives: int | None = Field(1, gt=0, description="most positives of a question; null: all")
    negatives: Literal["hard", "all", "none"] = Field("hard", description="which of the negative passages to keep")
    max_negatives: int = Field(16, ge=0, description="most negatives of a question, the best-ranked first")


def _training_pairs(record: Record, settings: DprSettings) -> Iterator[RawPair]:
    negatives: list[Any] = []
    if settings.negatives != "none":
        negatives = record.get("hard_negative_ctxs") or []
    if settings.negatives == "all":
        negatives = negatives + (record.get("negative_ctxs") or [])
    yield from _pairs(record, record["positive_ctxs"] or [], negatives, settings)


def _reader_pairs(record: Record, settings: DprSettings) -> Iterator[RawPair]:
    passages = record["ctxs"] or []
    judged = any(type(passage) is dict and "isgold" in passage for passage in passages)
    positives = [passage for passage in passages if (_is_gold(passage) if judged else _has_answer(passage))]
    negatives = [passage for passage in passages if not _is_gold(passage) and _has_answer(passage) is False]
    yield from _pairs(record, positives, negatives if settings.negatives != "none" else [], settings)


def _is_gold(passage: Any) -> bool:
    return type(passage) is dict and passage.get("isgold") is True


def _has_answer(passage: Any) -> bool | None:
    """None where the file does not say."""
    if type(passage) is not dict:
        raise BadRecord("wrong_type", "ctxs: expected objects")
    found = passage.get("hasanswer", passage.get("has_answer"))
    return found if type(found) is bool else None


def _pairs(record: Record, positives: Sequence[Any], negatives: list[Any], settings: DprSettings) -> Iterator[RawPair]:
    question = record["question"]
    texts = [_text(passage, settings) for passage in negatives[: settings.max_negatives]] or None
    for passage in positives[: settings.max_positives]:
        yield RawPair(question, _text(passage, settings), "question_context", texts, document_id=_article(passage))
    for answer in answer_texts(record.get("answers")):
        yield RawPair(question, answer, "question_answer")


def _text(passage: Any, settings: DprSettings) -> str:
    text = field_of(passage, "text", str)
    title = field_of(passage, "title", str) if settings.with_title and "title" in passage else ""
    return f"{title} {text}" if title else text


def _article(passage: Record) -> str | None:
    """Named as the source dpr_wikipedia names it."""
    return record_id("dpr_wikipedia", passage.get("title"))


SOURCE: Final = record_source(
    name="dpr",
    summary="questions with passages of Wikipedia and hard negatives (DPR's NQ, TriviaQA, SQuAD and other files)",
    kinds=("question_context", "question_answer"),
    usual_kinds=("question_context",),
    languages="eng_Latn",
    layout="biencoder-{nq,trivia,squad1,webquestions,curatedtrec}-{train,dev}.json: a list of {question, answers[],"
    " positive_ctxs[{title, text}], negative_ctxs[], hard_negative_ctxs[]}; or JSON lines {question, answers[], ctxs[{title,"
    " text, isgold, hasanswer}]}",
    license="CC BY-NC 4.0 (DPR's repository); questions and passages also have those of their corpora",
    obtain="https://github.com/facebookresearch/DPR",
    verified="real rows with ctxs; the training files from DPR's README",
    layouts=(
        Layout(
            {"question": str, "positive_ctxs": list},
            _training_pairs,
            {"answers": list, "negative_ctxs": list, "hard_negative_ctxs": list},
        ),
        Layout({"question": str, "ctxs": list}, _reader_pairs, {"answers": list}),
    ),
    Settings=DprSettings,
    language="eng_Latn",
)

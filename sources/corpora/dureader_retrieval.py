"""DuReader-retrieval: Chinese queries of a search engine with their passages and passages that a model found instead.

`dual.train.tsv` holds a query, its passage and one negative a row; the same pair comes in several rows, one after the
other. `cross.train.tsv` holds a query and a passage labelled 1 or 0: those labelled 0 are negatives of their query. The
JSON lines of dev (and of the original train) hold the passages of each query. A passage of the tables has no id there: a
hash of its text stands for it. The collection in parts holds passages that nobody judged, and makes no pairs: the texts
are in the files above.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from pydantic import Field

from sources.families.negatives import RawNegative
from sources.judged.judged_files import named_files, of_split
from sources.record_formats import Format, Record
from sources.records import (
    Layout,
    NegativesSettings,
    RawPair,
    field_of,
    record_source,
    text_of,
)
from sources.schema import text_id
from sources.source import InputFile, SourceError

_NAMES: Final = (
    "dual.{split:train}*.tsv",
    "cross.{split:train}*.tsv",
    "{split}*.json",
    "{split}*.jsonl",
)


class DureaderSettings(NegativesSettings):
    """Settings of the source."""

    split: Literal["train", "dev", "test"] = Field("train", description="whose files are read")


def _gather(paths: Sequence[str], settings: DureaderSettings) -> list[InputFile]:
    """The files of the split; of those of the tables, which hold the same pairs, the preferred one."""
    found = of_split(named_files(paths, _NAMES), settings.split)
    whole = [file for file in found if ".demo." not in file.path] or found
    chosen = [file for file in whole if file.preference == min(file.preference for file in whole)]
    if not chosen:
        raise SourceError(
            f"source dureader_retrieval: none of the {len(paths)} files holds pairs of {settings.split!r}: expected"
            f" {', '.join(_NAMES)}; found {', '.join(path.rpartition('/')[2] for path in paths[:10])}"
        )
    return [InputFile(file.path) for file in chosen]


def _triples(record: Record, settings: Any) -> Iterator[RawPair]:
    positive = record["positive"]
    yield RawPair(record["query"], positive, negatives=[record["negative"]], document_id=_identity(positive))


def _labelled(record: Record, settings: Any) -> Iterator[RawPair | RawNegative]:
    if record["label"].strip() == "1":
        yield RawPair(record["query"], record["passage"], document_id=_identity(record["passage"]))
    else:
        yield RawNegative(record["query"], record["passage"])


def _answered(record: Record, settings: Any) -> Iterator[RawPair]:
    for passage in record["answer_paragraphs"] or ():
        text = field_of(passage, "paragraph_text", str)
        number = text_of(passage.get("paragraph_id"), "paragraph_id")
        yield RawPair(record["question"], text, document_id=f"dureader_retrieval:{number}")


def _identity(passage: str) -> str:
    return f"dureader_retrieval:{text_id(passage).hex()}"


SOURCE: Final = record_source(
    name="dureader_retrieval",
    summary="Chinese queries of a search engine with their passages",
    kinds=("question_context",),
    languages="zho_Hans",
    layout=(
        "dual.train.tsv (query, empty, positive, empty, negative, 0), cross.train.tsv (query, empty, passage, label); or JSON"
        " lines {train,dev,test}*.json: question_id, question, answer_paragraphs (paragraph_id, paragraph_text)"
    ),
    license="Apache-2.0",
    obtain="https://github.com/baidu/DuReader/tree/master/DuReader-Retrieval",
    verified="the corpus's README",
    layouts=(
        Layout({"query": str, "positive": str, "negative": str}, _triples),
        Layout({"query": str, "passage": str, "label": str}, _labelled),
        Layout({"question": str, "answer_paragraphs": list}, _answered),
    ),
    Settings=DureaderSettings,
    language="zho_Hans",
    format=Format(
        columns=(
            ("query", "title", "positive", "negative title", "negative", "same for all"),
            ("query", "title", "passage", "label"),
        )
    ),
    gather=_gather,
    gathers_negatives=True,
)

"""CSL: 396,000 Chinese papers with title and abstract.

Pairs: (title, abstract). Of the benchmark's files those of `ts` (title from abstract) give pairs; rows of its other tasks
are known by their prompt and give none.
"""

from collections.abc import Iterator
from typing import Final

from sources.record_formats import Format, Record
from sources.records import Layout, RawPair, RecordSettings, record_id, record_source


def _papers(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["title"], record["abstract"], "title_abstract", document_id=_identity(record))


def _short_names(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    yield RawPair(record["title"], record["abst"], "title_abstract", document_id=_identity(record))


def _benchmark(record: Record, settings: RecordSettings) -> Iterator[RawPair]:
    if record["prompt"] == "to title":
        yield RawPair(record["text_b"], record["text_a"], "title_abstract")


def _identity(record: Record) -> str | None:
    return record_id("csl", record.get("doc_id") or record.get("id"))


SOURCE: Final = record_source(
    name="csl",
    summary="Chinese papers: titles and abstracts",
    kinds=("title_abstract",),
    languages="zho_Hans",
    layout="TSV without header: title, abstract, keywords, discipline, category (the corpus), or prompt, text_a, text_b"
    " (benchmark/ts); JSON lines or Parquet with title and abstract",
    license="for research, not commercial",
    obtain="https://github.com/ydli-ai/CSL",
    verified="benchmark/ts: real rows; the order of the corpus's columns: memory only",
    layouts=(
        Layout({"title": str, "abstract": str}, _papers),
        Layout({"title": str, "abst": str}, _short_names),
        Layout({"prompt": str, "text_a": str, "text_b": str}, _benchmark),
    ),
    language="zho_Hans",
    format=Format(
        other="tsv",
        columns=(("title", "abstract", "keywords", "discipline", "category"), ("prompt", "text_a", "text_b")),
    ),
)

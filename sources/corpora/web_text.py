"""Web pages with one text each: Dolma, FineWeb, FineWeb-2, CulturaX, SlimPajama and others of this kind.

Pairs: (title, text) where the record or its metadata has a title, as Dolma's Common Crawl part does; else the title that
the text begins with, and the rest (sources.families.own_title). A language score is kept as `positive_language_probability`.
"""

from collections.abc import Iterator
from typing import Any, Final

from sources.families.own_title import OwnTitleSettings, own_title_pairs, without_title
from sources.families.path_language import language_of_path
from sources.record_formats import Record
from sources.records import Layout, RawDocument, RawPair, record_id, record_source


def _pairs(record: Record, settings: OwnTitleSettings) -> Iterator[RawPair]:
    return own_title_pairs(
        record["text"],
        settings,
        title=_text(record, "title"),
        language=_language(record),
        document_id=_identity(record),
        url=_text(record, "url"),
        language_score=_found(record, "language_score"),
    )


def _document(record: Record, settings: OwnTitleSettings) -> RawDocument:
    title = _text(record, "title")
    text = without_title(title, record["text"])
    return RawDocument(title, text, _language(record), _identity(record), _text(record, "url"))


def _found(record: Record, name: str) -> Any:
    """A field of the record or of its metadata, where it has some that are an object."""
    if name in record:
        return record[name]
    metadata = record.get("metadata") or record.get("meta")
    return metadata.get(name) if type(metadata) is dict else None


def _text(record: Record, name: str) -> str | None:
    value = _found(record, name)
    return value if type(value) is str else None


def _language(record: Record) -> str | None:
    """FineWeb-2 writes language (rus) and script (Cyrl) apart."""
    language, script = _text(record, "language"), _text(record, "language_script")
    return f"{language}_{script}" if language and script else language


def _identity(record: Record) -> str | None:
    return record_id("web_text", record.get("id"))


SOURCE: Final = record_source(
    name="web_text",
    summary="Web pages with one text each: Dolma, FineWeb, FineWeb-2, CulturaX, SlimPajama",
    kinds=("title_body",),
    languages="as the records or the folders say",
    layout="JSON lines or Parquet: text, and where they are there id, url, title, language, language_script,"
    " language_score, also within metadata or meta",
    license="that of the corpus; the texts are their publishers'",
    obtain="https://huggingface.co/datasets/allenai/dolma, https://huggingface.co/datasets/HuggingFaceFW/fineweb-2",
    verified="real rows of Dolma; the others: memory only",
    layouts=(Layout({"text": str}, _pairs, document=_document),),
    Settings=OwnTitleSettings,
    language=language_of_path(r"(?:^|/)([a-z]{2}|[a-z]{3}_[A-Z][a-z]{3})/(?:[^/]+/)?[^/]*$"),
)

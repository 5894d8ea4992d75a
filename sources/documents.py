"""Whole documents, to have questions written about: JSON lines (or a table) of {"id", "title", "text", "language"}.

Unlike every other source this one keeps the line breaks of a text: they tell paragraphs from headings, tables, lists and
code. It makes no pairs.
"""

import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sources.collector import without_collector
from sources.files.reading import MAX_LINE, base_name, without_compression
from sources.formats.json_records import type_name
from sources.languages import UNKNOWN, language_code
from sources.record_formats import Format, Record, RecordBatch, open_records, record_splits
from sources.schema import DOCUMENT, QuarantineRows, normalise_text
from sources.source import Extracted, Source, SourceSettings, Split, extracted

NAME: Final = "documents"
_FORMAT: Final = Format()


class DocumentSettings(SourceSettings):
    """Settings of the source documents: the names of the fields. All but the text may lack."""

    documents: bool = Field(True, description="nothing else is made of these files")
    text: str = Field("text", description="field of the text")
    title: str = Field("title", description="field of the title")
    document_id: str = Field("id", description="field of the id, a text or a number; default id: file name and place")
    url: str = Field("url", description="field of the address")
    language_field: str = Field(
        "language", description="field of the language, e.g. de; else `language`, else measured"
    )
    license_field: str = Field("license", description="field of the licence; else `license`")
    max_record_bytes: int = Field(MAX_LINE, gt=0, description="a longer record is quarantined")


def plain_text(texts: pa.Array) -> pa.Array:
    """A text of a document: NFC without control characters, lines without blanks at their ends, paragraphs divided by one
    blank line. Blanks at the start of a line and between words stay: code and tables show by them. Nulls stay null."""
    lines = pc.replace_substring_regex(texts, pattern="\r\n?|\u2028|\u2029|\x0b|\x0c|\x85", replacement="\n")
    lines = pc.replace_substring_regex(lines, pattern="[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\ufeff]", replacement="")
    lines = pc.replace_substring_regex(lines, pattern="[ \t\u00a0]+(\n|$)", replacement="\\1")
    lines = pc.replace_substring_regex(lines, pattern="\n{3,}", replacement="\n\n")
    trimmed = pc.utf8_trim(lines, characters="\n").to_pylist()
    return pa.array([None if text is None else unicodedata.normalize("NFC", text) for text in trimmed], pa.string())


def splits(path: str, settings: DocumentSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of plain JSON lines; one split for a compressed file or an array."""
    return record_splits(path, _FORMAT, target_bytes)


def read(split: Split, settings: DocumentSettings) -> Iterator[Extracted]:
    """Stream the documents of a split. Raises SourceError where the file cannot be opened."""
    return without_collector(_read(split, settings))


def _read(split: Split, settings: DocumentSettings) -> Iterator[Extracted]:
    named = frozenset((settings.text, settings.title, settings.document_id, settings.url, settings.language_field))
    reader = open_records(split, _FORMAT, settings.max_record_bytes, frozenset({settings.text}), named)
    quarantine = QuarantineRows(settings.label or NAME, split.path, reader.unit)
    file = without_compression(split.name) if split.name else base_name(split.path)
    for batch in reader:
        documents = _documents(batch, file, settings, quarantine)
        yield extracted(
            len(batch.records), reader.position, documents=documents, quarantine=quarantine.take(), lost=batch.lost
        )
    if (fault := reader.fault) is not None:
        quarantine.add(fault.position, fault.reason, f"{fault.detail} | ".encode() + reader.cut_off, "byte")
        yield extracted(1, reader.position, quarantine=quarantine.take())


def _documents(batch: RecordBatch, file: str, settings: DocumentSettings, quarantine: QuarantineRows) -> pa.RecordBatch:
    bad, rows = dict(batch.bad), []
    for index, record in enumerate(batch.records):
        if record is not None:
            fault = _fault(record, settings)
            if fault is None:
                rows.append(_row(record, f"{file}:{batch.offsets[index]}", settings))
            else:
                bad[index] = fault
    for index, (reason, detail) in sorted(bad.items()):
        place, unit = batch.place(index)
        quarantine.add(place, reason, (f"{detail} | ".encode() if detail else b"") + batch.excerpt(index), unit)
    made = pa.RecordBatch.from_pylist(rows, DOCUMENT)
    texts = plain_text(made["text"])
    made = made.set_column(DOCUMENT.get_field_index("text"), DOCUMENT.field("text"), texts)
    titles = normalise_text(made["title"])
    made = made.set_column(DOCUMENT.get_field_index("title"), DOCUMENT.field("title"), titles)
    return made.filter(pc.not_equal(texts, ""))


def _fault(record: Record, settings: DocumentSettings) -> Any:
    """Why a record is no document: (reason, detail); None where it is one."""
    if settings.text not in record:
        return "missing_field", f"no {settings.text}; found {', '.join(list(record)[:20])[:100]}"
    for name in (settings.text, settings.title, settings.url, settings.language_field, settings.license_field):
        if not isinstance(record.get(name), str | None):
            return "wrong_type", f"{name}: expected a text, found {type_name(record[name])}"
    return None


def _row(record: Record, default_id: str, settings: DocumentSettings) -> dict[str, object]:
    identity = record.get(settings.document_id)
    told = type(identity) in (str, int) and identity != ""
    return {
        "document_id": str(identity) if told else default_id,
        "source": settings.label or NAME,
        "url": record.get(settings.url) or None,
        "title": record.get(settings.title) or None,
        "text": record[settings.text] or "",
        "language": language_code(record.get(settings.language_field) or settings.language or UNKNOWN),
        "license": record.get(settings.license_field) or settings.license,
        "sections": None,
    }


SOURCE: Final = Source(
    name=NAME,
    summary="whole documents with their line breaks, for the job synthesize; no pairs",
    kinds=(),
    languages="as the records say; else measured by synthesize",
    layout="*.jsonl, *.json, *.csv, *.parquet, also .gz .zst .bz2 .xz: text; title, id, url, language, license may lack",
    license="that of the files",
    obtain="your own files",
    Settings=DocumentSettings,
    splits=splits,
    read=read,
)

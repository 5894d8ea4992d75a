"""Bitexts: what corpora of sentence pairs in two languages have in common, as tables and as rows of the hub."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from sources.fields import default_ids
from sources.files.reading import base_name
from sources.formats.tab_separated import RowBlock
from sources.languages import language_code, language_pair
from sources.record_formats import Record
from sources.records import BadRecord, Layout, RawPair, RecordSettings
from sources.schema import SCORES, make_pairs
from sources.source import Extracted, SourceError, Split, extracted

_RECORD_ENDINGS: Final = (".parquet", ".pq", ".json", ".jsonl", ".ndjson")


class BitextSettings(RecordSettings):
    """Settings of every source of bitexts."""

    source_language: str | None = Field(
        None, description="language of the queries, e.g. en or eng_Latn; default: the first that the file's name says"
    )
    target_language: str | None = Field(
        None, description="language of the positives; default: the second that the file's name says"
    )


def holds_records(path: str) -> bool:
    """Whether a file holds rows of the hub: JSON lines or Parquet."""
    return base_name(path).lower().endswith(_RECORD_ENDINGS)


def bitext_languages(path: str, settings: BitextSettings) -> tuple[str, str]:
    """The codes of both sides, from the settings or from a name such as `ces_Latn-ukr_Cyrl.gz`. Raises SourceError."""
    name = base_name(path)
    named = language_pair(name.partition(".")[0])
    source, target = settings.source_language, settings.target_language
    if named is None and (source is None or target is None):
        raise SourceError(
            f"{path}: the name {name!r} does not say the languages, expected SOURCE-TARGET as in eng_Latn-fra_Latn.gz:"
            " rename the file, or set source_language and target_language"
        )
    first, second = named or ("", "")
    return language_code(source or first), language_code(target or second)


def translation_layout(
    scores: Mapping[str, str], url: str | None = None, optional: Mapping[str, type] | None = None
) -> Layout:
    """Rows {"translation": {source: text, target: text}, ...}; `scores` names the field of each of schema.SCORES."""

    def pairs(record: Record, settings: BitextSettings) -> Iterator[RawPair]:
        texts = record["translation"] or {}
        if len(texts) != 2 or any(type(text) is not str and text is not None for text in texts.values()):
            raise BadRecord("wrong_type", f"translation: expected the texts of two languages, found {str(texts)[:100]}")
        (first, query), (second, positive) = texts.items()
        measured = {name: record.get(field) for name, field in scores.items()}
        yield RawPair(
            query,
            positive,
            query_language=settings.source_language or first,
            positive_language=settings.target_language or second,
            url=(record.get(url) or None) if url else None,
            scores={name: float(value) for name, value in measured.items() if value is not None} or None,
        )

    fields: dict[str, type] = dict.fromkeys(scores.values(), float)
    return Layout({"translation": dict}, pairs, fields | ({url: str} if url else {}) | dict(optional or {}))


def extract_rows(
    block: RowBlock,
    split: Split,
    settings: BitextSettings,
    name: str,
    languages: tuple[str, str],
    scores: Mapping[str, str],
    url: str | None = None,
) -> Extracted:
    """The pairs of rows with the columns `source` and `target`; `scores` names the column of each of schema.SCORES."""
    rows = len(block.offsets)
    if not rows:
        return extracted(block.records, block.position, quarantine=block.quarantine)
    columns = block.columns
    measured = {name: float_column(columns[column]) for name, column in scores.items()}
    pairs, rejects = make_pairs(
        query=columns["source"],
        positive=columns["target"],
        kind="parallel",
        source=settings.label or name,
        document_id=default_ids(split, block.offsets.tolist(), None),
        query_lang=languages[0],
        positive_lang=languages[1],
        url=_null_for_empty(columns[url]) if url else None,
        license=settings.license,
        scores=score_column(measured, rows) if measured else None,
    )
    return extracted(block.records, block.position, pairs=pairs, rejects=rejects, quarantine=block.quarantine)


def score_column(scores: Mapping[str, pa.Array], rows: int) -> pa.Array:
    """A SCORES array of some of its fields, each a float32 array of `rows` values; the others are null."""
    columns = [scores[field.name] if field.name in scores else pa.nulls(rows, field.type) for field in SCORES]
    return pa.StructArray.from_arrays(columns, fields=list(SCORES))


def float_column(texts: pa.Array) -> pa.Array:
    """A string array as float32; null for what is no finite number."""
    try:
        numbers = texts.cast(pa.float64())
    except pa.ArrowInvalid:
        number = pc.match_substring_regex(texts, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
        numbers = pc.if_else(number, pc.utf8_trim_whitespace(texts), None).cast(pa.float64())
    floats = numbers.cast(pa.float32(), safe=False)
    return pc.if_else(pc.is_finite(floats), floats, None)


def _null_for_empty(texts: pa.Array) -> pa.Array:
    empty: Any = pc.equal(texts, "")
    return pc.if_else(empty, pa.scalar(None, pa.string()), texts)

"""Which fields of a record are the sides of a pair: the settings and the mapping that JSON lines and tables share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from sources.files.reading import MAX_LINE, base_name, without_compression
from sources.languages import UNKNOWN, language_code
from sources.schema import DOCUMENT, KINDS, make_pairs, normalise_text
from sources.source import SourceError, SourceSettings, Split

ROWS: Final = 4096  # most records of one step
LARGEST_LABEL: Final = 3.4028234663852886e38  # what a float32 holds: a label beyond it is none
EARLY: Final = 1000  # a field that none of so many first records has is a wrong name, not bad records


class FieldSettings(SourceSettings):
    """Names of fields. A dot goes into nested records (`translation.en`); a list of strings gives one pair an entry."""

    query: str = Field("query", description="field of the query")
    positive: str = Field("positive", description="field of the positive: a text, or a list of texts")
    negatives: str | None = Field(None, description="field of the curated negatives: a list of texts, or one text")
    document_id: str | None = Field(None, description="field of the document's id; default: file name and byte offset")
    url: str | None = Field(None, description="field of the address the record came from")
    kind: str = Field("other", description="kind of every pair, e.g. question_answer")
    query_language: str | None = Field(None, description="language of every query, e.g. en; default: `language`")
    positive_language: str | None = Field(None, description="language of every positive; default: `language`")
    query_language_field: str | None = Field(None, description="field that holds the language of the query")
    positive_language_field: str | None = Field(None, description="field that holds the language of the positive")
    label_field: str | None = Field(None, description="field of the graded label, a number")
    license_field: str | None = Field(None, description="field that holds the licence; records without it: `license`")
    title: str = Field("title", description="field of a document's title, with documents: true")
    text: str = Field("text", description="field of a document's text, with documents: true")
    encoding: str | None = Field(
        None,
        description="encoding of the files, e.g. cp1251; default: UTF-8, but UTF-16 and GB18030 where they look so",
    )
    max_line_bytes: int = Field(MAX_LINE, gt=0, description="a longer record is quarantined")

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known are {', '.join(KINDS)}")
        return kind

    def required(self) -> tuple[str, ...]:
        """The fields that every record must have."""
        return (self.query, self.positive, *((self.text,) if self.documents else ()))

    def optional(self) -> tuple[str, ...]:
        """The fields that a record may lack."""
        names = (
            self.negatives,
            self.document_id,
            self.url,
            self.query_language_field,
            self.positive_language_field,
            self.label_field,
            self.license_field,
            self.title if self.documents else None,
        )
        return tuple(name for name in names if name is not None)


@dataclass
class FieldCheck:
    """Notices a field name that none of a file's first EARLY records has: the name is wrong then, not the records.

    A later split, or a file of fewer records, says nothing about the name: there, bad records are only bad records.
    """

    split: Split
    required: Sequence[str]
    seen: int = 0

    def __post_init__(self) -> None:
        self._lacking = dict.fromkeys(self.required, 0)
        self._found: tuple[str, ...] = ()

    def count(self, records: int, lacking: dict[str, int], found: Iterable[str]) -> None:
        """Note `records` more records, how many of them lack each field, and the names of fields found."""
        self.seen += records
        self._found = self._found or tuple(found)
        for name, number in lacking.items():
            self._lacking[name] += number

    def fail_if_wrong(self) -> None:
        """Raise SourceError listing the fields found when none of EARLY or more records so far has a required one."""
        if self.seen < EARLY or self.split.start:
            return
        for name, number in self._lacking.items():
            if number == self.seen:
                raise missing_field(self.split.path, name, self._found)


def missing_field(path: str, name: str, found: Iterable[str]) -> SourceError:
    """The error for a field or column name that the file does not have."""
    names = ", ".join(repr(field) for field in found) or "none"
    return SourceError(f"{path}: no field {name!r}; found are {names[:1000]}: name the right one in the settings")


@dataclass(frozen=True)
class Columns:
    """The fields of some records as arrays of one length; sides and negatives are string or list<string>."""

    query: pa.Array
    positive: pa.Array
    document_id: pa.Array  # string, without nulls
    negatives: pa.Array | None = None
    url: pa.Array | None = None
    query_language: pa.Array | None = None
    positive_language: pa.Array | None = None
    label: pa.Array | None = None
    license: pa.Array | None = None
    title: pa.Array | None = None
    text: pa.Array | None = None


def map_columns(columns: Columns, settings: FieldSettings, name: str) -> tuple[pa.RecordBatch, ...]:
    """PAIR, REJECT and DOCUMENT batches of some records; `name` is the adapter's, for pairs without a label."""
    source = settings.label or name
    pairs, rejects = _pairs(columns, settings, source)
    return pairs, rejects, _documents(columns, settings, source)


def _pairs(columns: Columns, settings: FieldSettings, source: str) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    query, parents = _explode(columns.query)
    positive, inner = _explode(columns.positive if parents is None else columns.positive.take(parents))
    if inner is not None:
        query = query.take(inner)
        parents = inner if parents is None else parents.take(inner)

    def spread(column: pa.Array | None) -> pa.Array | None:
        return column if column is None or parents is None else column.take(parents)

    return make_pairs(
        query=query,
        positive=positive,
        kind=settings.kind,
        source=source,
        document_id=spread(columns.document_id),
        query_lang=_languages(spread(columns.query_language), settings.query_language or settings.language, len(query)),
        positive_lang=_languages(
            spread(columns.positive_language), settings.positive_language or settings.language, len(query)
        ),
        negatives=_as_lists(spread(columns.negatives)),
        url=spread(columns.url),
        license=_licences(spread(columns.license), settings.license, len(query)),
        label=spread(columns.label),
    )


def _explode(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The entries of lists and the row of each; an empty or null list is one null. (column, None) for plain texts."""
    if not pa.types.is_list(column.type):
        return column, None
    empty = pc.indices_nonzero(pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0))
    rows = pa.concat_arrays([pc.list_parent_indices(column).cast(pa.int64()), empty.cast(pa.int64())])
    values = pa.concat_arrays([pc.list_flatten(column), pa.nulls(len(empty), pa.string())])
    order = pc.sort_indices(rows)
    return values.take(order), rows.take(order)


def _as_lists(column: pa.Array | None) -> pa.Array | None:
    if column is None or pa.types.is_list(column.type):
        return column
    return pa.array([None if text is None else [text] for text in column.to_pylist()], pa.list_(pa.string()))


def _languages(column: pa.Array | None, default: str | None, rows: int) -> pa.Array:
    code = language_code(default) if default else UNKNOWN
    if column is None:
        return pa.repeat(code, rows)
    coded = column.dictionary_encode()
    codes = [code if tag is None else language_code(tag) for tag in coded.dictionary.to_pylist()]
    return pa.array(codes, pa.string()).take(coded.indices).fill_null(code)


def _licences(column: pa.Array | None, default: str | None, rows: int) -> pa.Array:
    every = pa.repeat(pa.scalar(default, pa.string()), rows)
    return every if column is None else pc.coalesce(column, every)


def _documents(columns: Columns, settings: FieldSettings, source: str) -> pa.RecordBatch:
    if not settings.documents or columns.text is None:
        return pa.RecordBatch.from_pylist([], DOCUMENT)
    rows = len(columns.text)
    text = normalise_text(columns.text).fill_null("")
    title = pa.nulls(rows, pa.string()) if columns.title is None else normalise_text(columns.title)
    batch = pa.RecordBatch.from_arrays(
        [
            columns.document_id,
            pa.repeat(source, rows),
            pa.nulls(rows, pa.string()) if columns.url is None else columns.url,
            title,
            text,
            _languages(columns.positive_language, settings.positive_language or settings.language, rows),
            _licences(columns.license, settings.license, rows),
            pa.nulls(rows, DOCUMENT.field("sections").type),
        ],
        schema=DOCUMENT,
    )
    return batch.filter(pc.not_equal(text, ""))


def default_ids(split: Split, offsets: Iterable[int], given: pa.Array | None) -> pa.Array:
    """Document ids: the ones given; where there is none, `name:offset`: file name and byte (Parquet: row) of the record."""
    name = without_compression(split.name) if split.name else base_name(split.path)
    ids: list[Any] = [f"{name}:{offset}" for offset in offsets]
    return pa.array(ids, pa.string()) if given is None else pc.coalesce(given, pa.array(ids, pa.string()))

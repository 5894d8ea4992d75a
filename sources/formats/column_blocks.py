"""Named columns of a file as blocks of Arrow arrays: tables, JSON and Parquet, millions of rows without an object a row.

    for block in read_columns(path, COLUMNS, "msmarco", longest):
        block.columns["id"], block.columns["text"]

Only a block that holds a bad row, and formats that are always small, are read record by record (sources.record_formats).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sources.files.reading import UTF8_MARK, ByteStream, Fault, LongRecord
from sources.formats.json_records import type_name
from sources.record_formats import Bad, Format, Record, RecordBatch, open_records
from sources.schema import QuarantineRows
from sources.source import SourceError, Split

Numbers = npt.NDArray[np.int64]
Location = tuple[str, ...]  # the steps to a column: its name, or the names of nested ones


@dataclass(frozen=True)
class Columns:
    """Which columns of a file are read: for each the names that it may have there, the first that is there counts.

    A column's own name is one of them. A dot goes into nested records. The column "text" may be null, and is empty then.
    `tables` says where the columns are in a table without a header, for each number of columns that it may have ("" for
    one that is not read): a first row of none of the names is no header.
    """

    names: Mapping[str, tuple[str, ...]]
    required: tuple[str, ...]
    tables: tuple[tuple[str, ...], ...] = ()
    other: Literal["json", "tsv", "csv"] = "tsv"  # of files whose names do not say what they are
    spaces: bool = False  # whether the cells of a table may be divided by spaces: TREC's judgements

    @property
    def known(self) -> frozenset[str]:
        """Every name of a column."""
        return frozenset(name for column, names in self.names.items() for name in (column, *names))


@dataclass(frozen=True)
class ColumnBlock:
    """Some rows: string arrays of one length for the columns that the file has, null where a row has none.

    `numbers` are those of the rows in the file, from 1, in `unit`s. `quarantine` holds the bad rows in between, `lost`
    counts those for which one row of it stands.
    """

    columns: dict[str, pa.Array]
    numbers: Numbers
    unit: str
    quarantine: pa.RecordBatch
    lost: int = 0


def read_columns(path: str, columns: Columns, source: str, longest: int) -> Iterator[ColumnBlock]:
    """The blocks of a file, in its order. Rows without a required column, or of another type, are quarantined.

    Raises SourceError where the file cannot be opened or has no such columns; lists those found.
    """
    kind = Format(other=columns.other).kind_of(path)
    bad = BadRows(QuarantineRows(source, path, "line"))
    match kind:
        case "parquet":
            from sources.formats.column_parquet import parquet_columns

            yield from parquet_columns(path, columns, bad)
        case "tsv":
            from sources.formats.column_tables import TableColumns

            yield from TableColumns(path, columns, bad, longest).blocks()
        case "json" if not _is_array(path):
            from sources.formats.column_json import json_columns

            yield from json_columns(path, columns, bad, longest)
        case _:
            yield from _records(path, columns, bad, longest)


class BadRows:
    """Bad rows on their way to quarantine."""

    def __init__(self, rows: QuarantineRows) -> None:
        self._rows = rows

    def add(self, place: int, unit: str, reason: str, detail: str, excerpt: bytes) -> None:
        """Note one bad row."""
        self._rows.add(place, reason, f"{detail} | ".encode() + excerpt if detail else excerpt, unit)

    def block(self, columns: dict[str, pa.Array], numbers: Numbers, unit: str, lost: int = 0) -> ColumnBlock:
        """Good rows, and the bad ones since the block before."""
        return ColumnBlock(columns, numbers, unit, self._rows.take(), lost)

    def fault(self, fault: Fault | None, cut_off: bytes) -> Iterator[ColumnBlock]:
        """What ended the file early, as the last block."""
        if fault is not None:
            self.add(fault.position, "byte", fault.reason, fault.detail, cut_off)
            yield self.block({}, np.zeros(0, np.int64), "byte")

    def too_long(self, record: LongRecord) -> ColumnBlock:
        """The block of one row that is longer than the limit."""
        place, unit = record.place("line")
        self.add(place, unit, "line_too_long", "", record.head)
        return self.block({}, np.zeros(0, np.int64), unit)


def _records(path: str, columns: Columns, bad: BadRows, longest: int) -> Iterator[ColumnBlock]:
    """Any format, record by record."""
    format = Format(other=columns.other, columns=columns.tables)
    reader = open_records(Split(path), format, longest, columns.known, columns.known)
    checked = False
    for batch in reader:
        checked = checked or _check_record(path, columns, batch)
        numbers = np.asarray(batch.offsets if batch.numbers is None else batch.numbers, np.int64)
        arrays, kept = columns_of(batch.records, columns, batch.bad)
        for row in sorted(batch.bad):
            place, unit = batch.place(row)
            bad.add(place, unit, *batch.bad[row], batch.excerpt(row))
        yield bad.block(arrays, numbers[kept], batch.unit, batch.lost)
    yield from bad.fault(reader.fault, reader.cut_off)


def _check_record(path: str, columns: Columns, batch: RecordBatch) -> bool:
    """Whether there was a record to look at. Raises SourceError where none of the batch has the required columns."""
    records = [record for record in batch.records if record is not None]
    if records and not any(has_all(record, columns) for record in records):
        raise missing_columns(path, columns, list(records[0]))
    return bool(records)


def has_all(record: Record, columns: Columns) -> bool:
    """Whether a record has every required column."""
    return all(any(reached(record, steps) for steps in locations_of(columns, name)) for name in columns.required)


def locations_of(columns: Columns, column: str) -> list[Location]:
    """Where a column may be, given its names: as they are, and nested where they hold a dot."""
    names = columns.names[column]
    return [(column,), *((name,) for name in names), *(tuple(name.split(".")) for name in names if "." in name)]


def reached(record: Any, steps: Location) -> bool:
    """Whether a record has the field at the end of the steps."""
    for step in steps:
        if type(record) is not dict or step not in record:
            return False
        record = record[step]
    return True


def _value(record: Any, steps: Location) -> Any:
    for step in steps:
        record = record[step]
    return record


def columns_of(
    records: Sequence[Record | None], columns: Columns, bad: Bad
) -> tuple[dict[str, pa.Array], npt.NDArray[np.int64]]:
    """The columns of the good records and which they are; notes the others in `bad`."""
    found = [(name, locations_of(columns, name), name in columns.required) for name in columns.names]
    values: dict[str, list[str | None]] = {name: [] for name in columns.names}
    kept: list[int] = []
    for index, record in enumerate(records):
        if record is None or index in bad:
            continue
        try:
            row = [_text(record, name, locations, required) for name, locations, required in found]
        except _BadRowError as error:
            bad[index] = (error.reason, str(error))
            continue
        kept.append(index)
        for name, value in zip(columns.names, row, strict=True):
            values[name].append(value)
    return {name: pa.array(column, pa.string()) for name, column in values.items()}, np.array(kept, np.int64)


class _BadRowError(ValueError):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def _text(record: Record, column: str, locations: Sequence[Location], required: bool) -> str | None:
    for steps in locations:
        if reached(record, steps):
            value = _value(record, steps)
            break
    else:
        if required:
            raise _BadRowError("missing_field", f"no {column}; found {', '.join(list(record)[:20])[:100]}")
        return None
    if type(value) in (int, float):
        return str(value)
    if type(value) is str or (value is None and column == "text"):
        return value
    if value is None:
        if required:
            raise _BadRowError("missing_field", f"{column} is null")
        return None
    if not required:
        return None
    raise _BadRowError("wrong_type", f"{column}: expected a text, found {type_name(value)}")


def missing_columns(path: str, columns: Columns, found: Sequence[str]) -> SourceError:
    """The error for a file without a required column."""
    expected = ", ".join(" or ".join((name, *columns.names[name])) for name in columns.required)
    names = ", ".join(repr(name) for name in found)[:1000] or "none"
    return SourceError(f"{path}: expected the fields {expected}; found {names}. Is it a file of this corpus?")


def _is_array(path: str) -> bool:
    head = next(iter(ByteStream(path)), b"").removeprefix(UTF8_MARK).lstrip()
    return head.startswith(b"[")


def is_valid(texts: pa.Array) -> bool:
    """Whether all texts are UTF-8."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True

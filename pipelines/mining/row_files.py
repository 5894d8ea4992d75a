"""Files of rows as blocks: each row as a record to read from, and as it came to write it out again.

JSON lines (or an array), CSV, TSV and Parquet, compressed or not. What came is kept as the bytes of its JSON, or of Parquet
as Arrow columns, so that the fields that mining does not know come out as they went in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.mining.bad_rows import BadRows
from pipelines.mining.forms import NEGATIVE_TABLES, POSITIVE_NAMES, QUERY_NAMES
from sources.files.reading import MAX_LINE, open_stored
from sources.formats.table_records import DAMAGE, UNREADABLE_VALUE
from sources.record_formats import Format, open_records
from sources.source import Split

ROWS: Final = 4096
LINE: Final = "line"  # the column that holds a row's JSON
_KNOWN: Final = frozenset((*QUERY_NAMES, *POSITIVE_NAMES, "query_id", "_id", "id", "negative", "neg"))


@dataclass(frozen=True)
class RowBlock:
    """Some rows of a file: `records` to read from, `kept` the same rows as they came, `numbers` their places from 1."""

    records: list[dict[str, Any]]
    kept: pa.RecordBatch
    numbers: list[int]
    unit: str


def carrier_of(path: str) -> Literal["json", "parquet"]:
    """As what the rows of a file are kept."""
    return "parquet" if Format().kind_of(path) == "parquet" else "json"


def read_rows(path: str, bad: BadRows, known_names: Sequence[str] = ()) -> Iterator[RowBlock]:
    """The blocks of a file, of up to 4,096 rows; what cannot be read goes to `bad`. Raises SourceError."""
    if carrier_of(path) == "parquet":
        yield from _parquet_rows(path, bad)
    else:
        yield from _record_rows(path, bad, frozenset(known_names) | _KNOWN)


def _record_rows(path: str, bad: BadRows, known_names: frozenset[str]) -> Iterator[RowBlock]:
    format = Format(columns=NEGATIVE_TABLES)
    reader = open_records(Split(path), format, MAX_LINE, known_names)
    is_json = format.kind_of(path) == "json"
    for batch in reader:
        for row in sorted(batch.bad):
            place, unit = batch.place(row)
            bad.add(place, unit, *batch.bad[row], batch.excerpt(row))
        places = [row for row, record in enumerate(batch.records) if record is not None and row not in batch.bad]
        records = [record for row in places if (record := batch.records[row]) is not None]
        if is_json and batch.lines is not None:
            lines = [batch.lines[row].strip() for row in places]
        else:
            lines = [orjson.dumps(record) for record in records]
        kept = pa.RecordBatch.from_arrays([pa.array(lines, pa.large_binary())], [LINE])
        yield RowBlock(records, kept, [batch.place(row)[0] for row in places], batch.unit)
    if reader.fault is not None:
        bad.add(reader.fault.position, "byte", reader.fault.reason, reader.fault.detail, reader.cut_off)


def _parquet_rows(path: str, bad: BadRows) -> Iterator[RowBlock]:
    first = 1
    with open_stored(path) as stored:
        try:
            batches = iter(pq.ParquetFile(stored).iter_batches(ROWS, use_threads=False))
            while (batch := next(batches, None)) is not None:
                yield _parquet_block(_plain(batch), first, bad)
                first += batch.num_rows
        except DAMAGE as error:
            bad.add(first, "row", "corrupt_file", f"the Parquet file cannot be read from here: {error}")


def _parquet_block(batch: pa.RecordBatch, first: int, bad: BadRows) -> RowBlock:
    numbers = list(range(first, first + batch.num_rows))
    try:
        return RowBlock(batch.to_pylist(), batch, numbers, "row")
    except UNREADABLE_VALUE:
        records, kept = [], []
    for row, number in enumerate(numbers):
        try:
            records += batch.slice(row, 1).to_pylist()
            kept.append(row)
        except UNREADABLE_VALUE as error:
            bad.add(
                number,
                "row",
                "invalid_utf8" if isinstance(error, UnicodeDecodeError) else "unreadable_value",
                str(error),
            )
    return RowBlock(records, batch.take(pa.array(kept, pa.int64())), [numbers[row] for row in kept], "row")


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without dictionaries: those of two batches may differ, and an Arrow file holds one."""
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)

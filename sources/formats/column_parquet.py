"""Named columns of Parquet files."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sources.files.reading import open_stored
from sources.formats.column_blocks import (
    BadRows,
    ColumnBlock,
    Columns,
    Location,
    is_valid,
    locations_of,
    missing_columns,
)
from sources.formats.table_records import DAMAGE

STEP_BYTES: Final = 8 << 20  # of the rows read at once, as the file counts them
STEP_ROWS: Final = 65_536


def parquet_columns(path: str, columns: Columns, bad: BadRows) -> Iterator[ColumnBlock]:
    """The blocks of a file. Raises SourceError where it lacks a required column."""
    with open_stored(path) as stored:
        try:
            file = pq.ParquetFile(stored)
        except DAMAGE as error:
            bad.add(0, "byte", "corrupt_file", f"no readable Parquet file: {error}", b"")
            yield bad.block({}, np.zeros(0, np.int64), "byte")
            return
        places = _places_in(path, file.schema_arrow, columns)
        first = 1
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            yield from _row_group(file, number, places, first, columns, bad)
            first += group.num_rows


def _places_in(path: str, schema: pa.Schema, columns: Columns) -> dict[str, Location]:
    places: dict[str, Location] = {}
    for name in columns.names:
        for steps in locations_of(columns, name):
            kind = _type_at(schema, steps)
            if kind is not None and not pa.types.is_nested(kind):
                places[name] = steps
                break
    if not set(columns.required) <= places.keys():
        raise missing_columns(path, columns, schema.names)
    return places


def _type_at(schema: pa.Schema, steps: Location) -> pa.DataType | None:
    if steps[0] not in schema.names:
        return None
    kind = schema.field(steps[0]).type
    for step in steps[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(step) < 0:
            return None
        kind = kind.field(step).type
    return kind


def _row_group(
    file: pq.ParquetFile, number: int, places: Mapping[str, Location], first: int, columns: Columns, bad: BadRows
) -> Iterator[ColumnBlock]:
    group = file.metadata.row_group(number)
    rows = max(8, min(STEP_ROWS, STEP_BYTES // max(1, group.total_byte_size // max(1, group.num_rows))))
    wanted = [".".join(steps) for steps in places.values()]
    batches = file.iter_batches(rows, row_groups=[number], columns=wanted, use_threads=False)
    done = 0
    while True:
        try:  # reading only: what comes of our own code is no damage of the file
            batch = next(batches, None)
        except DAMAGE as error:
            lost = max(1, group.num_rows - done)
            detail = f"row group {number + 1} is damaged from here, {lost} rows are lost: {error}"
            bad.add(first + done, "row", "corrupt_file", detail, b"")
            yield bad.block({}, np.zeros(0, np.int64), "row", lost - 1)
            return
        if batch is None:
            return
        yield _parquet_block(batch, places, first + done, columns, bad)
        done += len(batch)


def _parquet_block(
    batch: pa.RecordBatch, places: Mapping[str, Location], first: int, columns: Columns, bad: BadRows
) -> ColumnBlock:
    numbers = first + np.arange(len(batch))
    arrays = {}
    good = np.ones(len(batch), np.bool_)
    for name, steps in places.items():
        column = batch.column(steps[0])
        for step in steps[1:]:
            column = pc.struct_field(column, step)
        array, wrong = _as_texts(column)
        lacking = np.zeros(len(batch), np.bool_)
        if name in columns.required and name != "text":
            lacking = array.is_null().to_numpy(zero_copy_only=False) & ~wrong
        for row in np.flatnonzero((wrong | lacking) & good).tolist():
            reason = "invalid_utf8" if wrong[row] else "missing_field"
            bad.add(int(numbers[row]), "row", reason, name if wrong[row] else f"{name} is null", b"")
        good &= ~(wrong | lacking)
        arrays[name] = array
    if not good.all():
        kept = pa.array(np.flatnonzero(good))
        arrays, numbers = {name: array.take(kept) for name, array in arrays.items()}, numbers[good]
    return bad.block(arrays, numbers, "row")


def _as_texts(column: pa.Array) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """A column as texts, and which rows are no UTF-8 (null then): Parquet's texts are bytes that nobody has checked."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    wrong = np.zeros(len(column), np.bool_)
    if (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)) and not is_valid(column):
        stored = column.cast(pa.large_binary()).to_pylist()
        wrong = np.array([text is not None and not _is_utf8(text) for text in stored])
        column = pc.if_else(pa.array(wrong), None, column)
    return column.cast(pa.string()), wrong


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

"""Named columns of JSON lines: by Arrow where a block is as it should be, else line by line."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from sources.files.reading import LineReader, LongRecord, RecordBlock
from sources.formats.column_blocks import (
    BadRows,
    ColumnBlock,
    Columns,
    Location,
    columns_of,
    has_all,
    is_valid,
    locations_of,
    missing_columns,
    reached,
)
from sources.formats.json_records import parse_objects
from sources.source import Split


def json_columns(path: str, columns: Columns, bad: BadRows, longest: int) -> Iterator[ColumnBlock]:
    """The blocks of a file of JSON lines. Raises SourceError where none of the first records has the required fields."""
    reader = LineReader(Split(path), longest)
    names: dict[str, Location] | None = None
    for block in reader:
        if isinstance(block, LongRecord):
            yield bad.too_long(block)
            continue
        numbers = (block.first or 1) + np.arange(len(block.offsets))
        if names is None:
            names = _json_names(path, columns, block)
        arrays = _parse_json(block, columns, names)
        if arrays is None:
            records, wrong, _ = parse_objects(block.lines)
            arrays, kept = columns_of(records, columns, wrong)
            for row in sorted(wrong):
                bad.add(int(numbers[row]), "line", *wrong[row], block.lines[row])
            numbers = numbers[kept]
        yield bad.block(arrays, numbers, "line")
    yield from bad.fault(reader.fault, reader.cut_off)


def _json_names(path: str, columns: Columns, block: RecordBlock) -> dict[str, Location]:
    """Where the first record with all required fields has each column. Another may have a required one elsewhere."""
    records = [record for record in parse_objects(block.lines[:1000])[0] if record is not None]
    right = next((record for record in records if has_all(record, columns)), None)
    if right is None:
        if records:
            raise missing_columns(path, columns, list(records[0]))
        return {}
    places = {name: locations_of(columns, name) for name in columns.names}
    return {
        name: next((steps for steps in steps_of if reached(right, steps)), steps_of[-1])
        for name, steps_of in places.items()
    }


def _parse_json(block: RecordBlock, columns: Columns, names: Mapping[str, Location]) -> dict[str, pa.Array] | None:
    """The columns, by Arrow; None where a record is bad, blank, or has a column elsewhere or of another type."""
    if not names or b"\n\n" in block.data or b"\n\r" in block.data or block.data[:1] in b"\r\n":
        return None
    table = _read_json(block, names)
    if table is None or table.num_rows != len(block.offsets):
        return None
    arrays = {name: _at(table, steps) for name, steps in names.items()}
    for name, array in arrays.items():
        # A null may stand for a field that lacks, or that has another of its names here: line by line tells.
        if (array.null_count and name in columns.required) or not is_valid(array):
            return None
    return arrays


def _read_json(block: RecordBlock, names: Mapping[str, Location]) -> pa.Table | None:
    """The fields used, bytes that are no UTF-8 among them; None where a field is of another type or a line no JSON."""
    if any(len(steps) > 2 for steps in names.values()):
        return None
    fields = {
        steps[0]: pa.string() if len(steps) == 1 else pa.struct([(steps[1], pa.string())]) for steps in names.values()
    }
    try:
        return pyarrow.json.read_json(
            pa.BufferReader(block.data),
            read_options=pyarrow.json.ReadOptions(use_threads=False, block_size=len(block.data) + 1),
            parse_options=pyarrow.json.ParseOptions(
                explicit_schema=pa.schema(list(fields.items())), unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return None


def _at(table: pa.Table, steps: Location) -> pa.Array:
    column = table.column(steps[0])
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.nulls(0, column.type)])
    return array if len(steps) == 1 else pc.struct_field(array, steps[1])

"""Tables: TSV, CSV (compressed or not) and Parquet, the user naming the columns."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import Field

from sources.fields import ROWS, Columns, FieldSettings, default_ids, map_columns, missing_field
from sources.quoted_rows import QuotedRowReader
from sources.reading import (
    Fault,
    LineReader,
    LongRecord,
    Reader,
    RecordBlock,
    base_name,
    byte_splits,
    open_stored,
    stored_size,
)
from sources.schema import QuarantineRows
from sources.source import Extracted, Source, SourceError, Split, extracted

NAME: Final = "table"
STEP_BYTES: Final = 8 << 20  # of the texts of one step of Parquet, about


class TableSettings(FieldSettings):
    """Settings of the table source. Columns are named by the header, or numbered from 0 (`"0"`)."""

    header: bool = Field(True, description="whether the first row names the columns; without it, number them from 0")
    column_names: tuple[str, ...] | None = Field(None, description="names of the columns of a file without header")
    delimiter: str | None = Field(None, min_length=1, max_length=1, description="default: a tab, a comma for .csv")
    quoting: bool | None = Field(None, description="whether cells may be in double quotes; default: only for .csv")

    def wanted(self) -> tuple[str, ...]:
        """Every column used, each once; a title column only where documents are written."""
        return tuple(dict.fromkeys((*self.required(), *self.optional())))


def splits(path: str, settings: TableSettings, target_bytes: int) -> list[Split]:
    """Byte ranges of plain tables without quoting and of Parquet (by row groups); one split for anything else."""
    if not _is_parquet(path):
        whole = [Split(path, size=stored_size(path))]
        return whole if _quoting(path, settings) else byte_splits(path, target_bytes)
    size = stored_size(path)
    if size is None or size <= target_bytes:
        return [Split(path, size=size)]
    return [Split(path, start, min(start + target_bytes, size), size) for start in range(0, size, target_bytes)]


def read(split: Split, settings: TableSettings) -> Iterator[Extracted]:
    """Stream the rows of a split. Raises SourceError where the file cannot be opened or a column name is wrong."""
    if _is_parquet(split.path):
        yield from _read_parquet(split, settings)
    else:
        yield from _read_delimited(split, settings)


def _is_parquet(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in {".parquet", ".pq"}


def _quoting(path: str, settings: TableSettings) -> bool:
    return base_name(path).lower().endswith(".csv") if settings.quoting is None else settings.quoting


def _delimiter(path: str, settings: TableSettings) -> str:
    return settings.delimiter or ("," if base_name(path).lower().endswith(".csv") else "\t")


# Delimited text


def _read_delimited(split: Split, settings: TableSettings) -> Iterator[Extracted]:
    reader = _reader(split, settings)
    names = _column_names(split, settings)
    if names is None:
        yield from _faults(_Rows(split, settings, []), reader)
        return
    rows = _Rows(split, settings, names)
    header = settings.header and split.start == 0
    for block in reader:
        if isinstance(block, LongRecord):
            yield rows.too_long(block, reader.position)
            continue
        skipped = 1 if header else 0
        header = False
        for start in range(skipped, len(block.offsets), ROWS):
            yield rows.extract(block, start, min(start + ROWS, len(block.offsets)), reader.position)
    if reader.fault is not None:
        yield rows.report(reader.fault, reader)


def _faults(rows: "_Rows", reader: Reader) -> Iterator[Extracted]:
    """What is wrong with a file that holds no row at all."""
    for _ in reader:
        pass
    if reader.fault is not None:
        yield rows.report(reader.fault, reader)


def _reader(split: Split, settings: TableSettings) -> Reader:
    if _quoting(split.path, settings):
        return QuotedRowReader(split, settings.max_line_bytes)
    return LineReader(split, settings.max_line_bytes)


def _column_names(split: Split, settings: TableSettings) -> list[str] | None:
    """The names of the columns, from the first row of the file; None for a file without rows."""
    first = next(iter(_reader(Split(split.path), settings)), None)
    if first is None:
        return None
    if isinstance(first, LongRecord):
        raise SourceError(f"{split.path}: the first row is longer than {settings.max_line_bytes} bytes: is it a table?")
    row = _slice(first, 0, 1).decode("utf-8", "replace")
    cells = _cells(row, _delimiter(split.path, settings), _quoting(split.path, settings))
    names = [cell.strip() for cell in cells] if settings.header else list(settings.column_names or ())
    names = names or [str(number) for number in range(len(cells))]
    names += [str(number) for number in range(len(names), len(cells))]
    for wanted in settings.required():
        if _index(names, wanted) is None:
            raise missing_field(split.path, wanted, names)
    return names


def _index(names: Sequence[str], wanted: str) -> int | None:
    """The column of a name; a number that is no name counts from 0."""
    if wanted in names:
        return names.index(wanted)
    return int(wanted) if wanted.isdecimal() and int(wanted) < len(names) else None


def _cells(row: str, delimiter: str, quoting: bool) -> list[str]:
    if not quoting:
        return row.rstrip("\r\n").split(delimiter)
    csv.field_size_limit(1 << 30)
    return next(csv.reader(io.StringIO(row, newline=""), delimiter=delimiter, strict=True), [])


def _slice(block: RecordBlock, start: int, end: int) -> bytes:
    begin = int(block.offsets[start] - block.offsets[0])
    stop = int(block.offsets[end] - block.offsets[0]) if end < len(block.offsets) else len(block.data)
    return block.data[begin:stop]


class _Rows:
    """The rows of one split: ragged and unreadable ones to quarantine, the others to columns."""

    def __init__(self, split: Split, settings: TableSettings, names: list[str]) -> None:
        self._settings, self._names = settings, names
        self._delimiter, self._quoting = _delimiter(split.path, settings), _quoting(split.path, settings)
        self._file = base_name(split.path)
        self._quarantine = QuarantineRows(settings.label or NAME, split.path, "line" if not self._quoting else "row")
        self._unit = "line" if not self._quoting else "row"
        self._used = {name: index for name in settings.wanted() if (index := _index(names, name)) is not None}

    def too_long(self, record: LongRecord, position: int) -> Extracted:
        place, unit = record.place(self._unit)
        self._quarantine.add(place, "line_too_long", record.head, unit)
        return extracted(1, position, quarantine=self._quarantine.take())

    def report(self, fault: Fault, reader: Reader) -> Extracted:
        self._quarantine.add(fault.position, fault.reason, f"{fault.detail} | ".encode() + reader.cut_off, "byte")
        return extracted(1, reader.position, quarantine=self._quarantine.take())

    def extract(self, block: RecordBlock, start: int, end: int, position: int) -> Extracted:
        """Rows [start, end) of a block."""
        data = _slice(block, start, end)
        offsets = block.offsets[start:end]
        table = self._parse(data, end - start)
        bad = 0
        if table is None:
            table, kept, bad = self._parse_slowly(block, start, end)
            offsets = offsets[kept]
        columns = {name: table.column(name) for name in self._used}
        mapped = _columns(columns, self._settings, self._file, offsets.tolist())
        pairs, rejects, documents = map_columns(mapped, self._settings, NAME)
        quarantine = self._quarantine.take()
        records = len(offsets) + bad
        return extracted(records, position, pairs=pairs, rejects=rejects, documents=documents, quarantine=quarantine)

    def _parse(self, data: bytes, rows: int) -> pa.RecordBatch | None:
        """The columns used, by Arrow; None where a row is ragged, blank or no UTF-8."""
        if b"\0" in data:
            return None
        numbered = [str(number) for number in range(len(self._names))]
        used = {name: numbered[index] for name, index in self._used.items()}
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                read_options=pyarrow.csv.ReadOptions(
                    use_threads=False, block_size=len(data) + 1, column_names=numbered
                ),
                parse_options=pyarrow.csv.ParseOptions(
                    delimiter=self._delimiter,
                    quote_char='"' if self._quoting else False,
                    newlines_in_values=self._quoting,
                    ignore_empty_lines=False,
                ),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(numbered, pa.string()),
                    include_columns=list(dict.fromkeys(used.values())),
                    strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None
        if table.num_rows != rows:  # Arrow ends rows at lone carriage returns too
            return None
        arrays = [_one_chunk(table.column(number)) for number in used.values()]
        return pa.RecordBatch.from_arrays(arrays, names=list(used))

    def _parse_slowly(self, block: RecordBlock, start: int, end: int) -> tuple[pa.RecordBatch, list[int], int]:
        """Row by row: the good rows' columns, which rows they are, and the number of bad ones; blank rows are none."""
        kept: list[int] = []
        values: dict[str, list[str]] = {name: [] for name in self._used}
        bad = 0
        for row in range(start, end):
            data = _slice(block, row, row + 1)
            if not data.strip():
                continue
            try:
                cells = self._checked_cells(data)
            except _BadRowError as error:
                bad += 1
                place, unit = block.place(row, self._unit)
                self._quarantine.add(place, error.reason, f"{error} | ".encode() + data if str(error) else data, unit)
                continue
            kept.append(row - start)
            for name, index in self._used.items():
                values[name].append(cells[index])
        arrays = [pa.array(column, pa.string()) for column in values.values()]
        return pa.RecordBatch.from_arrays(arrays, names=list(values)), kept, bad

    def _checked_cells(self, data: bytes) -> list[str]:
        if b"\0" in data:
            raise _BadRowError("nul_byte")
        try:
            cells = _cells(data.decode(), self._delimiter, self._quoting)
        except UnicodeDecodeError as error:
            raise _BadRowError("invalid_utf8", f"byte {error.start + 1} of the row") from error
        except csv.Error as error:
            raise _BadRowError("invalid_csv", str(error)) from error
        if len(cells) != len(self._names):
            raise _BadRowError("ragged_row", f"{len(cells)} cells where the table has {len(self._names)}")
        return cells


class _BadRowError(ValueError):
    """A row that cannot be read: its reason, and what more there is to say."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail)
        self.reason = reason


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _columns(columns: dict[str, pa.Array], settings: FieldSettings, file: str, offsets: Iterable[int]) -> Columns:
    """Raw columns by name to the columns of pairs."""

    def texts(name: str | None) -> pa.Array | None:
        return _texts(columns[name], name, file) if name is not None and name in columns else None

    label = columns.get(settings.label_field) if settings.label_field else None
    identity = columns.get(settings.document_id) if settings.document_id else None
    given = None if identity is None else identity.cast(pa.string())
    query, positive = (_texts(columns[name], name, file) for name in (settings.query, settings.positive))
    if pa.types.is_list(query.type) and pa.types.is_list(positive.type):
        raise SourceError(f"{file}: {settings.query!r} and {settings.positive!r} are both lists: one must be a text")
    return Columns(
        query=query,
        positive=positive,
        document_id=default_ids(file, offsets, None if given is None else pc.if_else(pc.equal(given, ""), None, given)),
        negatives=texts(settings.negatives),
        url=texts(settings.url),
        query_language=texts(settings.query_language_field),
        positive_language=texts(settings.positive_language_field),
        label=None if label is None else _numbers(label),
        title=texts(settings.title) if settings.documents else None,
        text=texts(settings.text) if settings.documents else None,
    )


def _texts(column: pa.Array, name: str, file: str) -> pa.Array:
    """A column of texts or of lists of texts, as string or list<string>."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if listed and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
        return column.cast(pa.list_(pa.string()))
    raise SourceError(f"{file}: column {name!r} is of type {kind}; a column of texts, or of lists of texts, is needed")


def _numbers(column: pa.Array) -> pa.Array:
    """A column of numbers as floats; a text that is no number is null."""
    if not pa.types.is_string(column.type):
        return column.cast(pa.float32())
    number = pc.match_substring_regex(column, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
    return pc.if_else(number, pc.utf8_trim_whitespace(column), None).cast(pa.float32())


# Parquet


def _read_parquet(split: Split, settings: TableSettings) -> Iterator[Extracted]:
    quarantine = QuarantineRows(settings.label or NAME, split.path, "row")
    with open_stored(split.path) as stored:
        try:
            file = pq.ParquetFile(stored)
        except (pa.ArrowException, OSError, ValueError) as error:
            if split.start == 0:  # said once, not by every split
                quarantine.add(0, _damage(split.path), str(error), "byte")
            yield extracted(len(quarantine), split.size or 0, quarantine=quarantine.take())
            return
        present = _present(file.schema_arrow, settings, split.path)
        first = 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            start = _page_offset(group.column(0)) if group.num_columns else 0
            if split.start <= start and (split.end is None or start < split.end):
                yield from _row_group(file, number, first, present, settings, split.path, quarantine)
            first += group.num_rows


def _damage(path: str) -> str:
    with open_stored(path) as stored:
        return "truncated_file" if stored.read(4) == b"PAR1" or not stored_size(path) else "not_parquet"


def _page_offset(column: Any) -> int:
    offsets = (column.dictionary_page_offset, column.data_page_offset)
    return min(int(offset) for offset in offsets if offset is not None)


def _present(schema: pa.Schema, settings: TableSettings, path: str) -> dict[str, list[str]]:
    """The steps to each column used; SourceError for a required one that the file lacks."""
    present = {name: steps for name in settings.wanted() if (steps := _steps(schema, name)) is not None}
    for name in settings.required():
        if name not in present:
            raise missing_field(path, name, _leaf_names(schema))
    return present


def _steps(schema: pa.Schema, name: str) -> list[str] | None:
    if name in schema.names:
        return [name]
    if name.isdecimal() and int(name) < len(schema.names):
        return [schema.names[int(name)]]
    steps = name.split(".")
    if steps[0] not in schema.names:
        return None
    kind = schema.field(steps[0]).type
    for step in steps[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(step) < 0:
            return None
        kind = kind.field(step).type
    return steps


def _leaf_names(schema: pa.Schema) -> list[str]:
    return [
        f"{column.name}.{inner.name}" if inner is not None else column.name
        for column in schema
        for inner in (column.type if pa.types.is_struct(column.type) else [None])
    ]


def _row_group(
    file: pq.ParquetFile,
    number: int,
    first: int,
    present: dict[str, list[str]],
    settings: TableSettings,
    path: str,
    quarantine: QuarantineRows,
) -> Iterator[Extracted]:
    """The rows of one row group, from row `first` of the file; a damaged one gives what comes before the damage."""
    group = file.metadata.row_group(number)
    end = max(_page_offset(group.column(index)) for index in range(group.num_columns))
    rows = max(1, min(ROWS, STEP_BYTES * group.num_rows // max(1, group.total_byte_size)))
    leaves = [".".join(steps) for steps in present.values()]
    try:
        for batch in file.iter_batches(rows, row_groups=[number], columns=leaves, use_threads=False):
            columns = {name: _follow(batch, steps) for name, steps in present.items()}
            mapped = _columns(columns, settings, base_name(path), range(first, first + len(batch)))
            pairs, rejects, documents = map_columns(mapped, settings, NAME)
            first += len(batch)
            yield extracted(len(batch), end, pairs=pairs, rejects=rejects, documents=documents)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        quarantine.add(first + 1, "corrupt_file", f"row group {number + 1} is damaged from here: {error}", "row")
        yield extracted(1, end, quarantine=quarantine.take())


def _follow(batch: pa.RecordBatch, steps: Sequence[str]) -> pa.Array:
    column = batch.column(steps[0])
    for step in steps[1:]:
        column = pc.struct_field(column, step)
    return column


SOURCE: Final = Source(
    name=NAME,
    summary="TSV, CSV and Parquet, with the columns of your choice",
    kinds=("other",),
    languages="any",
    layout="*.tsv, *.csv, also .gz .zst .bz2 .xz; *.parquet",
    license="that of the files",
    obtain="your own files",
    Settings=TableSettings,
    splits=splits,
    read=read,
)

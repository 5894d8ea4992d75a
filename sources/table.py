"""Tables: TSV, CSV (compressed or not) and Parquet, the user naming the columns."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic import Field

from sources.fields import LARGEST_LABEL, ROWS, Columns, FieldSettings, default_ids, map_columns, missing_field
from sources.files.reading import (
    EXCERPT,
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
from sources.formats.quoted_rows import QuotedRowReader
from sources.schema import QuarantineRows
from sources.source import Extracted, Source, SourceError, Split, extracted

NAME: Final = "table"
STEP_BYTES: Final = 8 << 20  # of the texts of one step of Parquet, written out: a row beyond it comes alone
Counts = npt.NDArray[np.int64]  # a number for each row
DECODED: Final = 256 << 20  # bytes that rows of Parquet decoded at once may take in a row group of one long text


class TableSettings(FieldSettings):
    """Settings of the table source. Columns are named by the header, or numbered from 0 (`"0"`)."""

    header: bool = Field(True, description="whether the first row names the columns; without it, number them from 0")
    column_names: tuple[str, ...] | None = Field(None, description="names of the columns of a file without header")
    delimiter: str | None = Field(
        None, pattern=r"^[\t -!#-~]$", description="one ASCII character; default: a tab, a comma for .csv"
    )
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
        return QuotedRowReader(split, _delimiter(split.path, settings), settings.max_line_bytes)
    return LineReader(split, settings.max_line_bytes)


def _column_names(split: Split, settings: TableSettings) -> list[str] | None:
    """The names of the columns, from the first row of the file; None for a file without rows."""
    first = next(iter(_reader(Split(split.path, encoding=split.encoding), settings)), None)
    if first is None:
        return None
    if isinstance(first, LongRecord):
        raise SourceError(f"{split.path}: the first row is longer than {settings.max_line_bytes} bytes: is it a table?")
    row = _slice(first, 0, 1).decode("utf-8", "replace")
    try:
        cells = _cells(row, _delimiter(split.path, settings), _quoting(split.path, settings))
    except csv.Error as error:
        raise SourceError(
            f"{split.path}: the first row is no row of CSV ({error}): {row[:200]!r}. Correct it, or set `quoting: false` where "
            "the quotes of the file are part of its texts"
        ) from error
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
    rows = csv.reader(io.StringIO(row, newline=""), delimiter=delimiter, strict=True)
    cells = next(rows, [])
    if next(rows, None) is not None:
        raise csv.Error("it goes on after the end of the row")
    return cells


def _slice(block: RecordBlock, start: int, end: int) -> bytes:
    begin = int(block.offsets[start] - block.offsets[0])
    stop = int(block.offsets[end] - block.offsets[0]) if end < len(block.offsets) else len(block.data)
    return block.data[begin:stop]


def _blank_rows(block: RecordBlock, start: int, end: int) -> list[int]:
    """Which of the rows [start, end) of a block hold nothing but their newline, counted from `start`."""
    bounds = np.append(block.offsets[start : end + 1], block.offsets[0] + len(block.data))[: end - start + 1]
    short = np.flatnonzero(np.diff(bounds) <= len(b"\r\n")).tolist()
    return [row for row in short if not _slice(block, start + row, start + row + 1).strip(b"\r\n")]


class _Rows:
    """The rows of one split: ragged and unreadable ones to quarantine, the others to columns."""

    def __init__(self, split: Split, settings: TableSettings, names: list[str]) -> None:
        self._settings, self._names = settings, names
        self._delimiter, self._quoting = _delimiter(split.path, settings), _quoting(split.path, settings)
        self._split = split
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
        table = self._parse(data, end - start) if block.regular else None
        bad = 0
        if table is None:
            table, kept, bad = self._parse_slowly(block, start, end)
            offsets = offsets[kept]
        elif blank := _blank_rows(block, start, end):  # to Arrow they are rows of empty cells
            filled = np.delete(np.arange(end - start), blank)
            table, offsets = table.take(pa.array(filled)), offsets[filled]
        columns = {name: table.column(name) for name in self._used}
        mapped = _columns(columns, self._settings, self._split, offsets.tolist())
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


def _columns(columns: dict[str, pa.Array], settings: FieldSettings, split: Split, offsets: Iterable[int]) -> Columns:
    """Raw columns by name to the columns of pairs."""
    file = split.path

    def texts(name: str | None) -> pa.Array | None:
        return _texts(columns[name], name, file) if name is not None and name in columns else None

    label = columns.get(settings.label_field) if settings.label_field else None
    identity = columns.get(settings.document_id) if settings.document_id else None
    given = None if identity is None else _written_out(identity).cast(pa.string())
    query, positive = (_texts(columns[name], name, file) for name in (settings.query, settings.positive))
    if pa.types.is_list(query.type) and pa.types.is_list(positive.type):
        raise SourceError(f"{file}: {settings.query!r} and {settings.positive!r} are both lists: one must be a text")
    return Columns(
        query=query,
        positive=positive,
        document_id=default_ids(
            split, offsets, None if given is None else pc.if_else(pc.equal(given, ""), None, given)
        ),
        negatives=texts(settings.negatives),
        url=texts(settings.url),
        license=texts(settings.license_field),
        query_language=texts(settings.query_language_field),
        positive_language=texts(settings.positive_language_field),
        label=None if label is None else _numbers(label),
        title=texts(settings.title) if settings.documents else None,
        text=texts(settings.text) if settings.documents else None,
    )


def _texts(column: pa.Array, name: str, file: str) -> pa.Array:
    """A column of texts or of lists of texts, as string or list<string>."""
    column = _written_out(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if listed and (pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)):
        return column.cast(pa.list_(pa.string()))
    raise SourceError(f"{file}: column {name!r} is of type {kind}; a column of texts, or of lists of texts, is needed")


def _written_out(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _numbers(column: pa.Array) -> pa.Array:
    """A column of numbers as floats; null what is no number, and what a float32 cannot hold."""
    column = _written_out(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        number = pc.match_substring_regex(column, r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$")
        column = pc.if_else(number, pc.utf8_trim_whitespace(column), None)
    numbers = column.cast(pa.float64())
    held = pc.less_equal(pc.abs(numbers), LARGEST_LABEL)  # no comparison holds of NaN
    return pc.if_else(held, numbers, None).cast(pa.float32())


# Parquet

_DAMAGE: Final = (pa.ArrowException, OSError, ValueError)  # what pyarrow raises over a damaged file


def _read_parquet(split: Split, settings: TableSettings) -> Iterator[Extracted]:
    quarantine = QuarantineRows(settings.label or NAME, split.path, "row")
    with open_stored(split.path) as stored:
        try:
            file = pq.ParquetFile(stored)
        except _DAMAGE as error:
            if split.start == 0:  # said once, not by every split
                quarantine.add(0, _damage(split.path), str(error), "byte")
            yield extracted(len(quarantine), split.size or 0, quarantine=quarantine.take())
            return
        present = _present(file.schema_arrow, settings, split.path)
        groups = _RowGroups(split, settings, file, present)
        first = 0
        for number in range(file.metadata.num_row_groups):
            group = file.metadata.row_group(number)
            start = _page_offset(group.column(0)) if group.num_columns else 0
            if split.start <= start and (split.end is None or start < split.end):
                yield from groups.read(number, first)
            first += group.num_rows


def _damage(path: str) -> str:
    with open_stored(path) as stored:
        return "truncated_file" if stored.read(4) == b"PAR1" or not stored_size(path) else "not_parquet"


def _page_offset(column: Any) -> int:
    offsets = (column.dictionary_page_offset, column.data_page_offset)
    return min(int(offset) for offset in offsets if offset is not None)


def _present(schema: pa.Schema, settings: TableSettings, path: str) -> dict[str, list[str]]:
    """The steps to each column used; SourceError for a required one that the file lacks, or of an impossible type."""
    present = {name: steps for name in settings.wanted() if (steps := _steps(schema, name)) is not None}
    for name in settings.required():
        if name not in present:
            raise missing_field(path, name, _leaf_names(schema))
    for name, steps in present.items():
        kind = _type_at(schema, steps)
        if name == settings.label_field and not _is_number(kind):
            raise SourceError(f"{path}: label column {name!r} is of type {kind}; a column of numbers is needed")
        if name == settings.document_id and (pa.types.is_nested(kind) or pa.types.is_binary(kind)):
            raise SourceError(f"{path}: id column {name!r} is of type {kind}; a column of texts or numbers is needed")
    return present


def _type_at(schema: pa.Schema, steps: Sequence[str]) -> pa.DataType:
    kind = schema.field(steps[0]).type
    for step in steps[1:]:
        kind = kind.field(step).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type may be a label; texts are read as numbers, booleans are none."""
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(texts or numbers or pa.types.is_null(kind))


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


@dataclass(frozen=True)
class _RowGroups:
    """Reads row groups in steps whose texts, written out, are of bounded size."""

    split: Split
    settings: TableSettings
    file: pq.ParquetFile
    present: dict[str, list[str]]

    def read(self, number: int, first: int) -> Iterator[Extracted]:
        """The rows of one row group, from row `first` of the file; a damaged one gives what comes before the damage."""
        group = self.file.metadata.row_group(number)
        end = max(_page_offset(group.column(index)) for index in range(group.num_columns))
        last = first + group.num_rows
        batches = self._batches(number)
        while True:
            try:  # reading only: what comes of our own code is no damage of the file
                batch = next(batches, None)
            except _DAMAGE as error:
                yield self._lost(number, first, max(1, last - first), end, error)
                return
            if batch is None:
                return
            columns = {name: _follow(batch, steps) for name, steps in self.present.items()}
            yield from self._steps(columns, len(batch), first, end)
            first += len(batch)

    def _batches(self, number: int) -> Iterator[pa.RecordBatch]:
        """Batches of up to ROWS rows or about STEP_BYTES, gathered from small ones.

        A text that the file holds once, in its dictionary, may come out in every row of a batch: no batch that is decoded
        at once is so large that this would hurt.
        """
        group = self.file.metadata.row_group(number)
        leaves = [".".join(steps) for steps in self.present.values()]
        rows = max(8, min(64, DECODED // max(1, group.total_byte_size)))
        parts: list[pa.RecordBatch] = []
        size = count = 0
        try:
            for batch in self.file.iter_batches(rows, row_groups=[number], columns=leaves, use_threads=False):
                parts.append(batch)
                size, count = size + batch.nbytes, count + len(batch)
                if size >= STEP_BYTES or count + rows > ROWS:
                    yield _joined(parts)
                    parts, size, count = [], 0, 0
        except _DAMAGE:
            if parts:
                yield _joined(parts)
            raise
        if parts:
            yield _joined(parts)

    def _steps(self, columns: dict[str, pa.Array], rows: int, first: int, end: int) -> Iterator[Extracted]:
        sizes = sum((_by_row(column, _text_bytes) for column in columns.values()), np.zeros(rows, np.int64))
        ends = np.cumsum(sizes)
        begin = 0
        while begin < rows:
            done = int(ends[begin] - sizes[begin])
            stop = max(begin + 1, int(np.searchsorted(ends, done + STEP_BYTES, side="right")))
            part = {name: _written_out(column.slice(begin, stop - begin)) for name, column in columns.items()}
            yield self._step(part, sizes[begin:stop], first + begin, end)
            begin = stop

    def _step(self, columns: dict[str, pa.Array], sizes: Counts, first: int, end: int) -> Extracted:
        quarantine = QuarantineRows(self.settings.label or NAME, self.split.path, "row")
        long = sizes > self.settings.max_line_bytes
        invalid = (
            sum((_by_row(column, _invalid_utf8) for column in columns.values()), np.zeros(len(sizes), np.int64)) > 0
        )
        for row in np.flatnonzero(long | invalid).tolist():
            reason = "line_too_long" if long[row] else "invalid_utf8"
            quarantine.add(first + row + 1, reason, _excerpt(columns, self.settings, row))
        good = np.flatnonzero(~(long | invalid))
        if len(good) < len(sizes):
            columns = {name: column.take(pa.array(good)) for name, column in columns.items()}
        mapped = _columns(columns, self.settings, self.split, (good + first).tolist())
        pairs, rejects, documents = map_columns(mapped, self.settings, NAME)
        return extracted(
            len(sizes), end, pairs=pairs, rejects=rejects, documents=documents, quarantine=quarantine.take()
        )

    def _lost(self, number: int, first: int, rows: int, end: int, error: Exception) -> Extracted:
        """One row of quarantine for all the rows from the damage to the end of the row group."""
        quarantine = QuarantineRows(self.settings.label or NAME, self.split.path, "row")
        detail = f"row group {number + 1} is damaged from here, {rows} rows are lost: {error}"
        quarantine.add(first + 1, "corrupt_file", detail)
        return extracted(rows, end, quarantine=quarantine.take(), lost=rows - 1)


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _by_row(column: pa.Array, measure: Callable[[pa.Array], Counts]) -> Counts:
    """The sum over each row of a measure of its texts; 0 for columns of other types. Dictionaries are not written out."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        of_value = np.append(_by_row(column.dictionary, measure), 0)  # the last for null
        return np.asarray(of_value[column.indices.fill_null(len(of_value) - 1).to_numpy(zero_copy_only=False)])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
        of_entry = _by_row(pc.list_flatten(column), measure)
        return np.bincount(parents, of_entry, len(column)).astype(np.int64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return measure(column)
    return np.zeros(len(column), np.int64)


def _text_bytes(texts: pa.Array) -> Counts:
    return np.asarray(pc.binary_length(texts).fill_null(0).to_numpy(zero_copy_only=False), np.int64)


def _invalid_utf8(texts: pa.Array) -> Counts:
    """1 for each text that is no UTF-8: Parquet's texts are bytes that nobody has checked."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return np.array([not _is_utf8(text) for text in texts.cast(pa.large_binary()).to_pylist()], np.int64)
    return np.zeros(len(texts), np.int64)


def _is_utf8(text: bytes | None) -> bool:
    try:
        return text is None or text.decode() is not None
    except UnicodeDecodeError:
        return False


def _excerpt(columns: dict[str, pa.Array], settings: TableSettings, row: int) -> bytes:
    """The start of the query, or of the positive where the query is a list."""
    for name in (settings.query, settings.positive):
        text = _written_out(columns[name].slice(row, 1))
        if pa.types.is_string(text.type) or pa.types.is_large_string(text.type):
            return bytes(text.cast(pa.large_binary())[0].as_py() or b"")[:EXCERPT]
    return b""


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

"""Records of tables: rows of TSV, CSV and Parquet as objects, each cell under its column's name."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from sources.files.reading import (
    EXCERPT,
    Fault,
    LineReader,
    LongRecord,
    Reader,
    RecordBlock,
    byte_splits,
    open_stored,
    stored_size,
)
from sources.formats.quoted_rows import QuotedRowReader
from sources.record_formats import ROWS, Bad, BlockRecords, Format, Record, RecordBatch
from sources.source import SourceError, Split

LONGEST_CELL: Final = 1 << 30
STEP_BYTES: Final = 8 << 20  # of the rows of Parquet of one step, written out
DECODED: Final = 256 << 20  # bytes that rows of Parquet decoded at once may take in a row group of one long text
DAMAGE: Final = (pa.ArrowException, OSError, ValueError)  # what pyarrow raises over a damaged file
UNREADABLE_VALUE: Final = (pa.ArrowException, ValueError, OverflowError)  # what it raises over a value


def table_splits(path: str, format: Format, target_bytes: int) -> list[Split]:
    """Byte ranges of plain tables without quotes and of Parquet (by row groups); one split for anything else."""
    size = stored_size(path)
    if format.kind_of(path) != "parquet":
        return [Split(path, size=size)] if format.quotes(path) else byte_splits(path, target_bytes)
    if size is None or size <= target_bytes:
        return [Split(path, size=size)]
    return [Split(path, start, min(start + target_bytes, size), size) for start in range(0, size, target_bytes)]


class BadRow(ValueError):
    """A row that is not one of the table: (reason, detail)."""


class TableRecords(BlockRecords):
    """The rows of a split of TSV or CSV."""

    def __init__(self, split: Split, format: Format, longest: int, known_names: frozenset[str]) -> None:
        self._split, self._format = split, format
        self._delimiter = "," if format.kind_of(split.path) == "csv" else "\t"
        self._quotes = format.quotes(split.path)
        self._longest = longest
        super().__init__(self._block_reader(split), "row" if self._quotes else "line")
        self._names, self._header = self._column_names(known_names)

    def _block_reader(self, split: Split) -> Reader:
        if self._quotes:
            return QuotedRowReader(split, self._delimiter, self._longest)
        return LineReader(split, self._longest)

    def _column_names(self, known_names: frozenset[str]) -> tuple[Sequence[str], bool]:
        """The names of the columns, and whether the first row holds them."""
        first = next(iter(self._block_reader(Split(self._split.path, encoding=self._split.encoding))), None)
        if not isinstance(first, RecordBlock):
            return (), False
        try:
            cells = self._cells(_rows(first)[0])
        except BadRow:
            cells = []
        names = [cell.strip() for cell in cells]
        if known_names & set(names) or not self._format.columns:
            return names, True
        for columns in self._format.columns:
            if len(columns) == len(cells):
                return columns, False
        expected = " or ".join(f"{len(columns)} columns ({', '.join(columns)})" for columns in self._format.columns)
        raise SourceError(
            f"{self._split.path}: the first row has {len(cells)} columns, expected {expected}, divided by"
            f" {'a tab' if self._delimiter == chr(9) else 'a comma'}; it begins {' | '.join(names)[:200]!r}"
        )

    def __iter__(self) -> Iterator[RecordBatch]:
        header = self._header and self._split.start == 0
        for block in self.reader:
            if isinstance(block, LongRecord):
                yield self.too_long(block)
                header = False
                continue
            rows, offsets, first = _rows(block), block.offsets.tolist(), block.first
            for start in range(0, len(rows), ROWS):
                end = min(start + ROWS, len(rows))
                numbers = None if first is None else range(first + start, first + end)
                records, bad, blank = self._parse(rows[start:end], block.regular)
                batch = RecordBatch(records, bad, offsets[start:end], numbers, self.unit, rows[start:end])
                yield batch.without([0, *blank] if header else blank)
                header = False

    def _parse(self, rows: list[bytes], regular: bool) -> tuple[list[Record | None], Bad, list[int]]:
        """The record of each row (None where it is bad or blank), why rows are bad, and which are blank."""
        records: list[Record | None] = []
        bad: Bad = {}
        blank = [index for index, row in enumerate(rows) if not row.strip(b"\r\n")]
        width = len(self._names)
        for index, cells in enumerate(self._cells_of_all(rows, regular)):
            if isinstance(cells, BadRow):
                records.append(None)
                bad[index] = cells.args
            elif len(cells) == width or (self._format.short_rows and len(cells) < width):
                records.append(dict(zip(self._names, cells, strict=False)))
            else:
                records.append(None)
                bad[index] = ("wrong_number_of_columns", f"{len(cells)} columns, expected {width}")
        for index in blank:
            records[index] = None
            bad.pop(index, None)
        return records, bad, blank

    def _cells_of_all(self, rows: list[bytes], regular: bool) -> Iterator[list[str] | BadRow]:
        data = b"".join(rows)
        try:
            text = data.decode() if b"\0" not in data else None
        except UnicodeDecodeError:
            text = None
        if text is not None and not self._quotes:
            lines = text.split("\n")
            yield from (line.removesuffix("\r").split(self._delimiter) for line in lines[: len(rows)])
            return
        if text is not None and regular:
            csv.field_size_limit(LONGEST_CELL)
            parsed = list(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter))
            if len(parsed) == len(rows):
                yield from parsed
                return
        for row in rows:
            try:
                yield self._cells(row)
            except BadRow as error:
                yield error

    def _cells(self, row: bytes) -> list[str]:
        """The cells of one row. Raises BadRow."""
        if b"\0" in row:
            raise BadRow("nul_byte", "")
        try:
            text = row.decode()
        except UnicodeDecodeError as error:
            raise BadRow("invalid_utf8", f"byte {error.start + 1} of the row") from error
        if not self._quotes:
            return text.removesuffix("\n").removesuffix("\r").split(self._delimiter)
        csv.field_size_limit(LONGEST_CELL)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True)
        try:
            cells = next(rows, [])
            if next(rows, None) is not None:
                raise BadRow("invalid_csv", "the row goes on after its end")
        except csv.Error as error:
            raise BadRow("invalid_csv", str(error)) from error
        return cells


def _rows(block: RecordBlock) -> list[bytes]:
    """The rows of a block, each with its newline."""
    bounds = [*(block.offsets - block.offsets[0]).tolist(), len(block.data)]
    return [block.data[start:end] for start, end in pairwise(bounds)]


class ParquetRecords:
    """The rows of the row groups that start in a split of a Parquet file.

    Columns that no field of a pair is made of (images, embeddings, dates) are not read, but for those in `named`.
    """

    unit = "row"
    cut_off = b""

    def __init__(self, split: Split, longest: int, named: frozenset[str] = frozenset()) -> None:
        self._split, self._longest, self._named = split, longest, named
        self.position = split.start
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[RecordBatch]:
        with open_stored(self._split.path) as stored:
            try:
                file = pq.ParquetFile(stored)
                columns = [path for field in file.schema_arrow for path in _useful_columns(field, self._named)] or None
            except DAMAGE as error:
                if self._split.start == 0:  # said once, not by every split
                    self.fault = Fault("corrupt_file", 0, f"no readable Parquet file: {error}")
                return
            first = 0
            for number in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(number)
                start = _first_byte(group)
                if self._split.start <= start and (self._split.end is None or start < self._split.end):
                    yield from self._row_group(file, number, first, columns)
                    self.position = start + group.total_byte_size
                first += group.num_rows

    def _row_group(
        self, file: pq.ParquetFile, number: int, first: int, columns: list[str] | None
    ) -> Iterator[RecordBatch]:
        """Steps of up to ROWS rows or about STEP_BYTES, gathered from small batches.

        A text that the file holds once, in its dictionary, may come out in every row: no batch that is decoded at once is
        so large that this would hurt.
        """
        group = file.metadata.row_group(number)
        rows = max(8, min(64, DECODED // max(1, group.total_byte_size)))
        batches = file.iter_batches(rows, row_groups=[number], columns=columns, use_threads=False)
        step = _RowStep(first, self._longest)
        while True:
            try:  # reading only: what comes of our own code is no damage of the file
                batch = next(batches, None)
            except DAMAGE as error:
                step.lose(max(1, first + group.num_rows - step.end), number, error)
                yield step.take()
                return
            if batch is None:
                break
            step.add(batch)
            if step.size >= STEP_BYTES or len(step.records) + rows > ROWS:
                yield step.take()
        if step.records:
            yield step.take()


class _RowStep:
    """Rows of Parquet gathered for one step."""

    def __init__(self, first: int, longest: int) -> None:
        self.end, self._longest = first, longest  # the row after the last
        self._clear()

    def _clear(self) -> None:
        self.records: list[Record | None] = []
        self._bad: Bad = {}
        self._heads: dict[int, bytes] = {}  # how rows that are bad begin
        self._lost = self.size = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Note the rows of a batch."""
        batch = _written_out(batch)
        self.size += batch.nbytes
        try:
            records = batch.to_pylist() if batch.nbytes <= self._longest else None
        except UNREADABLE_VALUE:
            records = None
        if records is not None:
            self.records += records
        else:
            for row in range(len(batch)):
                self._add_row(batch.slice(row, 1))
        self.end += len(batch)

    def _add_row(self, row: pa.RecordBatch) -> None:
        """Note one row: bad where it is too long or no record of Python's (no UTF-8, a date beyond its calendar)."""
        at = len(self.records)
        if row.nbytes > self._longest:
            self._bad[at] = ("line_too_long", "")
            self._heads[at] = _head(row)
            self.records.append(None)
            return
        try:
            self.records += row.to_pylist()
        except UNREADABLE_VALUE as error:
            reason = "invalid_utf8" if isinstance(error, UnicodeDecodeError) else "unreadable_value"
            self._bad[at] = (reason, str(error)[:200])
            self._heads[at] = _head(row)
            self.records.append(None)

    def lose(self, rows: int, number: int, error: Exception) -> None:
        """Note the rows of a row group that cannot be read: one stands for all."""
        detail = f"row group {number + 1} is damaged from here, {rows} rows are lost: {error}"
        self._bad[len(self.records)] = ("corrupt_file", detail)
        self.records.append(None)
        self.end += 1
        self._lost = rows - 1

    def take(self) -> RecordBatch:
        """The rows so far as a batch; the step is empty afterwards."""
        offsets = range(self.end - len(self.records), self.end)
        numbers = range(offsets.start + 1, offsets.stop + 1)
        batch = RecordBatch(self.records, self._bad, offsets, numbers, "row", heads=self._heads, lost=self._lost)
        self._clear()
        return batch


def _written_out(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without dictionaries and views: the size of a slice is that of its own values."""
    return pa.RecordBatch.from_arrays([_column_written_out(column) for column in batch.columns], batch.schema.names)


def _column_written_out(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    return column.cast(pa.large_string()) if pa.types.is_string_view(column.type) else column


def _head(row: pa.RecordBatch) -> bytes:
    """How the texts of a row begin."""
    texts = [
        column for column in row.columns if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]
    stored = (column.cast(pa.large_binary())[0].as_py() or b"" for column in texts)
    return b" | ".join(text[:EXCERPT] for text in stored)[:EXCERPT]


def _useful_columns(field: pa.Field, named: frozenset[str], above: str = "") -> Iterator[str]:
    """The columns of Parquet in a field that can be a part of a record's pairs."""
    path, kind = f"{above}{field.name}", field.type
    if pa.types.is_struct(kind) and path not in named:
        for index in range(kind.num_fields):
            yield from _useful_columns(kind.field(index), named, f"{path}.")
    elif path in named or not _is_useless(kind):
        yield path


def _is_useless(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return bool(pa.types.is_floating(kind.value_type) or _is_useless(kind.value_type))
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    return bool(binary or pa.types.is_temporal(kind) or pa.types.is_decimal(kind))


def _first_byte(group: pq.RowGroupMetaData) -> int:
    columns = [group.column(index) for index in range(group.num_columns)]
    return min(int(column.dictionary_page_offset or column.data_page_offset) for column in columns) if columns else 0

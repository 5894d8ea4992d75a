"""Records of tables: rows of TSV, CSV and Parquet as objects, each cell under its column's name."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from sources.quoted_rows import QuotedRowReader
from sources.reading import (
    Fault,
    LineReader,
    LongRecord,
    Reader,
    RecordBlock,
    byte_splits,
    open_stored,
    stored_size,
)
from sources.record_formats import ROWS, Bad, BlockRecords, Format, Record, RecordBatch
from sources.source import SourceError, Split

LONGEST_CELL: Final = 1 << 30
STEP_BYTES: Final = 8 << 20  # of a Parquet file's rows read at once, as the file counts them
DAMAGE: Final = (pa.ArrowException, OSError, ValueError)  # what pyarrow raises over a damaged file


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
        first = next(iter(self._block_reader(Split(self._split.path))), None)
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
            elif len(cells) == width:
                records.append(dict(zip(self._names, cells, strict=True)))
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
    """The rows of the row groups that start in a split of a Parquet file."""

    unit = "row"
    cut_off = b""

    def __init__(self, split: Split, longest: int) -> None:
        self._split, self._longest = split, longest
        self.position = split.start
        self.fault: Fault | None = None

    def __iter__(self) -> Iterator[RecordBatch]:
        with open_stored(self._split.path) as stored:
            try:
                file = pq.ParquetFile(stored)
            except DAMAGE as error:
                if self._split.start == 0:  # said once, not by every split
                    self.fault = Fault("corrupt_file", 0, f"no readable Parquet file: {error}")
                return
            first = 0
            for number in range(file.metadata.num_row_groups):
                group = file.metadata.row_group(number)
                start = _first_byte(group)
                if self._split.start <= start and (self._split.end is None or start < self._split.end):
                    yield from self._row_group(file, number, first)
                    self.position = start + group.total_byte_size
                first += group.num_rows

    def _row_group(self, file: pq.ParquetFile, number: int, first: int) -> Iterator[RecordBatch]:
        group = file.metadata.row_group(number)
        size = max(1, group.total_byte_size // max(1, group.num_rows))
        rows = max(8, min(ROWS, STEP_BYTES // size))
        batches = file.iter_batches(rows, row_groups=[number], use_threads=False)
        done = 0
        while True:
            try:  # reading only: what comes of our own code is no damage of the file
                batch = next(batches, None)
                records = None if batch is None else batch.to_pylist()
            except DAMAGE as error:
                lost = max(1, group.num_rows - done)
                detail = f"row group {number + 1} is damaged from here, {lost} rows are lost: {error}"
                row = first + done
                bad = {0: ("corrupt_file", detail)}
                yield RecordBatch([None], bad, [row], [row + 1], self.unit, [b""], lost=lost - 1)
                return
            if batch is None or records is None:
                return
            bad = Bad()
            for index, record in enumerate(records):
                if sum(len(value) for value in record.values() if type(value) is str) > self._longest:
                    bad[index] = ("line_too_long", "")
            start = first + done
            offsets = range(start, start + len(records))
            kept = [None if index in bad else record for index, record in enumerate(records)]
            yield RecordBatch(kept, bad, offsets, range(start + 1, start + 1 + len(records)), self.unit)
            done += len(records)


def _first_byte(group: pq.RowGroupMetaData) -> int:
    columns = [group.column(index) for index in range(group.num_columns)]
    return min(int(column.dictionary_page_offset or column.data_page_offset) for column in columns) if columns else 0

"""Named columns of tables without quoting: cut where the delimiters are, and line by line where a row is not as it should be."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from sources.files.reading import LineReader, LongRecord, RecordBlock
from sources.formats.column_blocks import BadRows, ColumnBlock, Columns, Numbers, is_valid, missing_columns
from sources.source import SourceError, Split


class TableColumns:
    """The rows of TSV, or of a table divided by spaces; every quote is part of its cell."""

    def __init__(self, path: str, columns: Columns, bad: BadRows, longest: int) -> None:
        self._path, self._columns, self._bad = path, columns, bad
        self._reader = LineReader(Split(path), longest)
        self._delimiter: str | None = "\t"  # None: any run of white space
        self._places: dict[str, int] = {}
        self._width = 0

    def blocks(self) -> Iterator[ColumnBlock]:
        """The blocks of the file. Raises SourceError where its first row fits none of the layouts."""
        for block in self._reader:
            if isinstance(block, LongRecord):
                yield self._bad.too_long(block)
                continue
            header = not self._width and self._look_at_first_row(block)
            arrays, numbers = self._parse(block)
            if header:
                arrays, numbers = {name: array.slice(1) for name, array in arrays.items()}, numbers[1:]
            yield self._bad.block(arrays, numbers, "line")
        yield from self._bad.fault(self._reader.fault, self._reader.cut_off)

    def _look_at_first_row(self, block: RecordBlock) -> bool:
        """Finds the columns; whether the first row is a header. Raises SourceError."""
        first = next((line for line in block.lines if line.strip()), b"").decode("utf-8", "replace")
        if self._columns.spaces and "\t" not in first:
            self._delimiter = None
        cells = [cell.strip() for cell in first.split(self._delimiter)]
        self._width = len(cells)
        if header := bool(self._columns.known & set(cells)):
            for name, names in self._columns.names.items():
                place = next((cells.index(given) for given in (name, *names) if given in cells), None)
                if place is not None:
                    self._places[name] = place
            if not set(self._columns.required) <= self._places.keys():
                raise missing_columns(self._path, self._columns, cells)
            return header
        layout = next((layout for layout in self._columns.tables if len(layout) == len(cells)), None)
        if layout is None:
            expected = " or ".join(f"{len(layout)} ({', '.join(layout)})" for layout in self._columns.tables)
            raise SourceError(
                f"{self._path}: the first row has {len(cells)} columns, expected {expected or 'a header'}; it begins"
                f" {first[:200]!r}. Is it a file of this corpus?"
            )
        self._places = {name: place for place, name in enumerate(layout) if name}
        return False

    def _parse(self, block: RecordBlock) -> tuple[dict[str, pa.Array], Numbers]:
        numbers = (block.first or 1) + np.arange(len(block.offsets))
        arrays = self._at_once(block)
        if arrays is not None:
            return arrays, numbers
        kept, values = [], []
        for row, line in enumerate(block.lines):
            cells = self._cells(line, int(numbers[row]))
            if cells is not None:
                kept.append(row)
                values.append(cells)
        arrays = {
            name: pa.array([cells[place] for cells in values], pa.string()) for name, place in self._places.items()
        }
        return arrays, numbers[np.array(kept, np.int64)]

    def _at_once(self, block: RecordBlock) -> dict[str, pa.Array] | None:
        """The columns, cut where the delimiters are; None where a row is ragged, blank or no UTF-8."""
        bounds = self._bounds(block)
        if bounds is None:
            return None
        # One array of everything in the block, cells and what divides them in turns: a column is every so many of it.
        offsets = pa.py_buffer(np.append(bounds.ravel(), len(block.data)).astype(np.int32))
        everything = pa.StringArray.from_buffers(bounds.size, offsets, pa.py_buffer(block.data))
        rows = np.arange(len(bounds)) * bounds.shape[1]
        return {name: everything.take(pa.array(rows + 2 * place)) for name, place in self._places.items()}

    def _bounds(self, block: RecordBlock) -> Numbers | None:
        """Start and end of each cell, in the block's bytes, for each row; None where the rows are not all alike."""
        data = block.data
        whole = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))
        if b"\0" in data or not is_valid(whole):
            return None
        characters = np.frombuffer(data, np.uint8)
        starts = block.offsets - block.offsets[0]
        ends = np.append(starts[1:] - 1, len(data) - data.endswith(b"\n"))
        if (ends <= starts).any():
            return None
        ends = ends - (characters[ends - 1] == ord("\r"))
        marks = np.flatnonzero(characters == ord(self._delimiter or " "))
        if len(marks) != len(starts) * (self._width - 1) or (self._delimiter is None and b"\t" in data):
            return None
        between = marks.reshape(len(starts), self._width - 1)
        bounds = np.empty((len(starts), 2 * self._width), np.int64)
        bounds[:, 0], bounds[:, -1] = starts, ends
        bounds[:, 1:-1:2], bounds[:, 2::2] = between, between + 1
        sizes = np.diff(bounds, axis=1)[:, ::2]  # below 0 where a row has too few and another too many
        return None if (sizes < (self._delimiter is None)).any() else bounds

    def _cells(self, line: bytes, number: int) -> list[str] | None:
        """The cells of a row; None for a blank or a bad one, which is quarantined."""
        if not line.strip(b"\r\n"):
            return None
        if b"\0" in line:
            self._bad.add(number, "line", "nul_byte", "", line)
            return None
        try:
            cells = line.decode().split(self._delimiter)
        except UnicodeDecodeError as error:
            self._bad.add(number, "line", "invalid_utf8", f"byte {error.start + 1} of the row", line)
            return None
        if len(cells) != self._width:
            detail = f"{len(cells)} columns, expected {self._width}"
            self._bad.add(number, "line", "wrong_number_of_columns", detail, line)
            return None
        return cells

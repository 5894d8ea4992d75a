"""Rows of CSV whose cells may be quoted, and then hold newlines: whole rows in blocks, as LineReader gives lines."""

from collections.abc import Iterator

import numpy as np

from sources.reading import BLOCK, EXCERPT, MAX_LINE, Block, Fault, LineReader, LongRecord, RecordBlock
from sources.source import Split


class QuotedRowReader:
    """The rows of a whole file as blocks, with LineReader's interface: a newline ends a row after an even number of quotes.

    A row longer than `max_row` bytes (such as what follows a quote that never closes) comes as LongRecord, and reading goes
    on at the line after.
    """

    def __init__(self, split: Split, max_row: int = MAX_LINE, block: int = BLOCK) -> None:
        self._lines = LineReader(split, max_row, block)
        self._max_row = max_row
        self._number = 1
        self.cut_off = b""

    @property
    def position(self) -> int:
        """The stored byte reached."""
        return self._lines.position

    @property
    def fault(self) -> Fault | None:
        """Why the rows end before they should."""
        return self._lines.fault

    def __iter__(self) -> Iterator[Block]:
        waiting, start = b"", 0  # the row whose end has not come, and where it starts
        for block in self._lines:
            if isinstance(block, LongRecord):
                yield self._long(waiting or block.head, start if waiting else block.offset)
                waiting = b""
                continue
            start = start if waiting else int(block.offsets[0])
            data = waiting + block.data
            row_starts = _row_starts(data)
            end = int(row_starts[-1])
            if end:
                yield RecordBlock(data[:end], row_starts[:-1] + start, self._number)
                self._number += len(row_starts) - 1
            waiting, start = data[end:], start + end
            if len(waiting) > self._max_row:
                yield self._long(waiting, start)
                waiting = b""
        if self.fault is not None:
            self.cut_off = waiting[:EXCERPT] + self._lines.cut_off
        elif waiting:
            yield RecordBlock(waiting, np.array([start], np.int64), self._number)

    def _long(self, row: bytes, start: int) -> LongRecord:
        self._number += 1
        return LongRecord(row[:EXCERPT], start, self._number - 1)


def _row_starts(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where each row starts, and, last, where the row starts whose end has not come."""
    characters = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    newlines = np.flatnonzero(characters == ord("\n"))
    ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0] + 1
    return np.concatenate(([0], ends)).astype(np.int64)

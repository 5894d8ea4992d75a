"""Rows of CSV whose cells may be quoted, and then hold newlines: whole rows in blocks, as LineReader gives lines.

A quote opens a quoted cell only where it is the cell's first character, as Python's csv and Arrow have it. Rows that are
not regular (a quote that never closes, or text after a closing one) are given line by line, so that one stray quote
costs its own line only, and every line is counted.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from typing import Final

import numpy as np

from sources.files.reading import BLOCK, EXCERPT, MAX_LINE, Block, Fault, LineReader, LongRecord, RecordBlock
from sources.source import Split

_QUOTED: Final = b'"(?:[^"]++|"")*+"'


class QuotedRowReader:
    """The rows of a whole file as blocks, with LineReader's interface.

    A row longer than `max_row` bytes comes as LongRecord; where a quoted cell has not closed after so many, its lines come
    as rows of their own. Blocks that hold lines of irregular rows say so (`RecordBlock.regular`).
    """

    def __init__(self, split: Split, delimiter: str, max_row: int = MAX_LINE, block: int = BLOCK) -> None:
        self._lines = LineReader(split, max_row, block)
        self._max_row = max_row
        self._number = 1
        self._regular, self._any = _row_patterns(delimiter)
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
                yield from self._blocks(waiting, start, last=True)
                waiting = b""
                yield LongRecord(block.head, block.offset, self._number)
                self._number += 1
                continue
            start = start if waiting else int(block.offsets[0])
            data = waiting + block.data
            end = yield from self._blocks(data, start)
            waiting, start = data[end:], start + end
            if len(waiting) > self._max_row:
                yield from self._blocks(waiting, start, last=True)
                waiting = b""
        yield from self._blocks(waiting, start, last=True)
        self.cut_off = self._lines.cut_off

    def _blocks(self, data: bytes, offset: int, last: bool = False) -> Generator[Block, None, int]:
        """The rows of `data`, which starts at byte `offset` of the file; returns where the unfinished row starts."""
        bounds, regular = self._cut(data, last)
        begin = 0
        sizes = np.diff(bounds)
        for row in np.flatnonzero(sizes > self._max_row + 2).tolist():  # 2: the newline is no part of the row
            yield from self._block(data, bounds[begin : row + 1], offset, regular)
            yield LongRecord(data[bounds[row] : bounds[row] + EXCERPT], offset + bounds[row], self._number)
            self._number += 1
            begin = row + 1
        yield from self._block(data, bounds[begin:], offset, regular)
        return bounds[-1]

    def _block(self, data: bytes, bounds: Sequence[int], offset: int, regular: bool) -> Iterator[RecordBlock]:
        rows = len(bounds) - 1
        if rows > 0:
            offsets = np.array(bounds[:-1], np.int64) + offset
            yield RecordBlock(data[bounds[0] : bounds[-1]], offsets, self._number, regular)
            self._number += rows

    def _cut(self, data: bytes, last: bool) -> tuple[list[int], bool]:
        """Where each row starts, then where the unfinished one does; and whether all are regular."""
        if b'"' not in data:
            return _line_bounds(data, 0, len(data)), True
        bounds, regular = [0], True
        while (begin := bounds[-1]) < len(data):
            if row := self._regular.match(data, begin):
                bounds.append(row.end())
                continue
            irregular = self._any.match(data, begin)
            if irregular is None or (irregular.lastindex and not last):
                break
            regular = False
            bounds += _line_bounds(data, begin, irregular.end())[1:]
        return bounds, regular


def _row_patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """A regular row; and any row as Python's csv would end it, a group of it set where a quoted cell does not close.

    No pattern ever goes back over what it matched: each takes linear time on any bytes.
    """
    mark = re.escape(delimiter.encode())
    cell = rb'(?>%s|[^"%s\r\n][^%s\r\n]*+|)' % (_QUOTED, mark, mark)
    loose = rb'(?:"(?:[^"]++|"")*+(?:"|(\Z)))?+[^%s\n]*+' % mark
    return (
        re.compile(rb"%s(?:%s%s)*+(?:\r?\n|\Z)" % (cell, mark, cell)),
        re.compile(rb"%s(?:%s%s)*+(?:\n|\Z)" % (loose, mark, loose)),
    )


def _line_bounds(data: bytes, begin: int, end: int) -> list[int]:
    """Where each line of data[begin:end] starts, and the end."""
    ends = np.flatnonzero(np.frombuffer(data, np.uint8, end - begin, begin) == ord("\n")) + begin + 1
    bounds = [begin, *ends.tolist()]
    return bounds if bounds[-1] == end else [*bounds, end]

"""Two files whose lines belong together: streamed side by side, as Arrow arrays, in bounded memory.

The files are only as good as their alignment: where one has more lines than the other, a line is missing somewhere, and
every pair after it joins sentences that are no translations. Nothing tells where. So the lines are counted first, and a
group whose counts differ goes to quarantine as a whole (`unequal_line_counts`); blank lines at the end do not count.
A file that is cut off is another matter: up to there the lines do belong together, and are given.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from sources.files.reading import ByteStream, Fault, LineReader, LongRecord, RecordBlock
from sources.source import Split

Bad = dict[int, tuple[str, str]]  # row: (reason, detail)
ROWS: Final = 16_384  # most lines of a block


@dataclass(frozen=True)
class LineBlock:
    """Some lines of every file: string arrays of one length, the number of the first, and those that cannot be used."""

    texts: list[pa.Array]
    first: int
    bad: Bad


@dataclass(frozen=True)
class LineCount:
    """Lines of a file up to the last one that is not blank; fewer than it should have where there is a fault."""

    lines: int
    fault: Fault | None


def count_lines(path: str) -> LineCount:
    """Count the lines of a file in one pass."""
    stream = ByteStream(path)
    lines = ended = 0
    for chunk in stream:
        if text := chunk.rstrip(b"\r\n"):
            lines = ended + text.count(b"\n") + 1
        ended += chunk.count(b"\n")
    return LineCount(lines, stream.fault)


class AlignedLines:
    """The first `lines` lines of several files. Once the blocks have run out, `faults` says which files ended early."""

    def __init__(self, paths: Sequence[str], lines: int, longest: int) -> None:
        self._paths, self._lines = paths, lines
        self._readers = [LineReader(Split(path), longest) for path in paths]
        self.given = 0  # lines of every file given so far

    @property
    def position(self) -> int:
        """The stored byte reached in the first file."""
        return self._readers[0].position

    @property
    def faults(self) -> dict[str, tuple[Fault, bytes]]:
        """By path: what ended a file early, and its unfinished line."""
        return {
            path: (reader.fault, reader.cut_off)
            for path, reader in zip(self._paths, self._readers, strict=True)
            if reader.fault is not None
        }

    def __iter__(self) -> Iterator[LineBlock]:
        sides = [_Side(iter(reader), path) for reader, path in zip(self._readers, self._paths, strict=True)]
        while self.given < self._lines:
            ready = min(side.ready() for side in sides)  # asks each: so that each meets its own fault
            rows = min(ready, ROWS, self._lines - self.given)
            if not rows:
                return
            taken = [side.take(rows) for side in sides]
            bad: Bad = {}
            for _, wrong in taken:
                bad = wrong | bad
            yield LineBlock([texts for texts, _ in taken], self.given + 1, bad)
            self.given += rows


class _Side:
    """The lines of one file that wait for those of the others."""

    def __init__(self, blocks: Iterator[RecordBlock | LongRecord], path: str) -> None:
        self._blocks, self._name = blocks, path.rpartition("/")[2]
        self._texts = pa.array([], pa.string())
        self._bad: Bad = {}

    def ready(self) -> int:
        """How many lines wait; none only at the end of the file."""
        while not len(self._texts):
            block = next(self._blocks, None)
            if block is None:
                return 0
            if isinstance(block, LongRecord):
                self._texts = pa.array([""])
                self._bad = {0: ("line_too_long", f"{self._name}: {block.head[:100].decode('utf-8', 'replace')}")}
            else:
                self._texts, self._bad = self._decoded(block)
        return len(self._texts)

    def take(self, rows: int) -> tuple[pa.Array, Bad]:
        texts, self._texts = self._texts[:rows], self._texts[rows:]
        bad = {row: why for row, why in self._bad.items() if row < rows}
        self._bad = {row - rows: why for row, why in self._bad.items() if row >= rows}
        return texts, bad

    def _decoded(self, block: RecordBlock) -> tuple[pa.Array, Bad]:
        """The lines as texts; "" for one that is no UTF-8."""
        rows = len(block.offsets)
        starts = block.offsets - block.offsets[0] - np.arange(rows)  # without the newlines before
        data = block.data.replace(b"\n", b"")
        offsets = np.append(starts, len(data)).astype(np.int32)
        texts = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))
        try:
            texts.validate(full=True)
        except pa.ArrowInvalid:
            return self._decoded_slowly(block)
        return texts, {}

    def _decoded_slowly(self, block: RecordBlock) -> tuple[pa.Array, Bad]:
        texts: list[str] = []
        bad: Bad = {}
        for row, line in enumerate(block.lines):
            try:
                texts.append(line.decode())
            except UnicodeDecodeError as error:
                texts.append("")
                excerpt = line[:100].decode("utf-8", "backslashreplace")
                bad[row] = ("invalid_utf8", f"{self._name}, byte {error.start + 1} of the line: {excerpt}")
        return pa.array(texts, pa.string()), bad

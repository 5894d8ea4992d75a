"""Rows on disk, divided by a key, for joins of files that are larger than memory (a Grace hash join).

    parts = Partitions(count, schema)
    parts.add(keys, batch)                # as often as needed
    for number in range(count):
        table = parts.read(number)        # all rows whose key falls into this part, in the order they were added

Two sets of rows with one `count` and one kind of key meet part by part, and a part is small enough to be held.
"""

import tempfile
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from sources.source import SourceError

PART_BYTES: Final = 16 << 20  # of the input that a part is meant to hold
BUFFER_BYTES: Final = 48 << 20  # of rows held before they are written
MOST_PARTS: Final = 4096
LARGEST_PART: Final = 256 << 20  # bytes of a part as it is stored: ten times what the largest corpus gives
_UNKNOWN_SIZE: Final = 8 << 30
_COMPRESSION: Final = 8  # how much larger a compressed file of text is than it looks, with room to spare

_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")

Keys = npt.NDArray[np.uint64]


def partition_count(stored_bytes: int | None, compressed: bool = False) -> int:
    """How many parts the rows of so many bytes of input are divided into; the size may be unknown (None)."""
    size = _UNKNOWN_SIZE if stored_bytes is None else stored_bytes * (_COMPRESSION if compressed else 1)
    return min(MOST_PARTS, size // PART_BYTES + 1)


def text_key(text: str) -> int:
    """A 64-bit key of an id (xxh3): two ids of a hundred million share one with a chance of 1 in 3,000."""
    return xxhash.xxh3_64_intdigest(text.encode())


class Partitions:
    """Rows of `schema` in `count` parts of a temporary file (Arrow IPC streams, LZ4), gathered in memory before each write.

    The file lies in TMPDIR and has no name: it is gone with the process, however that ends. In memory are 8 bytes a part
    for each write.
    """

    def __init__(self, count: int, schema: pa.Schema, buffer_bytes: int | None = None) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the object
        self._writes: list[npt.NDArray[np.int64]] = []  # of each, where its parts start, and its end
        self._end = 0
        self.count, self._schema = count, schema
        self._buffer = BUFFER_BYTES if buffer_bytes is None else buffer_bytes
        self._keys: list[Keys] = []
        self._batches: list[pa.RecordBatch] = []
        self._size = 0

    def add(self, keys: Keys, rows: pa.RecordBatch) -> None:
        """Add rows, each under the key of its place in `keys` (uint64, as many as rows).

        Raises SourceError where the disk is full.
        """
        if not rows.num_rows:
            return
        self._keys.append(keys)
        self._batches.append(rows)
        self._size += rows.nbytes
        if self._size >= self._buffer:
            self._write()

    def read(self, number: int) -> pa.Table:
        """The rows of one part, in the order they were added.

        Raises SourceError where they are too many for memory: far too many rows share their keys.
        """
        self._write()
        spans = [(int(starts[number]), int(starts[number + 1])) for starts in self._writes]
        if sum(end - start for start, end in spans) > LARGEST_PART:
            raise SourceError(
                f"more than {LARGEST_PART:,} bytes of the input belong together by their ids (answers of one question,"
                " citations of one paper ...): it is damaged, or no corpus of this source"
            )
        batches: list[pa.RecordBatch] = []
        for start, end in spans:
            if start < end:
                self._file.seek(start)
                batches += pa.ipc.open_stream(self._file.read(end - start))
        return pa.Table.from_batches(batches, self._schema)

    def close(self) -> None:
        """Free the disk."""
        self._file.close()

    def _write(self) -> None:
        if not self._batches:
            return
        part = np.concatenate(self._keys) % np.uint64(self.count)
        order = np.argsort(part, kind="stable")
        rows = pa.Table.from_batches(self._batches, self._schema).combine_chunks()
        self._keys, self._batches, self._size = [], [], 0
        numbers, starts = np.unique(part[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        sizes = np.zeros(self.count + 1, np.int64)
        sizes[0] = self._end
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            sizes[number + 1] = self._append(rows.take(pa.array(order[start:end])))
        self._writes.append(np.cumsum(sizes))
        self._end = int(self._writes[-1][-1])

    def _append(self, rows: pa.Table) -> int:
        """The bytes that the rows take at the end of the file."""
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, self._schema, options=_OPTIONS) as writer:
            writer.write_table(rows)
        stored = stream.getvalue()
        try:
            self._file.seek(0, 2)
            self._file.write(stored)
            self._file.flush()
        except OSError as error:
            raise SourceError(
                f"no temporary file can be written in {tempfile.gettempdir()} ({error}): free some space there, or set TMPDIR to"
                " a folder that has more"
            ) from error
        return int(stored.size)

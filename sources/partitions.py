"""Rows on disk, divided by a key, for joins of files that are larger than memory (a Grace hash join).

    with TemporaryDirectory() as folder:
        parts = Partitions(Path(folder), "papers", count, schema)
        parts.add(keys, batch)                # as often as needed
        for number in range(count):
            table = parts.read(number)        # all rows whose key falls into this part, in the order they were added

Two sets of rows with one `count` and one kind of key meet part by part, and a part is small enough to be held.
"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

PART_BYTES: Final = 16 << 20  # of the input that a part is meant to hold
BUFFER_BYTES: Final = 48 << 20  # of rows held before they are written
MOST_PARTS: Final = 4096
_UNKNOWN_SIZE: Final = 8 << 30
_COMPRESSION: Final = 8  # how much larger a compressed file of text is than it looks, with room to spare

Keys = npt.NDArray[np.uint64]


def partition_count(stored_bytes: int | None, compressed: bool = False) -> int:
    """How many parts the rows of so many bytes of input are divided into; the size may be unknown (None)."""
    size = _UNKNOWN_SIZE if stored_bytes is None else stored_bytes * (_COMPRESSION if compressed else 1)
    return min(MOST_PARTS, size // PART_BYTES + 1)


def text_key(text: str) -> int:
    """A 64-bit key of an id (xxh3): two ids of a hundred million share one with a chance of 1 in 3,000."""
    return xxhash.xxh3_64_intdigest(text.encode())


class Partitions:
    """Rows of `schema` in `count` files below `folder` (Arrow IPC streams, LZ4), gathered in memory before each write.

    A file is opened only while it is written or read: the count is not bounded by open files.
    """

    def __init__(self, folder: Path, name: str, count: int, schema: pa.Schema, buffer_bytes: int | None = None) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self.count, self._schema = count, schema
        self._buffer = BUFFER_BYTES if buffer_bytes is None else buffer_bytes
        self._keys: list[Keys] = []
        self._batches: list[pa.RecordBatch] = []
        self._size = 0

    def add(self, keys: Keys, rows: pa.RecordBatch) -> None:
        """Add rows, each under the key of its place in `keys` (uint64, as many as rows)."""
        if not rows.num_rows:
            return
        self._keys.append(keys)
        self._batches.append(rows)
        self._size += rows.nbytes
        if self._size >= self._buffer:
            self._write()

    def read(self, number: int) -> pa.Table:
        """The rows of one part, in the order they were added."""
        self._write()
        path = self._path(number)
        if not path.exists():
            return self._schema.empty_table()
        batches: list[pa.RecordBatch] = []
        with pa.OSFile(str(path)) as file:
            while file.tell() < file.size():
                batches += pa.ipc.open_stream(file)
        return pa.Table.from_batches(batches, self._schema)

    def remove(self, number: int) -> None:
        """Free the disk of a part that has been read."""
        self._path(number).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.arrows"

    def _write(self) -> None:
        if not self._batches:
            return
        part = np.concatenate(self._keys) % np.uint64(self.count)
        order = np.argsort(part, kind="stable")
        rows = pa.Table.from_batches(self._batches, self._schema).combine_chunks()
        self._keys, self._batches, self._size = [], [], 0
        numbers, starts = np.unique(part[order], return_index=True)
        ends = [*starts[1:].tolist(), len(order)]
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            with (
                self._path(number).open("ab") as file,
                pa.ipc.new_stream(file, self._schema, options=options) as stream,
            ):
                stream.write_table(rows.take(pa.array(order[start:end])))

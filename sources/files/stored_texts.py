"""Texts by number in a temporary file: a corpus is read once, and its judged passages are then taken in any order."""

import os
import tempfile
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Numbers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.integer]

_GAP: Final = 1024  # bytes between two texts that are read and left rather than stepped over


class StoredTexts:
    """Texts of the numbers 0 to count-1, each written once, in any order; the first of a number counts.

    In memory are 12 bytes a text. The file has no name (it is gone with the process) and is read piece by piece: were it
    mapped into memory, texts taken here and there would bring in nearly all of it.
    """

    def __init__(self, count: int) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the object
        self._row = np.full(count, -1, np.int32)  # of each number; -1: not written
        self._parts: list[Numbers] = []  # sizes of the rows of each addition
        self._rows = 0
        self._offsets: Numbers | None = None  # of the rows, and the end: once all are written

    def add(self, numbers: Codes, texts: pa.Array) -> None:
        """Write the texts (string array; null is empty) of some numbers."""
        assert self._offsets is None, "add after take"
        first = np.unique(numbers, return_index=True)[1]
        new = np.sort(first[self._row[numbers[first]] < 0])
        if not len(new):
            return
        texts = texts.take(pa.array(new)).fill_null("")
        self._row[numbers[new]] = np.arange(self._rows, self._rows + len(new), dtype=np.int32)
        self._rows += len(new)
        sizes = np.asarray(pc.binary_length(texts).to_numpy(zero_copy_only=False), np.int64)
        self._parts.append(sizes)
        if total := int(sizes.sum()):
            self._file.write(memoryview(texts.buffers()[2])[:total])

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Which of all numbers were not written."""
        return np.asarray(self._row < 0)

    def sizes(self) -> Numbers:
        """Bytes of the text of every number; 0 where there is none."""
        sizes = np.append(np.diff(self._finished()), 0)
        return np.asarray(sizes[self._row])

    def take(self, numbers: Codes) -> pa.Array:
        """The texts of some numbers (string array); null where there is none. At most 2 GB at once."""
        offsets = self._finished()
        rows, places = np.unique(self._row[numbers], return_inverse=True)
        written = rows[rows >= 0]
        bounds, data = self._read(offsets[written], offsets[written + 1])
        # Every other entry is a text; those between are what lies between two texts.
        texts = pa.StringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds.astype(np.int32)), pa.py_buffer(data))
        entries = 2 * (places - (len(rows) - len(written)))
        return texts.take(pa.array(entries, pa.int64(), mask=entries < 0))

    def _read(self, starts: Numbers, ends: Numbers) -> tuple[Numbers, bytes]:
        """The texts at some places of the file, in its order: bounds in the bytes read, start and end in turns."""
        if not len(starts):
            return np.zeros(1, np.int64), b""
        breaks = np.flatnonzero(starts[1:] - ends[:-1] > _GAP) + 1
        firsts = np.concatenate(([0], breaks))
        lasts = np.append(breaks, len(starts)) - 1
        file = self._file.fileno()
        places = zip(starts[firsts].tolist(), (ends[lasts] - starts[firsts]).tolist(), strict=True)
        pieces = [os.pread(file, size, start) for start, size in places]
        # What is stepped over moves all that follows it.
        skipped = np.zeros(len(starts), np.int64)
        skipped[0] = starts[0]
        skipped[breaks] = starts[breaks] - ends[breaks - 1]
        moved = np.cumsum(skipped)
        bounds = np.stack([starts - moved, ends - moved], 1).ravel()
        return bounds, b"".join(pieces)

    def _finished(self) -> Numbers:
        """Where each row starts, once everything is written."""
        if self._offsets is None:
            sizes = np.concatenate([np.zeros(0, np.int64), *self._parts])
            self._offsets = np.concatenate(([0], np.cumsum(sizes)))
            self._parts = []
            self._file.flush()
        return self._offsets

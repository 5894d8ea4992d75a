"""Rows of Arrow files that are memory-mapped, so that only those asked for come into memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.mining.work import read_arrow


class StoredRows:
    """Columns over several Arrow files of one schema, their rows numbered through."""

    def __init__(self, paths: Sequence[Path], columns: Sequence[str] | None = None) -> None:
        tables = [read_arrow(path) for path in paths]
        chosen = [table if columns is None else table.select(list(columns)) for table in tables]
        self._empty = pa.RecordBatch.from_pylist([], chosen[0].schema)
        self._batches = [batch for table in chosen for batch in table.to_batches() if batch.num_rows]
        self._bounds = np.cumsum([0, *(batch.num_rows for batch in self._batches)])

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def take(self, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
        """The rows at these places int64 [n], in their order."""
        if len(places) == 0:
            return self._empty
        order = np.argsort(places, kind="stable")
        ordered = np.asarray(places)[order]
        numbers = np.searchsorted(self._bounds, ordered, "right") - 1
        cuts = np.flatnonzero(np.diff(numbers)) + 1
        parts = [
            self._batches[numbers[start]].take(pa.array(ordered[start:end] - self._bounds[numbers[start]]))
            for start, end in zip(np.r_[0, cuts], np.r_[cuts, len(ordered)], strict=True)
        ]
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return pa.concat_batches(parts).take(pa.array(back))


class Texts:
    """Distinct texts by their numbers: `first` int64 [n] says where in the stored rows each is."""

    def __init__(self, rows: StoredRows, first: npt.NDArray[np.int64]) -> None:
        self._rows, self._first = rows, first

    def __len__(self) -> int:
        return len(self._first)

    def take(self, numbers: npt.NDArray[np.int64]) -> pa.Array:
        """large_string [n], in the order of the numbers."""
        return self._rows.take(np.asarray(self._first[numbers])).column(0)

"""Which rows the page shows, and reading just those.

A pair's id is a hash of the pair, so the rows with the smallest ids are a random sample that is the same on every run. They are
taken in turn from each stratum (a source, a reason), so that rare ones are seen too.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import storage
from pipelines.report.text import FULL_CHARACTERS

ROWS_AT_ONCE = 1024


@dataclass(frozen=True, order=True)
class Place:
    """One row of one shard."""

    pair_id: bytes
    url: str
    row: int


class SmallestIds:
    """The places of the `each` smallest pair ids of every stratum, over any number of batches, in memory bounded by the strata."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._held: dict[str, list[Place]] = {}

    def add(self, url: str, first_row: int, pair_id: pa.Array, stratum: pa.Array) -> None:
        """Take in the rows from `first_row` of the shard at `url`: binary(16)[rows] ids, string[rows] strata, null: not this row."""
        if not self._each:
            return
        halves = np.frombuffer(pair_id.buffers()[1], ">u8").reshape(-1, 2)[pair_id.offset :][: len(pair_id), 0]
        names = stratum.dictionary_encode()
        codes = names.indices.fill_null(-1).to_numpy()
        for code, name in enumerate(names.dictionary.to_pylist()):
            held = self._held.get(name, [])
            rows = np.flatnonzero(codes == code)
            if len(held) == self._each:
                limit = int.from_bytes(held[-1].pair_id[:8], "big")
                rows = rows[halves[rows] <= limit]
            # Equal halves beyond the cut are as good as those before it: a stable sort makes the choice repeatable.
            rows = rows[np.argsort(halves[rows], kind="stable")[: self._each]]
            ids = pair_id.take(pa.array(rows)).to_pylist()
            found = [Place(i, url, first_row + int(row)) for i, row in zip(ids, rows, strict=True)]
            self._held[name] = sorted([*held, *found])[: self._each]

    def in_turn(self, wanted: int) -> list[tuple[str, Place]]:
        """Up to `wanted` (stratum, place): the first of every stratum, then the second of every one, and so on."""
        turns = [(n, place, name) for name, places in self._held.items() for n, place in enumerate(places)]
        return [(name, place) for _, place, name in sorted(turns)[:wanted]]


def joined(*columns: pa.Array) -> pa.Array:
    """Strata of several columns: their values with NUL between, which no normalised text holds."""
    return pc.binary_join_element_wise(*columns, "\x00")


def rows_at(places: Iterable[tuple[str, int]], columns: Sequence[str]) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows at some (url, row), by place. Only the row groups that hold them are read, a few rows at a time; texts are cut a
    little above what the page shows."""
    by_url: dict[str, list[int]] = defaultdict(list)
    for url, row in sorted(set(places)):
        by_url[url].append(row)
    return {(url, row): found for url, rows in by_url.items() for row, found in _rows_of(url, np.array(rows), columns)}


def _rows_of(url: str, rows: "np.ndarray[Any, Any]", columns: Sequence[str]) -> Iterable[tuple[int, dict[str, Any]]]:
    with storage.open_for_reading(url) as stream, pq.ParquetFile(stream) as parquet:
        sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        first_rows = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        for group in np.unique(np.searchsorted(first_rows, rows, "right") - 1).tolist():
            row = int(first_rows[group])
            for batch in parquet.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=list(columns)):
                here = rows[(rows >= row) & (rows < row + batch.num_rows)]
                if len(here):
                    found = _cut_texts(batch.take(pa.array(here - row)))
                    yield from zip(here.tolist(), found.to_pylist(), strict=True)
                row += batch.num_rows


def _cut_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [
        pc.utf8_slice_codeunits(column, 0, FULL_CHARACTERS + 1) if pa.types.is_string(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)

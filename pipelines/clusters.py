"""The clusters of near-duplicates that the texts of all shards form, queries and positives apart.

A cluster is a connected component of similar texts; its id is the smallest key (filters.duplicates.dedup_key) in it, its
size the number of pairs with a text of it. For the shard NAME, JOB/clusters/NAME.arrow holds CLUSTERS, one row for each of its
TEXTS (pipelines.sketches).

Here in one process: similar texts from the sketches of all shards, then union-find. Texts are numbered by their keys, so the
clusters follow from the set of texts alone: not from the order of rows or shards, nor from which run sketched them. In
memory are the signatures and folded short texts of one side (filters.near_duplicates) and about 90 bytes a text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.components import smallest_of_components
from filters.duplicates import KEY, key_halves, keys_of_halves, order_of_keys
from filters.near_duplicates import similar_pairs
from filters.shingles import VIEWS
from pipelines import storage
from pipelines.progress import TaskProgress
from pipelines.recipe import NearSettings
from pipelines.sketches import (
    MappedSketches,
    one_batch,
    read_arrow,
    read_texts,
    read_written_texts,
    sketched_texts,
    write_arrow,
)

FOLDER: Final = "clusters"
SIDES: Final = ("query", "positive")
CLUSTERS: Final = pa.schema(
    [
        # The cluster of the text among the queries, null where it is none, and how many pairs have a query of it.
        pa.field("query_cluster_id", KEY),
        pa.field("query_cluster_size", pa.int32()),
        pa.field("positive_cluster_id", KEY),
        pa.field("positive_cluster_size", pa.int32()),
    ]
)
_PIECES_MAPPED: Final = 200  # of sketches, each of some thousand texts, in memory at a time: about 100 MB
_HIDDEN: Final = len(VIEWS)  # a view that no sketch is compared in


@dataclass(frozen=True)
class Shard:
    """A pair shard: its name, where it lies and its content's hash."""

    name: str
    url: str
    sha256: str


def clusters_file(folder: str, name: str) -> str:
    return storage.join(folder, FOLDER, f"{name}.arrow")


def read_clusters(folder: str, name: str) -> pa.RecordBatch:
    """The CLUSTERS of a shard's texts."""
    return one_batch(read_arrow(clusters_file(folder, name)))


def write_clusters(folder: str, shards: Sequence[Shard], near: NearSettings | None) -> None:
    """Write the clusters of all shards, whose sketches lie in the folder."""
    progress = TaskProgress(folder, "clusters")
    texts = _number_texts(folder, shards, near)
    columns: list[list[pa.Array]] = [[] for _ in shards]
    for side in SIDES:
        progress.beat(0)
        roots = np.arange(texts.count)
        if near is not None and compared(near, side):
            roots = _components(folder, shards, texts, side, near)
        sizes = np.bincount(roots, weights=texts.pairs[side], minlength=texts.count).astype(np.int32)
        for arrays, number in zip(columns, texts.shards(), strict=True):
            here = texts.on_side[side][number]
            root = roots[number]
            arrays.append(nullable_keys(texts.high[root], texts.low[root], here))
            arrays.append(pa.array(sizes[root], mask=~here))
    for shard, arrays in zip(shards, columns, strict=True):
        write_arrow(clusters_file(folder, shard.name), pa.RecordBatch.from_arrays(arrays, schema=CLUSTERS))


def compared(near: NearSettings, side: str) -> bool:
    return near.queries if side == "query" else near.positives


@dataclass(frozen=True)
class _Texts:
    """The distinct texts of all shards, numbered in the order of their keys; and the texts of the shards, end to end."""

    high: NDArray[np.uint64]  # [texts]: halves of the keys
    low: NDArray[np.uint64]
    pairs: dict[str, NDArray[np.int32]]  # of each side [texts]: pairs that have the text there
    on_side: dict[str, NDArray[np.bool_]]  # [texts]: whether it is compared with the texts of a side
    number: NDArray[np.int32]  # of each text of the shards
    chosen: NDArray[np.bool_]  # of each text of the shards: whether it is the one whose sketch counts
    bounds: NDArray[np.int64]  # where each shard's texts start, and the end

    @property
    def count(self) -> int:
        return len(self.high)

    def shards(self) -> list[NDArray[np.int32]]:
        """The numbers of each shard's texts."""
        return np.split(self.number, self.bounds[1:-1])


def without_sketch(texts: pa.RecordBatch, near: NearSettings | None) -> NDArray[np.bool_]:
    """Which of a shard's TEXTS have no sketch, because they lie on a side that is not compared: bool [texts]."""
    sketched = sketched_texts(
        texts, queries=near is not None and near.queries, positives=near is not None and near.positives
    )
    return ~sketched


def _number_texts(folder: str, shards: Sequence[Shard], near: NearSettings | None) -> _Texts:
    tables = [read_texts(folder, shard.name) for shard in shards]
    bounds = np.cumsum([0, *(table.num_rows for table in tables)])
    high, low = (np.concatenate(halves) for halves in zip(*(key_halves(table["key"]) for table in tables), strict=True))
    unsketched = np.concatenate([without_sketch(table, near) for table in tables])
    order = order_of_keys(high, low, unsketched, _whole(tables, "hash"))
    high, low = high[order], low[order]
    starts = np.flatnonzero(np.r_[True, (high[1:] != high[:-1]) | (low[1:] != low[:-1])][: len(order)])
    number = np.empty(len(order), np.int32)
    number[order] = np.repeat(np.arange(len(starts), dtype=np.int32), np.diff(np.r_[starts, len(order)]))
    chosen = np.zeros(len(order), bool)
    chosen[order[starts]] = True
    pairs = {side: _sums(number, _whole(tables, column), len(starts)) for side, column in _COUNTS.items()}
    mirrored = _sums(number, _whole(tables, "mirrored"), len(starts)) > 0
    on_side = {"query": (pairs["query"] > 0) | mirrored, "positive": pairs["positive"] > 0}
    return _Texts(high[starts], low[starts], pairs, on_side, number, chosen, bounds)


_COUNTS: Final = {"query": "queries", "positive": "positives"}


def _whole(tables: Sequence[pa.RecordBatch], column: str) -> NDArray[Any]:
    return np.concatenate([table[column].to_numpy(zero_copy_only=False) for table in tables])


def _sums(number: NDArray[np.int32], values: NDArray[Any], count: int) -> NDArray[np.int32]:
    sums: NDArray[np.int32] = np.bincount(number, weights=values, minlength=count).astype(np.int32)
    return sums


def _components(
    folder: str, shards: Sequence[Shard], texts: _Texts, side: str, near: NearSettings
) -> NDArray[np.int64]:
    """Of each text, the one of its cluster with the smallest key: int64 [texts]."""
    mapped = [MappedSketches(folder, shard.name) for shard in shards]
    sketches = _sketches_of_side(mapped, texts, side)
    written = _written_texts(folder, shards, texts) if near.exact else None

    pieces = 0

    def let_go() -> None:
        nonlocal pieces
        pieces += 1
        for each in mapped if pieces % _PIECES_MAPPED == 0 else []:
            each.let_go()

    pairs = similar_pairs(sketches, near, texts=written, shingles=near.sketch, after_reading=let_go)
    return smallest_of_components(pairs["left"].to_numpy(), pairs["right"].to_numpy(), texts.count)


def _sketches_of_side(mapped: Sequence[MappedSketches], texts: _Texts, side: str) -> pa.Table:
    """The sketches of all shards under the texts' numbers; those that do not count are hidden rather than copied around."""
    batches = [pa.RecordBatch.from_pylist([], mapped[0].table.schema)]
    for sketches, first in zip(mapped, texts.bounds, strict=False):
        for batch in sketches.table.to_batches():
            place = first + batch["text"].to_numpy()
            number = texts.number[place]
            shown = texts.chosen[place] & texts.on_side[side][number]
            if not shown.any():
                continue
            view = np.where(shown, batch["view"].to_numpy(), _HIDDEN).astype(np.uint8)
            columns = [pa.array(number.astype(np.int64)), pa.array(view), *batch.columns[2:]]
            batches.append(pa.RecordBatch.from_arrays(columns, schema=batch.schema))
    return pa.Table.from_batches(batches)


def _written_texts(folder: str, shards: Sequence[Shard], texts: _Texts) -> pa.Array:
    """The texts by their numbers: large_string [texts], in memory."""
    written, numbers = [pa.array([], pa.large_string())], [np.zeros(0, np.int64)]
    for shard, first in zip(shards, texts.bounds, strict=False):
        for rows, batch in read_written_texts(shard.url, read_texts(folder, shard.name)):
            here = texts.chosen[first + rows]
            written.append(batch.filter(pa.array(here)).cast(pa.large_string()))
            numbers.append(texts.number[first + rows[here]])
    return pa.concat_arrays(written).take(pa.array(np.argsort(np.concatenate(numbers))))


def nullable_keys(high: NDArray[np.uint64], low: NDArray[np.uint64], valid: NDArray[np.bool_]) -> pa.Array:
    """binary(16) keys from their halves, null where they are not valid."""
    keys = keys_of_halves(high, low)
    mask = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(keys), [mask, keys.buffers()[1]])

"""Negatives that came with the data, as passages: rows of their own behind dedup's, and places before the mined ones.

1. `new_passages`: the texts that are no passage yet, each once
2. `PassageNumbers`: passage ids -> row numbers, over all packed passages
3. `joined_negatives`: a pair's supplied negatives, then its mined ones, without what answers its query
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates import dedup_key, key_halves
from pipelines.shards import read_batches
from sources.schema import text_ids
from trainer.ragged import Ragged

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]


class PassageNumbers:
    """Row numbers by passage id: 24 bytes a passage. Of an id that comes twice, the first row."""

    def __init__(self, ids: Iterable[pa.Array]) -> None:
        halves = [key_halves(each) for each in ids]
        high, low = (np.concatenate([np.empty(0, np.uint64), *(pair[side] for pair in halves)]) for side in (0, 1))
        self._rows = np.lexsort((low, high))
        self._high, self._low = high[self._rows], low[self._rows]

    @classmethod
    def of_shards(cls, urls: Iterable[str]) -> "PassageNumbers":
        """Of the column passage_id of these shards, one after the other."""
        return cls(batch["passage_id"] for url in urls for batch in read_batches(url, ["passage_id"], rows=65_536))

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, ids: pa.Array) -> Int64:
        """The row of each id (binary(16)); -1 where it is none."""
        if not len(self):
            return np.full(len(ids), -1, np.int64)
        high, low = key_halves(ids)
        place, last = (np.searchsorted(self._high, high, side=side) for side in ("left", "right"))
        # Ids that share their first half come one after the other: rarely more than one does.
        while len(ahead := np.flatnonzero((place < last) & (self._low[np.minimum(place, len(self) - 1)] < low))):
            place[ahead] += 1
        found = place < last
        found[found] = self._low[place[found]] == low[found]
        rows = np.full(len(high), -1, np.int64)
        rows[found] = self._rows[place[found]]
        return rows


def new_passages(texts: Iterable[pa.Array], known: PassageNumbers) -> Iterator[pa.RecordBatch]:
    """{passage_id, text, cluster_id} of the texts that are not `known`, each at its first place.

    A text's cluster is its own key: that of the passages that say the same once folded, if one of them is alone.
    Ids of what was yielded are kept, 16 bytes each.
    """
    seen: set[bytes] = set()
    for column in texts:
        ids = text_ids(column)
        fresh = []
        for row in np.flatnonzero(known.find(ids) < 0).tolist():
            identity = ids[row].as_py()
            if identity not in seen:
                seen.add(identity)
                fresh.append(row)
        rows = pa.array(fresh, pa.int64())
        chosen = column.take(rows)
        yield pa.RecordBatch.from_arrays(
            [ids.take(rows), chosen, dedup_key(chosen)], names=["passage_id", "text", "cluster_id"]
        )


def first_negatives(negatives: pa.Array, most: int) -> Ragged:
    """The first `most` texts of each list, by place: which items of `negatives.flatten()`; null lists are empty."""
    counts = np.asarray(pc.list_value_length(negatives).fill_null(0), np.int64)
    kept = np.minimum(counts, most)
    starts = np.cumsum(counts) - counts
    return Ragged.with_lengths(np.repeat(starts - (np.cumsum(kept) - kept), kept) + np.arange(int(kept.sum())), kept)


def with_own_passages(answers: Ragged, own: Int64) -> Ragged:
    """Each list of passage rows, and behind it the row in `own`, where that is not -1 and not there yet."""
    missing = np.flatnonzero(own >= 0)
    width = int(max(own.max(initial=0), answers.values.max(initial=0))) + 1
    missing = missing[~np.isin(missing * width + own[missing], answers.owners * width + answers.values)]
    owners = np.concatenate([answers.owners, missing])
    order = np.argsort(owners, kind="stable")
    return Ragged.grouped(owners[order], np.concatenate([answers.values, own[missing]])[order], len(answers))


class Negatives(NamedTuple):
    """The negatives of some pairs: passage rows, and a score each (NaN: not known)."""

    rows: Ragged
    scores: Ragged


def joined_negatives(supplied: Ragged, mined: Ragged, scores: Ragged, positive: Int64, answers: Ragged) -> Negatives:
    """Each pair's `supplied` passage rows, then its `mined` ones with their `scores`, each once.

    Left out: the pair's own positive and its `answers` (passages found to answer the query, too).
    Raises ValueError where a pair's mined negatives have scores, but not one each.
    """
    pairs = len(positive)
    if len(scores.values) and not np.array_equal(scores.lengths, mined.lengths):
        pair = int(np.flatnonzero(scores.lengths != mined.lengths)[0])
        raise ValueError(
            f"Row {pair} of mine's output has {mined.lengths[pair]} negatives and {scores.lengths[pair]} scores of negatives. "
            f"Delete the run's mine folder and run again."
        )
    owner = np.concatenate([supplied.owners, mined.owners])
    row = np.concatenate([supplied.values, mined.values])
    known = scores.values if len(scores.values) else np.full(len(mined.values), np.nan, np.float32)
    score = np.concatenate([np.full(len(supplied.values), np.nan, np.float32), known.astype(np.float32)])
    order = np.argsort(owner, kind="stable")
    owner, row, score = owner[order], row[order], score[order]
    width = int(max(row.max(initial=0), positive.max(initial=0), answers.values.max(initial=0))) + 1
    keys = owner * width + row
    wrong = np.concatenate([np.arange(pairs) * width + positive, answers.owners * width + answers.values])
    first = np.zeros(len(keys), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    kept = first & ~np.isin(keys, wrong)
    counts = np.bincount(owner[kept], minlength=pairs)
    return Negatives(Ragged.with_lengths(row[kept], counts), Ragged.with_lengths(score[kept], counts))

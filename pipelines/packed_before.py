"""What an earlier run packed: token ids of texts that are packed again, and exports whose lines would be the same.

A shard whose rows moved, or whose clusters or negatives changed, is written anew; its texts are mostly the same ones. A row
with fewer tokens than the limit was not cut, so its token ids are taken over with the count of cut texts staying right; the
others are tokenised again.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import storage
from pipelines.shards import Part, read_batches
from pipelines.supplied_negatives import PassageNumbers
from trainer.packing import PACKED_PASSAGE, PackedTexts, Packer
from trainer.ragged import Ragged

MOST_BYTES: Final = 512 * 2**20
TOKENISING: Final = "tokenising"  # of a part's details: the fingerprint of all that decides token ids, besides the text


class PackedRows:
    """Rows of a packed shard by an id of theirs."""

    def __init__(self, url: str, key: str, columns: tuple[str, ...]) -> None:
        rows = [batch.select([key, *columns]) for batch in read_batches(url, [key, *columns])]
        self._table = pa.Table.from_batches(rows).combine_chunks() if rows else None
        self._numbers = PassageNumbers(batch[key] for batch in rows)

    def find(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        """The row of each id (binary(16)), -1 where there is none."""
        return self._numbers.find(ids)

    def column(self, name: str) -> pa.Array:
        assert self._table is not None
        chunks = self._table[name].chunks
        return chunks[0] if chunks else pa.array([], self._table[name].type)


def rows_before(
    folder: str, part: Part | None, role: str, tokenising: str, key: str, columns: tuple[str, ...]
) -> PackedRows | None:
    """The rows of the shard that a task wrote before; None where there is none, it was tokenised otherwise, or its columns
    would take more than MOST_BYTES of memory."""
    if part is None or part.details.get(TOKENISING) != tokenising:
        return None
    files = [file for file in part.files if file.role == role and file.rows]
    if (
        not files or files[0].bytes > MOST_BYTES // 8
    ):  # token ids take 2 to 3 times the file (measured), and joining them as much again
        return None
    return PackedRows(storage.join(folder, files[0].path), key, columns)


def pack_passages(packer: Packer, batch: pa.RecordBatch, before: PackedRows | None) -> pa.RecordBatch:
    """As packer.pack_passages, from the token_ids and length of rows packed before where they are there."""
    if before is None:
        return packer.pack_passages(batch)
    places = _uncut(before.find(batch["passage_id"]), before.column("length"), packer.max_passage_length)
    new = packer.pack_passages(batch.filter(pa.array(places < 0)))
    columns = {name: _joined(before.column(name), new[name], places) for name in ("token_ids", "length")}
    return pa.RecordBatch.from_arrays(
        [batch["passage_id"], columns["token_ids"], columns["length"], batch["cluster_id"]], schema=PACKED_PASSAGE
    )


QUERY_COLUMNS: Final = ("symmetric", "query_length", "query_token_ids", "plain_query_token_ids")


def pack_queries(packer: Packer, pairs: pa.RecordBatch, before: PackedRows | None) -> PackedTexts:
    """The queries of PAIR rows packed, from rows packed before where they are there: a pair_id stands for one query, source
    and kind, which together with `symmetric` decide the token ids."""
    if before is None:
        return packer.pack_queries(pairs["query"], pairs["symmetric"], pairs["source"], pairs["kind"])
    places = _uncut(before.find(pairs["pair_id"]), before.column("query_length"), packer.max_query_length)
    there = np.flatnonzero(places >= 0)
    now = np.asarray(pairs["symmetric"])[there]
    then = before.column("symmetric").to_numpy(zero_copy_only=False)[places[there]]
    places[there[now != then]] = -1
    rest = pairs.filter(pa.array(places < 0))
    new = packer.pack_queries(rest["query"], rest["symmetric"], rest["source"], rest["kind"])
    plain = new.plain_token_ids
    return PackedTexts(
        _joined(before.column("query_token_ids"), new.token_ids, places),
        _joined(before.column("query_length"), new.lengths, places),
        new.truncated,
        None if plain is None else _joined(before.column("plain_query_token_ids"), plain, places),
    )


def _uncut(places: npt.NDArray[np.int64], lengths: pa.Array, limit: int) -> npt.NDArray[np.int64]:
    """The places of rows with fewer tokens than the limit; -1 for the others."""
    there = np.flatnonzero(places >= 0)
    cut = lengths.to_numpy()[places[there]] >= limit
    places[there[cut]] = -1
    return places


def _joined(before: pa.Array, new: pa.Array, places: npt.NDArray[np.int64]) -> pa.Array:
    """For each place the value there before, and for each -1 the next of the new values."""
    missing = places < 0
    taken = np.where(missing, np.cumsum(missing) - 1 + len(before), places)
    return pa.concat_arrays([before, new.cast(before.type)]).take(pa.array(taken))


def export_key(inputs: Iterable[str], mined: Iterable[pa.RecordBatch], passage_ids: pa.Array) -> str:
    """What an export's lines follow from: `inputs` (hashes of the pairs and settings), and the passages, by id, and scores of
    their mined rows. The row numbers of the passages do not count."""
    told = hashlib.sha256("\0".join(inputs).encode())
    for batch in mined:
        for name in batch.schema.names:
            column = batch[name]
            if name.endswith("_rows"):
                rows = Ragged.of_arrow(column)
                told.update(rows.lengths.tobytes())
                ids = passage_ids.take(pa.array(rows.values)).buffers()[1]
                told.update(memoryview(ids)[: 16 * len(rows.values)] if ids else b"")
            else:
                told.update(_bytes_of(column))
    return told.hexdigest()


def _bytes_of(column: pa.Array) -> bytes:
    """The values of a float column, or of lists of floats, with their lengths and nulls."""
    if pa.types.is_list(column.type):
        lengths = np.asarray(pc.list_value_length(column).fill_null(-1))
        return lengths.tobytes() + _bytes_of(column.flatten())
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    values: bytes = np.asarray(column.fill_null(0)).tobytes()
    return bytes(valid.tobytes()) + values


__all__ = ["QUERY_COLUMNS", "TOKENISING", "PackedRows", "export_key", "pack_passages", "pack_queries", "rows_before"]

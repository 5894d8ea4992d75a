"""What dedup decides by: a row of ids for each pair, and the decisions on the rows of one partition.

A partition holds all rows of its keys. Which rows of a group are kept follows from the rows alone: held-out ones before others
(their training copies would leak), then the better scores.quality, the smaller pair_id, and of equal rows the smaller
position.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from filters.duplicates import combined_keys, first_of_each, in_any_group, key_halves, keys_of_halves, rank_in_group
from sources.schema import text_ids

REASONS: Final = {
    "duplicate_pair": "the same query and positive as a pair that was kept or dropped before",
    "near_duplicate_pair": "nearly the same query and nearly the same positive as a pair that was kept",
    "leaks_held_out": "a training pair with a text of a held-out document, or nearly one",
    "query_cap": "more than max_pairs_per_query pairs of this query, kind and language",
    "positive_cap": "more than max_pairs_per_positive pairs of this positive or near-duplicates, kind and language",
    "document_cap": "more than max_pairs_per_document pairs of this document",
    "domain_cap": "more than max_pairs_per_domain pairs of this host",
}
# Verdicts ride the shuffle as numbers: one for each reason, and two that are no reason to drop.
VERDICTS: Final = (*REASONS, "owns_passage", "nothing")
OWNS_PASSAGE: Final = VERDICTS.index("owns_passage")  # this row is the first of its passage
NOTHING: Final = VERDICTS.index("nothing")  # one such row a shard, so that every shard comes out of the exchange

# What a row is: a pair, or a mark that a held-out pair has a text of the cluster `key`, or the text `query_key` or `positive_key`.
PAIR_ROW, CLUSTER_MARK, TEXT_MARK = range(3)

_KEY: Final = pa.binary(16)
SIGNATURE: Final = pa.schema(
    [
        ("key", _KEY),  # what the next exchange is by
        ("position", pa.int64()),
        ("row_is", pa.int8()),
        ("held_out", pa.bool_()),
        ("symmetric", pa.bool_()),
        ("quality", pa.float32()),  # not a number where there is none
        ("pair_id", _KEY),
        ("query_key", _KEY),
        ("positive_key", _KEY),
        ("query_cluster", _KEY),
        ("positive_cluster", _KEY),
        ("query_group", pa.uint64()),  # the kind and the language of the other side
        ("positive_group", pa.uint64()),
        ("passage_id", _KEY),
        ("document", _KEY),  # null where documents are not capped
        ("domain", _KEY),  # null where domains are not capped, or there is no url
    ]
)
VERDICT: Final = pa.schema([("position", pa.int64()), ("verdict", pa.int8())])

COLUMNS: Final = (
    "pair_id",
    "kind",
    "query_lang",
    "positive_lang",
    "source",
    "document_id",
    "url",
    "symmetric",
    "scores",
)
Divide = Callable[[pa.RecordBatch], pa.Array]  # PAIR columns -> bool[rows]: whether the row's document is held out


class ShardTexts:
    """The keys and clusters of a shard's texts (pipelines.sketches.TEXTS, pipelines.clusters.CLUSTERS), by row."""

    def __init__(self, texts: pa.RecordBatch, clusters: pa.RecordBatch) -> None:
        self.keys = _matrix(texts["key"])
        self._ids = {side: _matrix(clusters[f"{side}_cluster_id"]) for side in ("query", "positive")}
        self._sizes = {side: clusters[f"{side}_cluster_size"] for side in ("query", "positive")}
        self._on_side = {
            side: clusters[f"{side}_cluster_id"].is_valid().to_numpy(zero_copy_only=False) for side in self._ids
        }

    def key(self, rows: NDArray[Any]) -> pa.Array:
        return _keys(self.keys[rows])

    def cluster(self, side: str, rows: NDArray[Any]) -> pa.Array:
        """The cluster of texts among the queries or positives: binary(16); zeros where a text is not among them."""
        return _keys(self._ids[side][rows])

    def size(self, side: str, rows: NDArray[Any]) -> pa.Array:
        return self._sizes[side].take(pa.array(rows))

    def is_on(self, side: str, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Which texts are among the queries or positives."""
        on_side: NDArray[np.bool_] = self._on_side[side][rows]
        return on_side


def _matrix(keys: pa.Array) -> NDArray[np.uint64]:
    raw = np.frombuffer(keys.buffers()[1] or b"", np.uint64).reshape(-1, 2)
    return raw[keys.offset : keys.offset + len(keys)]


def _keys(matrix: NDArray[np.uint64]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(_KEY, len(matrix), [None, pa.py_buffer(np.ascontiguousarray(matrix))])


def held_out_documents(batch: pa.RecordBatch, *, seed: int, share: float, sources: tuple[str, ...]) -> pa.Array:
    """bool[rows]: whether each row's document is held out, by a hash of its id and the seed alone."""
    rows = batch.num_rows
    if share == 0:
        return pa.repeat(pa.scalar(False), rows)
    documents = batch["document_id"].dictionary_encode()
    limit = int(share * 2**64)
    chosen = [
        xxhash.xxh3_64_intdigest(f"{seed}\x00{document}".encode()) < limit
        for document in documents.dictionary.to_pylist()
    ]
    held_out = pa.array(chosen, pa.bool_()).take(documents.indices)
    return pc.and_(held_out, pc.is_in(batch["source"], pa.array(list(sources), pa.string()))) if sources else held_out


def signature_rows(
    batch: pa.RecordBatch,
    rows: pa.RecordBatch,
    texts: ShardTexts,
    first_position: int,
    divide: Divide,
    *,
    by_quality: bool,
    by_document: bool,
    by_domain: bool,
) -> pa.RecordBatch:
    """SIGNATURE rows of a batch with the COLUMNS of PAIR and its ROWS (pipelines.sketches), keyed by the pair of clusters."""
    query, positive = rows["query"].to_numpy(), rows["positive"].to_numpy()
    count = batch.num_rows
    quality = batch["scores"].flatten()[batch["scores"].type.get_field_index("quality")] if by_quality else None
    columns = [
        _cluster_pairs(batch, texts, query, positive),
        pa.array(np.arange(first_position, first_position + count)),
        pa.array(np.full(count, PAIR_ROW, np.int8)),
        divide(batch),
        batch["symmetric"],
        pa.array(np.full(count, np.nan, np.float32)) if quality is None else quality.fill_null(np.nan),
        batch["pair_id"],
        texts.key(query),
        texts.key(positive),
        texts.cluster("query", query),
        texts.cluster("positive", positive),
        hashes(batch["kind"], batch["positive_lang"]),
        hashes(batch["kind"], batch["query_lang"]),
        rows["passage_id"],
        text_ids(_joined(batch["source"], batch["document_id"])) if by_document else pa.nulls(count, _KEY),
        domain_keys(batch["url"]) if by_domain else pa.nulls(count, _KEY),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SIGNATURE)


def _cluster_pairs(batch: pa.RecordBatch, texts: ShardTexts, query: Any, positive: Any) -> pa.Array:
    """A key of each pair of clusters and kind. A symmetric pair is one with its mirror image: both its texts count as queries,
    in the order of their clusters."""
    first, second = texts.cluster("query", query), texts.cluster("positive", positive)
    symmetric = batch["symmetric"].to_numpy(zero_copy_only=False)
    if symmetric.any():
        second = pc.if_else(batch["symmetric"], texts.cluster("query", positive), second)
        first, second = _in_order(first, second, symmetric)
    return combined_keys(first, second, hashes(batch["kind"]))


def _in_order(first: pa.Array, second: pa.Array, where: NDArray[np.bool_]) -> tuple[pa.Array, pa.Array]:
    """The smaller key first in the rows told."""
    high, low = key_halves(first)
    other_high, other_low = key_halves(second)
    turned = where & ((other_high < high) | ((other_high == high) & (other_low < low)))
    return (
        keys_of_halves(np.where(turned, other_high, high), np.where(turned, other_low, low)),
        keys_of_halves(np.where(turned, high, other_high), np.where(turned, low, other_low)),
    )


def hashes(*columns: pa.Array) -> pa.Array:
    """uint64[rows]: a hash of columns of few different strings."""
    encoded = _joined(*columns).dictionary_encode()
    values = [xxhash.xxh3_64_intdigest(value.encode()) for value in encoded.dictionary.to_pylist()]
    return pa.array(values, pa.uint64()).take(encoded.indices)


def _joined(*columns: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(*columns, "\x00")


_SCHEME: Final = r"(?i)^(?:[a-z][a-z0-9+.-]*:)?//"
_HOST: Final = r"(?i)^(?:[^/@?#]*@)?(?:www\.)?(?P<host>[^/:?#\s]+)"


def domain_keys(urls: pa.Array) -> pa.Array:
    """A key of the host of each URL, in lower case and without port and "www."; null where there is none: binary(16)."""
    without_scheme = pc.replace_substring_regex(urls, pattern=_SCHEME, replacement="")
    hosts = pc.utf8_lower(pc.struct_field(pc.extract_regex(without_scheme, pattern=_HOST), "host"))
    encoded = hosts.dictionary_encode()
    return text_ids(encoded.dictionary).take(encoded.indices)


def held_out_marks(signatures: pa.RecordBatch, rows: pa.RecordBatch, texts: ShardTexts, side: str) -> pa.RecordBatch:
    """Marks for the exchange by the clusters of `side`, of the held-out rows: one of each row's cluster on that side, and one of
    the text on its other side, where that is a text of `side` too. `rows` are the ROWS beside the signatures."""
    held_out = signatures["held_out"]
    marked, of_marked = signatures.filter(held_out), rows.filter(held_out)
    other = "positive" if side == "query" else "query"
    other_rows = of_marked[other].to_numpy()
    clusters = _marks(marked, CLUSTER_MARK, marked[f"{side}_cluster"])
    there = pa.array(texts.is_on(side, other_rows))
    of_text = _marks(marked, TEXT_MARK, texts.cluster(side, other_rows))
    of_text = _replaced(of_text, f"{side}_key", marked[f"{other}_key"])
    return pa.concat_batches([clusters, of_text.filter(there)])


def _marks(signatures: pa.RecordBatch, mark: int, keys: pa.Array) -> pa.RecordBatch:
    marks = _replaced(signatures, "row_is", pa.array(np.full(len(keys), mark, np.int8)))
    return _replaced(marks, "key", keys)


def _replaced(batch: pa.RecordBatch, name: str, column: pa.Array) -> pa.RecordBatch:
    place = SIGNATURE.get_field_index(name)
    return batch.set_column(place, SIGNATURE.field(place), column)


def with_key(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    """The rows keyed by another column; rows that have none there are keyed by themselves."""
    return _replaced(batch, "key", pc.coalesce(batch[column], batch["pair_id"]))


Decision = tuple[pa.RecordBatch, pa.RecordBatch]  # signatures kept, verdicts


def drop_duplicate_pairs(rows: pa.RecordBatch) -> Decision:
    """Keep the first row of each pair of clusters. Of those dropped, a pair that equals an earlier one is a duplicate."""
    order = _order(rows)
    first = first_of_each(rows["key"], *order)
    shared = ~first | in_any_group(rows["key"], rows["key"].filter(pa.array(~first)))
    exact = np.zeros(rows.num_rows, bool)
    exact[shared] = ~first_of_each(_exact_pairs(rows.filter(pa.array(shared))), *(each[shared] for each in order))
    near = ~first & ~exact
    return rows.filter(pa.array(first)), _all_verdicts(rows, duplicate_pair=~first & exact, near_duplicate_pair=near)


def _exact_pairs(rows: pa.RecordBatch) -> pa.Array:
    """A key of each pair of texts, in the order of their keys where the pair is symmetric, and its pair of clusters."""
    symmetric = rows["symmetric"].to_numpy(zero_copy_only=False)
    return combined_keys(*_in_order(rows["query_key"], rows["positive_key"], symmetric), rows["key"])


def drop_leaks_and_cap(table: pa.RecordBatch, side: str, cap: int, counted: str) -> Decision:
    """Drop training rows of a cluster or with a text that a held-out row has, then all but the first `cap` rows of each
    text or cluster (what is `counted`), kind and language."""
    row_is = table["row_is"].to_numpy()
    rows = table.filter(pa.array(row_is == PAIR_ROW))
    leaks = np.zeros(rows.num_rows, bool)
    if (row_is != PAIR_ROW).any():
        clusters = table["key"].filter(pa.array(row_is == CLUSTER_MARK))
        texts = table[f"{side}_key"].filter(pa.array(row_is == TEXT_MARK))
        leaks = in_any_group(rows["key"], clusters) | in_any_group(rows[f"{side}_key"], texts)
        leaks &= ~rows["held_out"].to_numpy(zero_copy_only=False)
    leaking = _all_verdicts(rows, leaks_held_out=leaks)
    groups = combined_keys(rows[f"{side}_key"] if counted == "text" else rows["key"], rows[f"{side}_group"])
    kept, over = _cap(rows.filter(pa.array(~leaks)), groups.filter(pa.array(~leaks)), cap, f"{side}_cap")
    return kept, pa.concat_batches([leaking, over])


def cap_rows(rows: pa.RecordBatch, column: str, cap: int) -> Decision:
    """Keep the first `cap` rows of each document or domain; rows without one are kept."""
    has_one = rows[column].is_valid().to_numpy(zero_copy_only=False)
    keys = combined_keys(rows["key"], pa.array(np.where(has_one, 0, np.arange(1, rows.num_rows + 1)).astype(np.uint64)))
    return _cap(rows, keys, cap, f"{column}_cap")


def _cap(rows: pa.RecordBatch, groups: pa.Array, cap: int, reason: str) -> Decision:
    """Training and held-out rows are counted apart."""
    side = pa.array(rows["held_out"].to_numpy(zero_copy_only=False).astype(np.uint64))
    over = rank_in_group(combined_keys(groups, side), *_order(rows)) >= cap
    return rows.filter(pa.array(~over)), _all_verdicts(rows, **{reason: over})


def passage_owners(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The verdict `owns_passage` for the first training row of each passage. All rows of a passage are in one partition."""
    training = rows.filter(pc.invert(rows["held_out"]))
    return _all_verdicts(training, owns_passage=first_of_each(training["passage_id"], *_order(training)))


def _order(rows: pa.RecordBatch) -> tuple[NDArray[Any], ...]:
    """By what the rows of a group are ordered: columns, the first that differs counting."""
    quality = rows["quality"].to_numpy()
    return (
        ~rows["held_out"].to_numpy(zero_copy_only=False),
        np.where(np.isnan(quality), np.inf, -quality),
        *key_halves(rows["pair_id"]),
        rows["position"].to_numpy(),
    )


def _all_verdicts(rows: pa.RecordBatch, **reasons: NDArray[np.bool_]) -> pa.RecordBatch:
    verdict = np.full(rows.num_rows, -1, np.int8)
    for reason, where in reasons.items():
        verdict[where] = VERDICTS.index(reason)
    given = verdict >= 0
    return pa.RecordBatch.from_arrays(
        [rows["position"].filter(pa.array(given)), pa.array(verdict[given])], schema=VERDICT
    )

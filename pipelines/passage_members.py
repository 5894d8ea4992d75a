"""The passages of a run by row number, what belongs together with them, and so what a query must not get as a negative.

A query's negatives are never passages of a document that one of its positives occurs in (all pairs of the query's cluster
count), nor of a positive's cluster of near-duplicates (positives of pairs that only dedup's caps dropped count too), nor of
the cluster of a passage that says the same as the query itself (equal once folded: filters.duplicates).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates import dedup_key
from pipelines.jobs.score import readable_rows
from pipelines.mining.multimap import Multimap, distinct_pairs
from pipelines.shards import read_batches
from sources.schema import text_ids
from trainer.ragged import Ragged

_PAIR_COLUMNS: Final = (
    "query",
    "positive",
    "kind",
    "document_id",
    "query_lang",
    "positive_lang",
    "query_cluster_id",
)
_CAPS: Final = ("query_cap", "positive_cap", "document_cap", "domain_cap")  # reasons that say nothing against a pair
_ID: Final = np.dtype([("high", "u8"), ("low", "u8")])


@dataclass(frozen=True)
class MemberFiles:
    """Where the passages and the pairs that lead to them lie, and which pairs count."""

    passages: tuple[str, ...]
    pairs: tuple[str, ...]
    within: str
    reads: tuple[str, ...]
    rejects: tuple[str, ...]  # of dedup


@dataclass(frozen=True)
class Members:
    """The passages by row number, and what belongs together with them."""

    ids: np.ndarray[Any, Any]  # (high, low) uint64 pairs, sorted
    rows: np.ndarray[Any, Any]  # int64[passages]: the row number of each id
    of_kind: dict[str, np.ndarray[Any, Any]]  # kind -> sorted int64 rows
    encoded: np.ndarray[Any, Any]  # bool[passages]: those of any kind; the encoder does not read the others
    of_query: Multimap  # query cluster -> the rows of its positives
    documents: Multimap  # row -> hashes of the documents it occurs in
    of_document: Multimap  # hash of a document -> rows
    of_text: Multimap  # folded text -> rows
    of_cluster: Multimap  # cluster of passages -> rows
    clusters: np.ndarray[Any, Any]  # uint64[passages]: the cluster of each row
    capped: Multimap  # query cluster -> clusters of positives, of the pairs that dedup's caps dropped

    def rows_of(self, passage_ids: pa.Array) -> np.ndarray[Any, Any]:
        """int64[n]: the row number of each passage id; every id must be there."""
        result: np.ndarray[Any, Any] = self.rows[np.searchsorted(self.ids, key_pairs(passage_ids))]
        return result

    def positives(self, pairs: pa.RecordBatch) -> Ragged:
        """For the queries of n pairs the rows of all positives that are encoded, ascending: n lists."""
        query, row = self.of_query.follow(np.arange(pairs.num_rows), _halves(query_clusters(pairs)))
        encoded = self.encoded[row]
        return Ragged.grouped(query[encoded], row[encoded], pairs.num_rows)

    def forbidden(self, pairs: pa.RecordBatch) -> Ragged:
        """For the queries of n pairs the rows that must not be their negatives, ascending: n lists."""
        numbers = np.arange(pairs.num_rows)
        positives = self.of_query.follow(numbers, _halves(query_clusters(pairs)))
        itself = self.of_text.follow(numbers, _halves(dedup_key(pairs["query"])))
        documents = self.documents.follow(*positives)
        alike = [self.of_cluster.follow(query, self.clusters[row]) for query, row in (positives, itself)]
        query, cluster = self.capped.follow(numbers, _halves(query_clusters(pairs)))
        alike.append(self.of_cluster.follow(query, cluster.view(np.uint64)))
        found = (self.of_document.follow(*documents), *alike)
        query, row = distinct_pairs(*(np.concatenate(side) for side in zip(*found, strict=True)))
        return Ragged.grouped(query, row, pairs.num_rows)


def query_clusters(pairs: pa.RecordBatch) -> pa.Array:
    """The cluster of each pair's query (dedup); of pairs without one, the query alone, folded: binary(16)."""
    clusters = pairs["query_cluster_id"]
    return pc.coalesce(clusters, dedup_key(pairs["query"])) if clusters.null_count else clusters


def _halves(keys: pa.Array) -> np.ndarray[Any, Any]:
    """uint64[n]: the first half of each 128-bit key. Two that agree by chance only leave a candidate out."""
    return np.ascontiguousarray(key_pairs(keys)["high"])


def key_pairs(ids: pa.Array) -> np.ndarray[Any, Any]:
    """binary(16)[n] -> big-endian pairs that sort as bytes do."""
    raw = np.frombuffer(ids.buffers()[1], ">u8").reshape(-1, 2)[ids.offset : ids.offset + len(ids)]
    return np.ascontiguousarray(raw.astype("u8")).view(_ID).reshape(-1)


def document_hashes(documents: pa.Array) -> np.ndarray[Any, Any]:
    """uint64[n]: a hash of each document id."""
    encoded = documents.dictionary_encode()
    hashes = np.array([xxhash.xxh3_64_intdigest(name.encode()) for name in encoded.dictionary.to_pylist()], np.uint64)
    result: np.ndarray[Any, Any] = hashes[encoded.indices.to_numpy()]
    return result


@cache
def load_members(files: MemberFiles) -> Members:
    """One copy a process."""
    ids, clusters, folded = [np.zeros(0, _ID)], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for url in files.passages:
        for batch in read_batches(url, ["passage_id", "text", "cluster_id"]):
            ids.append(key_pairs(batch["passage_id"]))
            clusters.append(_halves(batch["cluster_id"]))
            folded.append(_halves(dedup_key(batch["text"])))
    all_ids, all_clusters = np.concatenate(ids), np.concatenate(clusters)
    order = np.argsort(all_ids, order=("high", "low")).astype(np.int64)
    sorted_ids = all_ids[order]
    kinds: dict[str, list[np.ndarray[Any, Any]]] = {}
    rows_seen, queries, documents = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for url in files.pairs:
        for batch in read_batches(url, _PAIR_COLUMNS):
            rows = order[np.searchsorted(sorted_ids, key_pairs(text_ids(batch["positive"])))]
            rows_seen.append(rows)
            queries.append(_halves(query_clusters(batch)))
            documents.append(document_hashes(batch["document_id"]))
            readable = readable_rows(batch, files.reads)
            for kind in pc.unique(batch["kind"]).to_pylist():
                of_kind = pc.equal(batch["kind"], kind).to_numpy(zero_copy_only=False) & readable
                kinds.setdefault(group_of(kind, files.within), []).append(rows[of_kind])
    occurring, in_documents = np.concatenate(rows_seen), np.concatenate(documents)
    of_kind = {kind: np.unique(np.concatenate(rows)) for kind, rows in kinds.items()}
    encoded = np.zeros(len(order), bool)
    for rows in of_kind.values():
        encoded[rows] = True
    return Members(
        ids=sorted_ids,
        rows=order,
        of_kind=of_kind,
        encoded=encoded,
        of_query=Multimap.of(np.concatenate(queries), occurring),
        documents=Multimap.of(occurring, in_documents.view(np.int64)),
        of_document=Multimap.of(in_documents, occurring),
        of_text=Multimap.of(np.concatenate(folded), np.arange(len(all_clusters))),
        of_cluster=Multimap.of(all_clusters, np.arange(len(all_clusters))),
        clusters=all_clusters,
        capped=_capped(files.rejects),
    )


def _capped(rejects: tuple[str, ...]) -> Multimap:
    queries, clusters = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for url in rejects:
        for batch in read_batches(url, ["query_cluster_id", "positive_cluster_id", "reason"]):
            capped = batch.filter(pc.is_in(batch["reason"], pa.array(_CAPS)))
            queries.append(_halves(capped["query_cluster_id"]))
            clusters.append(_halves(capped["positive_cluster_id"]))
    return Multimap.of(np.concatenate(queries), np.concatenate(clusters).view(np.int64))


def group_of(kind: str, within: str) -> str:
    """The name under which Members.of_kind has the passages that queries of a kind search."""
    return kind if within == "kind" else "all"

"""mine: hard negatives for every training pair, from the deduplicated passages of the training side.

    1. the passages are encoded, one task a shard; vectors are kept as float16 .npy in embeddings/
    2. every pair shard: queries are encoded, the exact top k over the passages of their kind is taken, negatives are chosen

A negative is never a passage of a document that one of the query's positives occurs in (all pairs of the query's cluster
count), nor one of a positive's cluster of near-duplicates (dedup; positives of pairs that only its caps dropped count too), nor of the cluster of a passage that says the same as the
query itself (equal once folded: filters.duplicates).
Writes the role `mined`, row by row beside the pair shard of the same name: positive_row, positive_score, negative_rows,
negative_scores, negative_ranks (-1: drawn at random). Rows are row numbers in dedup's passage shards, in shard order.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates import dedup_key
from pipelines import embeddings, storage
from pipelines.embeddings import Embeddings
from pipelines.job import PAIRS, Job, Outcome, Plan, finished, pair_plan, pairs_before
from pipelines.jobs.dedup import PASSAGES
from pipelines.jobs.score import readable_rows
from pipelines.manifest import fingerprint, input_names
from pipelines.progress import TaskProgress
from pipelines.recipe import MineSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from sources.schema import text_ids
from trainer.backbone import model_fingerprint

if TYPE_CHECKING:
    from trainer.negatives import NegativeSettings, Selection

VERSION = 3
MINED: Final = "mined"
MINED_SCHEMA: Final = pa.schema(
    [
        ("pair_id", pa.binary(16)),
        ("source", pa.string()),
        ("positive_row", pa.int64()),
        ("positive_score", pa.float32()),
        ("negative_rows", pa.list_(pa.int64())),
        ("negative_scores", pa.list_(pa.float32())),
        ("negative_ranks", pa.list_(pa.int32())),
    ]
)
EMBEDDINGS: Final = "embeddings"
CANDIDATES_AT_ONCE: Final = 4_000_000  # scores held while negatives are chosen; queries x k
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


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.mine is not None
    model = model_fingerprint(recipe.mine.encoder.model)
    pairs = pair_plan(recipe, run, "mine", recipe.mine, (PAIRS,), model_fingerprint=model, seed=recipe.seed)
    from_dedup = [file for role in (PASSAGES, REJECTS) for file in finished(run, "dedup").files_of(role)]
    return Plan(pairs.settings, [*pairs.inputs, *input_names(from_dedup, "dedup")])


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.mine
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "mine")
    dedup = job.manifest("dedup")
    passages = dedup.files_of(PASSAGES)
    pair_urls = tuple(storage.join(job.run.job(before.job), file.path) for file in before.files_of(PAIRS))
    passage_urls = tuple(storage.join(job.run.job("dedup"), file.path) for file in passages)
    rejects = tuple(storage.join(job.run.job("dedup"), file.path) for file in dedup.files_of(REJECTS))
    members = MemberFiles(passage_urls, pair_urls, settings.within, settings.reads, rejects)
    encoding = [
        Task(
            f"encode-{_stem(file.path)}",
            fingerprint(
                version=VERSION,
                inputs=job.plan.inputs,  # the pairs say which passages are wanted
                encoder=settings.encoder.model_dump(mode="json"),
                model=job.plan.settings["model_fingerprint"],
                reads=settings.reads,
            ),
            storage.join(job.run.job("dedup"), file.path),
        )
        for file in passages
    ]
    size = sum(file.bytes for file in passages)
    vectors = embeddings.prepare(job)
    write_vectors = partial(write_embeddings, job.folder, settings, members, vectors)
    embedded = job.run_tasks(encoding, write_vectors, bytes_to_read=size, encoder=True)
    corpus = CorpusFiles(
        members, vectors, tuple(storage.join(job.folder, EMBEDDINGS, f"{task.name}.npy") for task in encoding)
    )
    mining = [
        Task(_stem(file.path), job.fingerprint, storage.join(job.run.job(before.job), file.path))
        for file in before.files_of(PAIRS)
    ]
    write = partial(write_mined, job.folder, settings, job.recipe.seed, corpus)
    size = sum(file.bytes for file in before.files_of(PAIRS))
    mined = job.run_tasks(mining, write, bytes_to_read=size, encoder=True)
    details: dict[str, Any] = {"passages": sum(file.rows for file in passages)}
    for name in ("queries", "negatives", "without_negatives", "not_read"):
        details[name] = sum(part.details[name] for part in mined)
    excluded: dict[str, int] = {}
    for part in mined:
        for reason, count in part.details["candidates_left_out"].items():
            excluded[reason] = excluded.get(reason, 0) + count
    return Outcome([*embedded, *mined], details | {"candidates_left_out": excluded})


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".parquet")


def write_embeddings(
    folder: str, settings: MineSettings, files: "MemberFiles", vectors: Embeddings, task: Any, progress: TaskProgress
) -> Part:
    """The vectors of one shard's passages that belong to a pair the encoder reads: float16[rows, dimensions], zeros else."""
    members = load_members(files)
    wanted = np.zeros(len(members.ids), bool)
    for rows in members.of_kind.values():
        wanted[rows] = True
    matrices, encoded = [], 0
    for batch in read_batches(task.payload):
        chosen = wanted[members.rows_of(batch["passage_id"])]
        found = vectors.embed(settings.encoder, "passage", batch["text"].filter(pa.array(chosen)), progress.beat)
        matrix = np.zeros((batch.num_rows, found.shape[1]), np.float16)
        matrix[chosen] = found
        matrices.append(matrix)
        encoded += int(chosen.sum())
    if not matrices:
        matrices.append(vectors.embed(settings.encoder, "passage", pa.array([], pa.string()), progress.beat))
    path = f"{EMBEDDINGS}/{task.name}.npy"
    with storage.atomic_write(storage.join(folder, path)) as stream:
        np.lib.format.write_array(stream, np.concatenate(matrices), allow_pickle=False)
    total = sum(len(matrix) for matrix in matrices)
    file = ShardFile(role=EMBEDDINGS, path=path, rows=total, bytes=stream.bytes, sha256=stream.sha256)
    return commit_part(folder, task.name, task.fingerprint, [file], Tally(), [], details={"encoded": encoded})


@dataclass(frozen=True)
class MemberFiles:
    """Where the passages and the pairs that lead to them lie, and which pairs count."""

    passages: tuple[str, ...]
    pairs: tuple[str, ...]
    within: str
    reads: tuple[str, ...]
    rejects: tuple[str, ...]  # of dedup


@dataclass(frozen=True)
class Multimap:
    """uint64 keys to the int64 values of each."""

    keys: np.ndarray[Any, Any]  # uint64[n], sorted
    values: np.ndarray[Any, Any]  # int64[n]

    @classmethod
    def of(cls, keys: np.ndarray[Any, Any], values: np.ndarray[Any, Any]) -> "Multimap":
        """Of n (key, value) pairs; repeated ones are kept once."""
        pairs = np.unique(np.stack([keys.astype(np.uint64), values.astype(np.int64).view(np.uint64)], axis=1), axis=0)
        return cls(np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]).view(np.int64))

    def follow(self, starts: np.ndarray[Any, Any], keys: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        """From (start, key) pairs to all (start, value) pairs, each once."""
        first = np.searchsorted(self.keys, keys.astype(np.uint64), "left")
        counts = np.searchsorted(self.keys, keys.astype(np.uint64), "right") - first
        index = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        pairs = np.unique(np.stack([np.repeat(starts, counts), self.values[index]], axis=1), axis=0)
        return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True)
class Members:
    """The passages by row number, and what belongs together with them."""

    ids: np.ndarray[Any, Any]  # (high, low) uint64 pairs, sorted
    rows: np.ndarray[Any, Any]  # int64[passages]: the row number of each id
    of_kind: dict[str, np.ndarray[Any, Any]]  # kind -> sorted int64 rows
    of_query: Multimap  # query cluster -> the rows of its positives
    documents: Multimap  # row -> hashes of the documents it occurs in
    of_document: Multimap  # hash of a document -> rows
    of_text: Multimap  # folded text -> rows
    of_cluster: Multimap  # cluster of passages -> rows
    clusters: np.ndarray[Any, Any]  # uint64[passages]: the cluster of each row
    capped: Multimap  # query cluster -> clusters of positives, of the pairs that dedup's caps dropped

    def rows_of(self, passage_ids: pa.Array) -> np.ndarray[Any, Any]:
        """int64[n]: the row number of each passage id; every id must be there."""
        result: np.ndarray[Any, Any] = self.rows[np.searchsorted(self.ids, _void(passage_ids))]
        return result

    def forbidden(self, pairs: pa.RecordBatch) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """For the queries of n pairs, the (query number, row) pairs of passages that must not be their negatives."""
        numbers = np.arange(pairs.num_rows)
        positives = self.of_query.follow(numbers, _halves(query_clusters(pairs)))
        itself = self.of_text.follow(numbers, _halves(dedup_key(pairs["query"])))
        documents = self.documents.follow(*positives)
        alike = [self.of_cluster.follow(query, self.clusters[row]) for query, row in (positives, itself)]
        query, cluster = self.capped.follow(numbers, _halves(query_clusters(pairs)))
        alike.append(self.of_cluster.follow(query, cluster.view(np.uint64)))
        found = (self.of_document.follow(*documents), *alike)
        each_once = np.unique(np.concatenate([np.stack(each, axis=1) for each in found]), axis=0)
        return each_once[:, 0], each_once[:, 1]


def query_clusters(pairs: pa.RecordBatch) -> pa.Array:
    """The cluster of each pair's query (dedup); of pairs without one, the query alone, folded: binary(16)."""
    clusters = pairs["query_cluster_id"]
    return pc.coalesce(clusters, dedup_key(pairs["query"])) if clusters.null_count else clusters


def _halves(keys: pa.Array) -> np.ndarray[Any, Any]:
    """uint64[n]: the first half of each 128-bit key. Two that agree by chance only leave a candidate out."""
    return np.ascontiguousarray(_void(keys)["high"])


@dataclass(frozen=True)
class CorpusFiles:
    """The passages and their vectors, in the same order."""

    members: MemberFiles
    queries: Embeddings  # where the queries' vectors come from
    embeddings: tuple[str, ...]


def _void(ids: pa.Array) -> np.ndarray[Any, Any]:
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
            ids.append(_void(batch["passage_id"]))
            clusters.append(_halves(batch["cluster_id"]))
            folded.append(_halves(dedup_key(batch["text"])))
    all_ids, all_clusters = np.concatenate(ids), np.concatenate(clusters)
    order = np.argsort(all_ids, order=("high", "low")).astype(np.int64)
    sorted_ids = all_ids[order]
    kinds: dict[str, list[np.ndarray[Any, Any]]] = {}
    rows_seen, queries, documents = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    for url in files.pairs:
        for batch in read_batches(url, _PAIR_COLUMNS):
            rows = order[np.searchsorted(sorted_ids, _void(text_ids(batch["positive"])))]
            rows_seen.append(rows)
            queries.append(_halves(query_clusters(batch)))
            documents.append(document_hashes(batch["document_id"]))
            readable = readable_rows(batch, files.reads)
            for kind in pc.unique(batch["kind"]).to_pylist():
                of_kind = pc.equal(batch["kind"], kind).to_numpy(zero_copy_only=False) & readable
                kinds.setdefault(_group(kind, files.within), []).append(rows[of_kind])
    occurring, in_documents = np.concatenate(rows_seen), np.concatenate(documents)
    return Members(
        ids=sorted_ids,
        rows=order,
        of_kind={kind: np.unique(np.concatenate(rows)) for kind, rows in kinds.items()},
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


@cache
def load_vectors(embeddings: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """float16[passages, dimensions], one copy a process."""
    matrices = []
    for url in embeddings:
        with storage.open_for_reading(url) as stream:
            matrices.append(np.lib.format.read_array(stream, allow_pickle=False))
    return np.concatenate(matrices)


@cache
def candidate_vectors(files: CorpusFiles, kind: str) -> np.ndarray[Any, Any]:
    """float16[candidates, dimensions] of one kind, one copy a process."""
    vectors: np.ndarray[Any, Any] = load_vectors(files.embeddings)[load_members(files.members).of_kind[kind]]
    return vectors


def _group(kind: str, within: str) -> str:
    return kind if within == "kind" else "all"


def write_mined(
    folder: str, settings: MineSettings, seed: int, files: CorpusFiles, task: Any, progress: TaskProgress
) -> Part:
    """One pair shard -> its `mined` shard."""
    tally = Tally()
    counts: dict[str, int] = {"queries": 0, "negatives": 0, "without_negatives": 0, "not_read": 0}
    left_out: Counter[str] = Counter()
    with ShardSet(folder, task.name, {MINED: MINED_SCHEMA}, always=[MINED]) as shards:
        for batch in read_batches(task.payload):
            mined, not_read, excluded = mine_batch(batch, files, settings, seed, progress.beat)
            shards.write(MINED, mined)
            tally.add(batch, "in")
            tally.add(batch, "out")
            lengths = pc.list_value_length(mined["negative_rows"]).to_numpy()
            counts["queries"] += batch.num_rows - not_read
            counts["not_read"] += not_read
            counts["negatives"] += int(lengths.sum())
            counts["without_negatives"] += int((lengths == 0).sum()) - not_read
            left_out.update(excluded)
    details = counts | {"candidates_left_out": dict(sorted(left_out.items()))}
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [MINED], details=details)


def mine_batch(
    batch: pa.RecordBatch, files: CorpusFiles, settings: MineSettings, seed: int, on_batch: Callable[[int], None]
) -> tuple[pa.RecordBatch, int, dict[str, int]]:
    """PAIR batch -> (MINED batch row by row, queries the encoder cannot read, candidates left out by reason)."""
    members, vectors = load_members(files.members), load_vectors(files.embeddings)
    select = settings.select.model_copy(update={"seed": seed + settings.select.seed})
    total = batch.num_rows
    positive_rows = members.rows_of(text_ids(batch["positive"]))
    readable = readable_rows(batch, settings.reads)
    positive_scores = np.full(total, np.nan, np.float32)
    pieces: list[tuple[np.ndarray[Any, Any], Any, np.ndarray[Any, Any]]] = []
    left_out: Counter[str] = Counter()
    kinds = np.array(batch["kind"].to_pylist(), dtype=object)
    for kind in sorted(set(kinds[readable])):
        chosen = np.flatnonzero(readable & (kinds == kind))
        group = _group(kind, settings.within)
        texts = batch["query"].take(pa.array(chosen))
        queries = files.queries.embed(settings.encoder, "query", texts, on_batch)
        positives = vectors[positive_rows[chosen]]
        positive_scores[chosen] = np.einsum("nd,nd->n", queries.astype(np.float64), positives.astype(np.float64))
        ids = _void(batch["pair_id"].take(pa.array(chosen)))["low"]
        excluded = _excluded(members, members.of_kind[group], batch.take(pa.array(chosen)))
        for block, selection in _select(
            queries, candidate_vectors(files, group), positive_scores[chosen], excluded, ids, select
        ):
            left_out.update(selection.dropped)
            pieces.append((chosen[block], selection, members.of_kind[group]))
    scores = pa.array(positive_scores.round(4), pa.float32(), mask=np.isnan(positive_scores))
    columns = [batch["pair_id"], batch["source"], pa.array(positive_rows), scores, *_lists_in_order(total, pieces)]
    return pa.RecordBatch.from_arrays(columns, schema=MINED_SCHEMA), int((~readable).sum()), dict(left_out)


def _excluded(
    members: Members, candidates: np.ndarray[Any, Any], pairs: pa.RecordBatch
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What each query may not get, as candidate numbers (offsets int64[queries + 1], numbers int64[])."""
    numbers, rows = members.forbidden(pairs)
    places = np.searchsorted(candidates, rows)
    inside = candidates[np.minimum(places, len(candidates) - 1)] == rows
    offsets = np.searchsorted(numbers[inside], np.arange(pairs.num_rows + 1))
    return offsets.astype(np.int64), places[inside].astype(np.int64)


def _select(
    queries: np.ndarray[Any, Any],
    candidates: np.ndarray[Any, Any],
    positive_scores: np.ndarray[Any, Any],
    excluded: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    query_ids: np.ndarray[Any, Any],
    settings: "NegativeSettings",
) -> Iterator[tuple[np.ndarray[Any, Any], "Selection"]]:
    """Search and choose, in blocks of queries: (query numbers, their negatives). A query is searched as deep as its own
    exclusions ask for, and a block holds as many queries as CANDIDATES_AT_ONCE allows at its depth."""
    from trainer.negatives import fill_with_random, select_negatives
    from trainer.search import exact_top_k

    offsets, numbers = excluded
    widths = np.diff(offsets)
    order = np.argsort(widths, kind="stable")
    start = 0
    while start < len(order):
        depths = np.minimum(len(candidates), settings.rank_window[1] + widths[order[start:]])
        fits = np.arange(1, len(depths) + 1) * depths <= CANDIDATES_AT_ONCE
        size = max(1, int(np.searchsorted(~fits, True)))
        block = order[start : start + size]
        scores, found = exact_top_k(queries[block], candidates, int(depths[size - 1]))
        counts = widths[block]
        flat = np.repeat(offsets[block] - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        forbidden = (np.concatenate([[0], np.cumsum(counts)]), numbers[flat])
        ids = query_ids[block]
        selection = select_negatives(found, scores, positive_scores[block], forbidden, settings, query_ids=ids)
        if settings.fill_with_random:
            selection = fill_with_random(selection, queries[block], candidates, forbidden, settings, ids)
        yield block, selection
        start += size


def _lists_in_order(
    total: int, pieces: list[tuple[np.ndarray[Any, Any], "Selection", np.ndarray[Any, Any]]]
) -> list[pa.Array]:
    """The negatives of all kinds as three list columns in row order; rows without any get empty lists."""
    lengths = np.zeros(total, np.int64)
    for chosen, selection, _ in pieces:
        lengths[chosen] = np.diff(selection.offsets)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat_rows, scores, ranks = (
        np.zeros(offsets[-1], np.int64),
        np.zeros(offsets[-1], np.float32),
        np.zeros(offsets[-1], np.int32),
    )
    for chosen, selection, candidates in pieces:
        counts = np.diff(selection.offsets)
        target = np.repeat(offsets[chosen] - selection.offsets[:-1], counts) + np.arange(selection.offsets[-1])
        flat_rows[target] = candidates[selection.rows]
        scores[target] = selection.scores.round(4)
        ranks[target] = selection.ranks
    list_offsets = pa.array(offsets, pa.int32())
    return [pa.ListArray.from_arrays(list_offsets, pa.array(values)) for values in (flat_rows, scores, ranks)]

"""mine: hard negatives for every training pair, from the deduplicated passages of the training side.

    1. the passages are encoded, one task a shard; vectors are kept as float32 .npy in _embeddings/
    2. every pair shard: queries are encoded, the exact top k over the passages of their kind is taken, negatives are chosen

A negative is never the text of one of the query's positives, nor a passage of a document that one of them came from.
Writes the role `mined`, row by row beside the pair shard of the same name: positive_row, positive_score, negative_rows,
negative_scores, negative_ranks. Rows are row numbers in dedup's passage shards, in shard order.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipelines import storage
from pipelines.job import PAIRS, Job, Outcome, Plan, finished, pair_plan, pairs_before
from pipelines.jobs.dedup import PASSAGES
from pipelines.jobs.score import load_encoder, readable_rows
from pipelines.manifest import fingerprint, input_names
from pipelines.progress import TaskProgress
from pipelines.recipe import MineSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import Part, ShardSet, Tally, commit_part, read_batches
from sources.schema import text_ids
from trainer.backbone import model_fingerprint

VERSION = 1
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
_EMBEDDINGS: Final = "_embeddings"
_EMPTY: Final = np.zeros(0, np.int64)
_ID: Final = np.dtype([("high", "u8"), ("low", "u8")])


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.mine is not None
    model = model_fingerprint(recipe.mine.encoder.model)
    pairs = pair_plan(recipe, run, "mine", recipe.mine, (PAIRS,), model_fingerprint=model)
    passages = finished(run, "dedup").files_of(PASSAGES)
    return Plan(pairs.settings, [*pairs.inputs, *input_names(passages, "dedup")])


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.mine
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "mine")
    dedup = job.manifest("dedup")
    passages = dedup.files_of(PASSAGES)
    pair_urls = tuple(storage.join(job.run.job(before.job), file.path) for file in before.files_of(PAIRS))
    passage_urls = tuple(storage.join(job.run.job("dedup"), file.path) for file in passages)
    members = MemberFiles(passage_urls, pair_urls, settings.within, settings.reads)
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
    embedded = job.run_tasks(
        encoding, partial(write_embeddings, job.folder, settings, members), bytes_to_read=size, encoder=True
    )
    corpus = CorpusFiles(members, tuple(storage.join(job.folder, _EMBEDDINGS, f"{task.name}.npy") for task in encoding))
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
    folder: str, settings: MineSettings, files: "MemberFiles", task: Any, progress: TaskProgress
) -> Part:
    """Encode the passages of one shard that belong to a pair the encoder reads; float32[rows, dimensions], zeros else."""
    encoder = load_encoder(settings.encoder.model_dump_json())
    members = load_members(files)
    wanted = np.zeros(len(members.ids), bool)
    for rows in members.of_kind.values():
        wanted[rows] = True
    matrices, done, encoded = [], 0, 0
    for batch in read_batches(task.payload):
        chosen = wanted[members.rows_of(batch["passage_id"])]
        vectors = encoder.encode(batch["text"].filter(pa.array(chosen)), "passage") if chosen.any() else None
        matrix = np.zeros((batch.num_rows, encoder.dimension), np.float32)
        if vectors is not None:
            matrix[chosen] = vectors
        matrices.append(matrix)
        done, encoded = done + batch.num_rows, encoded + int(chosen.sum())
        progress.beat(done)
    matrix = np.concatenate(matrices) if matrices else np.zeros((0, encoder.dimension), np.float32)
    with storage.atomic_write(storage.join(folder, _EMBEDDINGS, f"{task.name}.npy")) as stream:
        np.lib.format.write_array(stream, matrix, allow_pickle=False)
    return commit_part(folder, task.name, task.fingerprint, [], Tally(), [], details={"encoded": encoded})


@dataclass(frozen=True)
class MemberFiles:
    """Where the passages and the pairs that lead to them lie, and which pairs count."""

    passages: tuple[str, ...]
    pairs: tuple[str, ...]
    within: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Members:
    """The passages by row number, and which of them belong to which kind and document."""

    ids: np.ndarray[Any, Any]  # (high, low) uint64 pairs, sorted
    rows: np.ndarray[Any, Any]  # int64[passages]: the row number of each id
    of_kind: dict[str, np.ndarray[Any, Any]]  # kind -> sorted int64 rows
    documents: np.ndarray[Any, Any]  # uint64[occurrences], sorted: hash of the document
    document_rows: np.ndarray[Any, Any]  # int64[occurrences]: a passage in it

    def rows_of(self, passage_ids: pa.Array) -> np.ndarray[Any, Any]:
        """int64[n]: the row number of each passage id; every id must be there."""
        result: np.ndarray[Any, Any] = self.rows[np.searchsorted(self.ids, _void(passage_ids))]
        return result

    def rows_of_documents(self, documents: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """For each document hash the rows of its passages, as (counts[n], rows[sum])."""
        first = np.searchsorted(self.documents, documents, "left")
        counts = np.searchsorted(self.documents, documents, "right") - first
        index = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
        return counts, self.document_rows[index]


@dataclass(frozen=True)
class CorpusFiles:
    """The passages and their vectors, in the same order."""

    members: MemberFiles
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
    ids = [_void(batch["passage_id"]) for url in files.passages for batch in read_batches(url, ["passage_id"])]
    all_ids = np.concatenate(ids) if ids else np.zeros(0, _ID)
    order = np.argsort(all_ids, order=("high", "low")).astype(np.int64)
    sorted_ids = all_ids[order]
    kinds: dict[str, list[np.ndarray[Any, Any]]] = {}
    documents, document_rows = [np.zeros(0, np.uint64)], [_EMPTY]
    for url in files.pairs:
        for batch in read_batches(url, ["positive", "kind", "document_id", "query_lang", "positive_lang"]):
            rows = order[np.searchsorted(sorted_ids, _void(text_ids(batch["positive"])))]
            documents.append(document_hashes(batch["document_id"]))
            document_rows.append(rows)
            readable = readable_rows(batch, files.reads)
            for kind in pc.unique(batch["kind"]).to_pylist():
                of_kind = pc.equal(batch["kind"], kind).to_numpy(zero_copy_only=False) & readable
                kinds.setdefault(_group(kind, files.within), []).append(rows[of_kind])
    flat_documents = np.concatenate(documents)
    by_document = np.argsort(flat_documents, kind="stable")
    of_kind = {kind: np.unique(np.concatenate(rows)) for kind, rows in kinds.items()}
    return Members(sorted_ids, order, of_kind, flat_documents[by_document], np.concatenate(document_rows)[by_document])


@cache
def load_vectors(embeddings: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """float32[passages, dimensions], one copy a process."""
    matrices = []
    for url in embeddings:
        with storage.open_for_reading(url) as stream:
            matrices.append(np.lib.format.read_array(stream, allow_pickle=False))
    return np.concatenate(matrices)


def _group(kind: str, within: str) -> str:
    return kind if within == "kind" else "all"


def write_mined(
    folder: str, settings: MineSettings, seed: int, files: CorpusFiles, task: Any, progress: TaskProgress
) -> Part:
    """One pair shard -> its `mined` shard."""
    members, vectors = load_members(files.members), load_vectors(files.embeddings)
    tally, rows = Tally(), 0
    counts: dict[str, int] = {"queries": 0, "negatives": 0, "without_negatives": 0, "not_read": 0}
    left_out: dict[str, int] = {}
    with ShardSet(folder, task.name, {MINED: MINED_SCHEMA}, always=[MINED]) as shards:
        for batch in read_batches(task.payload):
            mined, not_read, excluded = mine_batch(batch, members, vectors, settings, seed)
            shards.write(MINED, mined)
            tally.add(batch["source"], "in")
            tally.add(batch["source"], "out")
            lengths = pc.list_value_length(mined["negative_rows"]).to_numpy()
            counts["queries"] += batch.num_rows - not_read
            counts["not_read"] += not_read
            counts["negatives"] += int(lengths.sum())
            counts["without_negatives"] += int((lengths == 0).sum()) - not_read
            for reason, number in excluded.items():
                left_out[reason] = left_out.get(reason, 0) + number
            rows += batch.num_rows
            progress.beat(rows)
    details = counts | {"candidates_left_out": left_out}
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [MINED], details=details)


def mine_batch(
    batch: pa.RecordBatch, members: Members, vectors: np.ndarray[Any, Any], settings: MineSettings, seed: int
) -> tuple[pa.RecordBatch, int, dict[str, int]]:
    """PAIR batch -> (MINED batch row by row, queries the encoder cannot read, candidates left out by reason)."""
    from trainer.negatives import select_negatives
    from trainer.search import exact_top_k

    total = batch.num_rows
    positive_rows = members.rows_of(text_ids(batch["positive"]))
    readable = readable_rows(batch, settings.reads)
    positive_scores = np.full(total, np.nan, np.float32)
    pieces: list[tuple[np.ndarray[Any, Any], Any]] = []
    left_out: dict[str, int] = {}
    kinds = np.array(batch["kind"].to_pylist(), dtype=object)
    for kind in sorted(set(kinds[readable])):
        chosen = np.flatnonzero(readable & (kinds == kind))
        candidates = members.of_kind[_group(kind, settings.within)]
        queries = load_encoder(settings.encoder.model_dump_json()).encode(
            batch["query"].take(pa.array(chosen)), "query"
        )
        positives = vectors[positive_rows[chosen]]
        positive_scores[chosen] = np.einsum("nd,nd->n", queries.astype(np.float64), positives.astype(np.float64))
        offsets, excluded = _excluded_candidates(
            batch.take(pa.array(chosen)), positive_rows[chosen], members, candidates
        )
        widest = int(np.diff(offsets).max(initial=0))
        k = min(len(candidates), settings.select.rank_window[1] + widest)
        scores, found = exact_top_k(queries, vectors[candidates], k)
        selection = select_negatives(
            found,
            scores,
            positive_scores[chosen],
            (offsets, excluded),
            settings.select.model_copy(update={"seed": seed}),
            query_ids=_void(batch["pair_id"].take(pa.array(chosen)))["low"],
        )
        for reason, number in selection.dropped.items():
            left_out[reason] = left_out.get(reason, 0) + number
        pieces.append((chosen, (selection, candidates)))
    negatives = _lists_in_order(total, pieces)
    mined = pa.RecordBatch.from_arrays(
        [
            batch["pair_id"],
            batch["source"],
            pa.array(positive_rows),
            pa.array(positive_scores.round(4), pa.float32(), mask=np.isnan(positive_scores)),
            *negatives,
        ],
        schema=MINED_SCHEMA,
    )
    return mined, int((~readable).sum()), left_out


def _excluded_candidates(
    rows: pa.RecordBatch,
    positive_rows: np.ndarray[Any, Any],
    members: Members,
    candidates: np.ndarray[Any, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What no query may get: its positive and all passages of the positive's document, as candidate numbers
    (offsets int64[queries + 1], numbers int64[])."""
    counts, document_rows = members.rows_of_documents(document_hashes(rows["document_id"]))
    queries = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.arange(len(counts))])
    forbidden = np.concatenate([document_rows, positive_rows])
    numbers = np.searchsorted(candidates, forbidden)
    inside = candidates[np.minimum(numbers, len(candidates) - 1)] == forbidden
    unique = np.unique(np.stack([queries[inside], numbers[inside]], axis=1), axis=0)
    offsets = np.searchsorted(unique[:, 0], np.arange(len(counts) + 1))
    return offsets.astype(np.int64), unique[:, 1].astype(np.int64)


def _lists_in_order(total: int, pieces: list[tuple[np.ndarray[Any, Any], Any]]) -> list[pa.Array]:
    """The negatives of all kinds as three list columns in row order; rows without any get empty lists."""
    lengths = np.zeros(total, np.int64)
    for chosen, (selection, _) in pieces:
        lengths[chosen] = np.diff(selection.offsets)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat_rows, scores, ranks = (
        np.zeros(offsets[-1], np.int64),
        np.zeros(offsets[-1], np.float32),
        np.zeros(offsets[-1], np.int32),
    )
    for chosen, (selection, candidates) in pieces:
        counts = np.diff(selection.offsets)
        target = np.repeat(offsets[chosen] - selection.offsets[:-1], counts) + np.arange(selection.offsets[-1])
        flat_rows[target] = candidates[selection.rows]
        scores[target] = selection.scores.round(4)
        ranks[target] = selection.ranks
    list_offsets = pa.array(offsets, pa.int32())
    return [pa.ListArray.from_arrays(list_offsets, pa.array(values)) for values in (flat_rows, scores, ranks)]

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
    encoding = [
        Task(
            f"encode-{_stem(file.path)}",
            fingerprint(
                version=VERSION,
                input=file.sha256,
                encoder=settings.encoder.model_dump(mode="json"),
                model=job.plan.settings["model_fingerprint"],
            ),
            storage.join(job.run.job("dedup"), file.path),
        )
        for file in passages
    ]
    size = sum(file.bytes for file in passages)
    embedded = job.run_tasks(encoding, partial(write_embeddings, job.folder, settings), bytes_to_read=size, encoder=True)
    corpus = CorpusFiles(
        folder=job.folder,
        passages=tuple(storage.join(job.run.job("dedup"), file.path) for file in passages),
        embeddings=tuple(storage.join(job.folder, _EMBEDDINGS, f"{task.name}.npy") for task in encoding),
        pairs=tuple(storage.join(job.run.job(before.job), file.path) for file in before.files_of(PAIRS)),
        within=settings.within,
        reads=settings.reads,
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


def write_embeddings(folder: str, settings: MineSettings, task: Any, progress: TaskProgress) -> Part:
    """Encode one passage shard; float32[rows, dimensions]."""
    encoder = load_encoder(settings.encoder.model_dump_json())
    vectors, rows = [], 0
    for batch in read_batches(task.payload):
        vectors.append(encoder.encode(batch["text"], "passage").astype(np.float32))
        rows += batch.num_rows
        progress.beat(rows)
    matrix = np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32)
    with storage.atomic_write(storage.join(folder, _EMBEDDINGS, f"{task.name}.npy")) as stream:
        np.lib.format.write_array(stream, matrix, allow_pickle=False)
    return commit_part(folder, task.name, task.fingerprint, [], Tally(), [], details={"encoded": rows})


@dataclass(frozen=True)
class CorpusFiles:
    """Where the passages, their vectors and the pairs that lead to them lie."""

    folder: str
    passages: tuple[str, ...]
    embeddings: tuple[str, ...]
    pairs: tuple[str, ...]
    within: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Corpus:
    """The passages by row number, and which of them belong to which kind and document."""

    ids: np.ndarray[Any, Any]  # void16[passages], sorted
    rows: np.ndarray[Any, Any]  # int64[passages]: the row number of each id
    vectors: np.ndarray[Any, Any]  # float32[passages, dimensions]
    members: dict[str, np.ndarray[Any, Any]]  # kind -> sorted int64 rows
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


def _void(ids: pa.Array) -> np.ndarray[Any, Any]:
    """binary(16)[n] -> big-endian pairs that sort as bytes do."""
    raw = np.frombuffer(ids.buffers()[1], ">u8").reshape(-1, 2)[ids.offset : ids.offset + len(ids)]
    return np.ascontiguousarray(raw.astype("u8")).view([("high", "u8"), ("low", "u8")]).reshape(-1)


def document_hashes(documents: pa.Array) -> np.ndarray[Any, Any]:
    """uint64[n]: a hash of each document id."""
    encoded = documents.dictionary_encode()
    hashes = np.array([xxhash.xxh3_64_intdigest(name) for name in encoded.dictionary.to_pylist()], np.uint64)
    result: np.ndarray[Any, Any] = hashes[encoded.indices.to_numpy()]
    return result


@cache
def load_corpus(files: CorpusFiles) -> Corpus:
    """One corpus a process."""
    ids = [_void(batch["passage_id"]) for url in files.passages for batch in read_batches(url, ["passage_id"])]
    all_ids = np.concatenate(ids) if ids else np.zeros(0, [("high", "u8"), ("low", "u8")])
    order = np.argsort(all_ids, order=("high", "low"))
    sorted_ids = all_ids[order]
    matrices = []
    for url in files.embeddings:
        with storage.open_for_reading(url) as stream:
            matrices.append(np.lib.format.read_array(stream, allow_pickle=False))
    vectors = np.concatenate([m for m in matrices if m.size]) if any(m.size for m in matrices) else np.zeros((0, 1), np.float32)
    kinds: dict[str, list[np.ndarray[Any, Any]]] = {}
    documents, document_rows = [], []
    for url in files.pairs:
        for batch in read_batches(url, ["positive", "kind", "document_id", "query_lang", "positive_lang"]):
            rows = order[np.searchsorted(sorted_ids, _void(text_ids(batch["positive"])))]
            documents.append(document_hashes(batch["document_id"]))
            document_rows.append(rows)
            readable = readable_rows(batch, files.reads)
            for kind in pc.unique(batch["kind"]).to_pylist():
                of_kind = pc.equal(batch["kind"], kind).to_numpy(zero_copy_only=False) & readable
                kinds.setdefault(_group(kind, files.within), []).append(rows[of_kind])
    flat_documents = np.concatenate(documents) if documents else np.zeros(0, np.uint64)
    by_document = np.argsort(flat_documents, kind="stable")
    return Corpus(
        sorted_ids,
        order.astype(np.int64),
        vectors,
        {kind: np.unique(np.concatenate(rows)) for kind, rows in kinds.items()},
        flat_documents[by_document],
        (np.concatenate(document_rows) if document_rows else _EMPTY)[by_document],
    )


def _group(kind: str, within: str) -> str:
    return kind if within == "kind" else "all"


def write_mined(folder: str, settings: MineSettings, seed: int, files: CorpusFiles, task: Any, progress: TaskProgress) -> Part:
    """One pair shard -> its `mined` shard."""
    corpus = load_corpus(files)
    tally, rows = Tally(), 0
    counts: dict[str, int] = {"queries": 0, "negatives": 0, "without_negatives": 0, "not_read": 0}
    left_out: dict[str, int] = {}
    with ShardSet(folder, task.name, {MINED: MINED_SCHEMA}, always=[MINED]) as shards:
        for batch in read_batches(task.payload):
            mined, not_read, excluded = mine_batch(batch, corpus, settings, seed)
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
    batch: pa.RecordBatch, corpus: Corpus, settings: MineSettings, seed: int
) -> tuple[pa.RecordBatch, int, dict[str, int]]:
    """PAIR batch -> (MINED batch row by row, queries the encoder cannot read, candidates left out by reason)."""
    from trainer.negatives import select_negatives
    from trainer.search import exact_top_k

    total = batch.num_rows
    positive_rows = corpus.rows_of(text_ids(batch["positive"]))
    readable = readable_rows(batch, settings.reads)
    positive_scores = np.full(total, np.nan, np.float32)
    pieces: list[tuple[np.ndarray[Any, Any], Any]] = []
    left_out: dict[str, int] = {}
    kinds = np.array(batch["kind"].to_pylist(), dtype=object)
    for kind in sorted(set(kinds[readable])):
        chosen = np.flatnonzero(readable & (kinds == kind))
        members = corpus.members[_group(kind, settings.within)]
        queries = load_encoder(settings.encoder.model_dump_json()).encode(batch["query"].take(pa.array(chosen)), "query")
        positives = corpus.vectors[positive_rows[chosen]]
        positive_scores[chosen] = np.einsum("nd,nd->n", queries.astype(np.float64), positives.astype(np.float64))
        offsets, excluded = _excluded_members(batch.take(pa.array(chosen)), positive_rows[chosen], corpus, members)
        widest = int(np.diff(offsets).max(initial=0))
        k = min(len(members), settings.select.rank_window[1] + widest)
        scores, found = exact_top_k(queries, corpus.vectors[members], k)
        selection = select_negatives(
            found,
            scores,
            positive_scores[chosen],
            (offsets, excluded),
            settings.select.model_copy(update={"seed": seed}),
            query_ids=_void(batch["pair_id"].take(pa.array(chosen)))["low"],
        )
        for reason, number in selection.left_out.items():
            left_out[reason] = left_out.get(reason, 0) + number
        pieces.append((chosen, (selection, members)))
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


def _excluded_members(
    rows: pa.RecordBatch, positive_rows: np.ndarray[Any, Any], corpus: Corpus, members: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What no query may get: its positive and all passages of the positive's documents, as member numbers
    (offsets int64[queries + 1], numbers int64[])."""
    counts, document_rows = corpus.rows_of_documents(document_hashes(rows["document_id"]))
    queries = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.arange(len(counts))])
    forbidden = np.concatenate([document_rows, positive_rows])
    numbers = np.searchsorted(members, forbidden)
    inside = (numbers < len(members)) & (members[np.minimum(numbers, len(members) - 1)] == forbidden)
    unique = np.unique(np.stack([queries[inside], numbers[inside]], axis=1), axis=0)
    offsets = np.searchsorted(unique[:, 0], np.arange(len(counts) + 1))
    return offsets.astype(np.int64), unique[:, 1].astype(np.int64)


def _lists_in_order(total: int, pieces: list[tuple[np.ndarray[Any, Any], Any]]) -> list[pa.Array]:
    """The negatives of all kinds as three list columns in row order; rows without any get empty lists."""
    lengths = np.zeros(total, np.int64)
    for chosen, (selection, _) in pieces:
        lengths[chosen] = np.diff(selection.offsets)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat_rows, scores, ranks = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1], np.float32), np.zeros(offsets[-1], np.int32)
    for chosen, (selection, members) in pieces:
        counts = np.diff(selection.offsets)
        target = np.repeat(offsets[chosen] - selection.offsets[:-1], counts) + np.arange(selection.offsets[-1])
        flat_rows[target] = members[selection.rows]
        scores[target] = selection.scores.round(4)
        ranks[target] = selection.ranks
    list_offsets = pa.array(offsets, pa.int32())
    return [pa.ListArray.from_arrays(list_offsets, pa.array(values)) for values in (flat_rows, scores, ranks)]


"""score: the relevance of a pair's two sides, by an encoder's vectors.

    relevance       their cosine (C-Pack, section 3.2: pairs below 0.43 are dropped)
    pool_rank       how many of a pool of random passages score higher with the query (E5, section 3.1)
    bitext_margin   ratio margin of translation pairs (Artetxe and Schwenk 2019)

Pairs in a language the encoder cannot read (`reads`) are kept and marked as not scored: all three null. Measures, then
decides: another threshold reads the kept measurements.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import embeddings, storage
from pipelines.embeddings import Embeddings
from pipelines.job import HELD_OUT, PAIRS, Job, Outcome, Plan, pair_plan, pairs_before
from pipelines.jobs.dedup import PASSAGES
from pipelines.manifest import fingerprint, input_names
from pipelines.measured import Measuring, measurement_files, with_measurements, with_scores
from pipelines.progress import TaskProgress
from pipelines.recipe import Recipe, ScoreSettings
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from sources import schema
from trainer.backbone import model_fingerprint

VERSION = 3
MEASURED = pa.schema(
    [
        ("pair_id", pa.binary(16)),
        ("relevance", pa.float32()),
        ("pool_rank", pa.float32()),
        ("bitext_margin", pa.float32()),
    ]
)
REASONS = {
    "low_relevance": "the encoder finds the two sides unrelated (cosine below the threshold)",
    "low_pool_rank": "too many random passages are nearer to the query than the positive",
    "low_margin": "other sentences are nearly as near as the translation (ratio margin below the threshold)",
}
DECIMALS = 4  # of cosine and margin: below the noise of a bf16 forward, so that a repeated run decides alike
POOL: Final = "pool"
POOL_KEYS: Final = "pool_keys"

_SCHEMAS = {PAIRS: schema.PAIR, HELD_OUT: schema.PAIR, REJECTS: schema.REJECT}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.score is not None
    model = model_fingerprint(recipe.score.encoder.model)
    pairs = pair_plan(recipe, run, "score", recipe.score, (PAIRS, HELD_OUT), model_fingerprint=model)
    passages = input_names(_pool_files(recipe, run), "dedup") if recipe.score.pool else []
    return Plan(pairs.settings, [*pairs.inputs, *passages])


def _pool_files(recipe: Recipe, run: RunFolder) -> list[ShardFile]:
    return pairs_before(recipe, run, "score").files_of(PASSAGES)


@dataclass(frozen=True)
class Judge:
    """All that measuring needs. Small: it is sent to workers."""

    settings: ScoreSettings
    embeddings: Embeddings
    pool: "PoolFiles | None" = None


@dataclass(frozen=True)
class PoolFiles:
    """The pool's passages: files of vectors, float16 [n, D] each, and beside each one of their texts' keys, uint64 [n, 2]."""

    vectors: tuple[str, ...]
    keys: tuple[str, ...]


def execute(job: Job) -> Outcome:
    from pipelines.transforms import Task

    settings = job.recipe.score
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "score")
    vectors = embeddings.prepare(job)
    encoded = _encode_pool(job, settings, vectors) if settings.pool else []
    pool = PoolFiles(_urls(job, encoded, POOL), _urls(job, encoded, POOL_KEYS)) if settings.pool else None
    inputs = [each for each in job.plan.inputs if each["job"] == "dedup"] if settings.pool else []
    tasks = []
    for file in before.files_of(PAIRS, HELD_OUT):
        stem = _stem(file)
        name = stem if file.role == PAIRS else f"{stem}-{file.role}"
        measuring = fingerprint(
            version=VERSION,
            input=file.sha256,
            encoder=settings.encoder.model_dump(mode="json"),
            model=job.plan.settings["model_fingerprint"],
            reads=settings.reads,
            pool=(settings.pool.passages, inputs) if settings.pool else None,
            margin=settings.min_margin is not None,
        )
        key = fingerprint(measuring=measuring, settings=settings.model_dump(mode="json"))
        tasks.append(Task(name, key, (storage.join(job.run.job(before.job), file.path), file.role, measuring)))
    size = sum(file.bytes for file in before.files_of(PAIRS, HELD_OUT))
    write = partial(write_scored, job.folder, Judge(settings, vectors, pool))
    parts = job.run_tasks(tasks, write, bytes_to_read=size, encoder=True)
    details = {"not_scored": sum(part.details["not_scored"] for part in parts)}
    if settings.pool:
        details["pool_passages"] = sum(part.details["passages"] for part in encoded)
    return Outcome([*encoded, *parts], details)


def _urls(job: Job, parts: list[Part], role: str) -> tuple[str, ...]:
    return tuple(storage.join(job.folder, file.path) for part in parts for file in part.files if file.role == role)


def _stem(file: ShardFile) -> str:
    return file.path.rsplit("/", 1)[-1].removesuffix(".parquet")


def _encode_pool(job: Job, settings: ScoreSettings, vectors: Embeddings) -> list[Part]:
    """The vectors of the pool, a file for each shard of passages."""
    from pipelines.transforms import Task

    assert settings.pool is not None
    files = _pool_files(job.recipe, job.run)
    urls = [storage.join(job.run.job("dedup"), file.path) for file in files]
    last = last_pool_id(urls, settings.pool.passages)
    key = fingerprint(
        version=VERSION,
        inputs=job.plan.inputs,
        passages=settings.pool.passages,
        encoder=settings.encoder.model_dump(mode="json"),
        model=job.plan.settings["model_fingerprint"],
    )
    tasks = [Task(f"{POOL}-{_stem(file)}", key, url) for file, url in zip(files, urls, strict=True)]
    write = partial(write_pool, job.folder, settings, vectors, last)
    return job.run_tasks(tasks, write, bytes_to_read=sum(file.bytes for file in files), encoder=True)


def last_pool_id(urls: list[str], passages: int) -> int:
    """The largest first half of the ids that are in the pool: those of the smallest ids, which are hashes of the texts."""
    halves = [_first_halves(batch["passage_id"]) for url in urls for batch in read_batches(url, ["passage_id"])]
    ids = np.concatenate([np.zeros(0, np.uint64), *halves])
    if len(ids) <= passages:
        return 2**64 - 1
    return int(np.partition(ids, passages - 1)[passages - 1])


def _first_halves(ids: pa.Array) -> np.ndarray[Any, Any]:
    """uint64[n]: the first eight bytes of binary(16) ids."""
    words = np.frombuffer(ids.buffers()[1], ">u8").reshape(-1, 2)[ids.offset : ids.offset + len(ids), 0]
    return words.astype(np.uint64)


def write_pool(
    folder: str, settings: ScoreSettings, vectors: Embeddings, last: int, task: Any, progress: TaskProgress
) -> Part:
    """The vectors of one shard's passages whose ids are at most `last`, and the keys of their texts."""
    from trainer.embedding_store import text_keys

    texts = [pa.array([], pa.string())]
    for batch in read_batches(task.payload, ["passage_id", "text"]):
        texts.append(batch["text"].filter(pa.array(_first_halves(batch["passage_id"]) <= np.uint64(last))))
        progress.beat(0)
    chosen = pa.concat_arrays(texts)
    matrix = vectors.embed(settings.encoder, "passage", chosen, progress.beat)
    files = [
        _write_array(folder, role, task.name, array) for role, array in ((POOL, matrix), (POOL_KEYS, text_keys(chosen)))
    ]
    return commit_part(folder, task.name, task.fingerprint, files, Tally(), [], details={"passages": len(matrix)})


def _write_array(folder: str, role: str, name: str, array: np.ndarray[Any, Any]) -> ShardFile:
    path = f"{role}/{name}.npy"
    with storage.atomic_write(storage.join(folder, path)) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)
    return ShardFile(role=role, path=path, rows=len(array), bytes=stream.bytes, sha256=stream.sha256)


@cache
def _arrays(urls: tuple[str, ...]) -> list[np.ndarray[Any, Any]]:
    """Some .npy files, memory-mapped where the run is local; one copy a process."""
    if all(storage.is_local(url) for url in urls):
        return [np.load(url, mmap_mode="r", allow_pickle=False) for url in urls]
    arrays = []
    for url in urls:
        with storage.open_for_reading(url) as stream:
            arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    return arrays


@cache
def _pool_places(urls: tuple[str, ...]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The keys of the whole pool, uint64 [n, 2], ascending by their first half, and where each stood: int64 [n]."""
    keys = np.concatenate(_arrays(urls))
    order = np.argsort(keys[:, 0], kind="stable")
    return keys[order], order


def vectors_in_pool(pool: PoolFiles, texts: pa.Array) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The vectors of texts that are passages of the pool, float16 [n, D], and which are: bool [n]; the others' are 0."""
    from trainer.embedding_store import text_keys

    keys, order = _pool_places(pool.keys)
    matrices = _arrays(pool.vectors)
    wanted = text_keys(texts)
    places = np.searchsorted(keys[:, 0], wanted[:, 0])
    found = places < len(keys)
    found[found] = (keys[places[found]] == wanted[found]).all(axis=1)
    ends = np.cumsum([len(matrix) for matrix in matrices])
    vectors = np.zeros((len(texts), matrices[0].shape[1]), np.float16)
    rows = np.flatnonzero(found)
    stood = order[places[rows]]
    file = np.searchsorted(ends, stood, "right")
    for number in np.unique(file):
        here = file == number
        vectors[rows[here]] = matrices[number][stood[here] - (ends[number] - len(matrices[number]))]
    return vectors, found


def write_scored(folder: str, judge: Judge, task: Any, progress: TaskProgress) -> Part:
    url, role, key = task.payload
    measure = partial(measure_relevance, judge, progress)
    family = Measuring(task.name, key, MEASURED, measure)
    tally, not_scored, rows = Tally(), 0, 0
    with ShardSet(folder, task.name, _SCHEMAS, always=[role]) as shards:
        for batch, measured in with_measurements(folder, url, [family]):
            reason = decide(batch, measured, judge.settings)
            kept, rejects = schema.split_rejects(with_scores(batch, _new_scores(batch, measured)), reason)
            tally.add(batch, "in")
            tally.add(kept, "out")
            tally.add_rejects(rejects)
            shards.write(role, kept)
            shards.write(REJECTS, rejects)
            not_scored += measured["relevance"].null_count
            rows += batch.num_rows
            progress.beat(rows)
    files = [*shards.files, *measurement_files(folder, [family])]
    return commit_part(
        folder, task.name, task.fingerprint, files, tally, [PAIRS, HELD_OUT], details={"not_scored": not_scored}
    )


def decide(batch: pa.RecordBatch, measured: pa.RecordBatch, settings: ScoreSettings) -> pa.Array:
    """The reason each pair is dropped for, string[rows]; null = keep. What was not measured drops nothing."""
    low = pc.less(measured["relevance"], thresholds(batch, settings))
    far = pc.greater_equal(measured["pool_rank"], pa.scalar(float(settings.pool.keep if settings.pool else 0)))
    near_others = pc.less(measured["bitext_margin"], pa.scalar(settings.min_margin or 0.0))
    return pc.case_when(pc.make_struct(*(pc.fill_null(each, False) for each in (low, far, near_others))), *REASONS)


def thresholds(batch: pa.RecordBatch, settings: ScoreSettings) -> pa.Array:
    """float32[rows]: the least relevance of each pair: its source's, else its query language's, else that of all."""
    least = pa.repeat(pa.scalar(settings.threshold, pa.float32()), batch.num_rows)
    for column, given in (
        ("query_lang", settings.threshold_by_language),
        ("source", settings.threshold_by_source),
    ):
        for value, threshold in given.items():
            least = pc.if_else(pc.equal(batch[column], value), pa.scalar(threshold, pa.float32()), least)
    return least


def _new_scores(batch: pa.RecordBatch, measured: pa.RecordBatch) -> dict[str, pa.Array]:
    """What goes into `scores`: a margin that came with the corpus stays where none was measured."""
    given = batch["scores"].flatten()[schema.SCORES.get_field_index("bitext_margin")]
    return {
        "relevance": measured["relevance"],
        "pool_rank": measured["pool_rank"],
        "bitext_margin": pc.coalesce(measured["bitext_margin"], given),
    }


def measure_relevance(judge: Judge, progress: TaskProgress, batch: pa.RecordBatch) -> pa.RecordBatch:
    """PAIR batch -> MEASURED batch: null where the encoder cannot read a side, or a measure was not asked for."""
    from trainer.relevance import cosines, ranks_in_pool

    settings = judge.settings
    readable = readable_rows(batch, settings.reads)
    relevance, ranks, margins = (np.full(batch.num_rows, np.nan, np.float32) for _ in range(3))
    if readable.any():
        rows = batch.filter(pa.array(readable))
        queries = judge.embeddings.embed(settings.encoder, "query", rows["query"], progress.beat)
        positives = _passage_vectors(judge, rows["positive"], progress)
        relevance[readable] = cosines(queries, positives).round(DECIMALS)
        if judge.pool is not None:
            ranks[readable] = ranks_in_pool(queries, positives, _arrays(judge.pool.vectors))
        if settings.min_margin is not None:
            margins[readable] = margins_by_direction(rows, queries, positives)
    columns = [pa.array(each, pa.float32(), mask=np.isnan(each)) for each in (relevance, ranks, margins)]
    return pa.RecordBatch.from_arrays([batch["pair_id"], *columns], schema=MEASURED)


def _passage_vectors(judge: Judge, texts: pa.Array, progress: TaskProgress) -> np.ndarray[Any, Any]:
    """float16[n, D]. A passage of the pool has the pool's vector: encoded again, among other texts, its last bits could
    differ, and the passage rank above itself."""
    encode = partial(judge.embeddings.embed, judge.settings.encoder, "passage", on_batch=progress.beat)
    if judge.pool is None:
        return encode(texts)
    vectors, found = vectors_in_pool(judge.pool, texts)
    if not found.all():
        vectors[~found] = encode(texts.filter(pa.array(~found)))
    return vectors


def margins_by_direction(
    rows: pa.RecordBatch, queries: np.ndarray[Any, Any], positives: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """float32[rows]: the ratio margin of the translation pairs among those of the same two languages; NaN for others."""
    from trainer.relevance import bitext_margins

    margins = np.full(rows.num_rows, np.nan, np.float32)
    directions = pc.binary_join_element_wise(rows["query_lang"], rows["positive_lang"], "\x00")
    parallel = pc.equal(rows["kind"], "parallel")
    for direction in pc.unique(directions).to_pylist():
        places = pc.and_(parallel, pc.equal(directions, direction)).to_numpy(zero_copy_only=False)
        if places.any():
            margins[places] = bitext_margins(queries[places], positives[places]).round(DECIMALS)
    return margins


def readable_rows(batch: pa.RecordBatch, reads: tuple[str, ...]) -> np.ndarray[Any, Any]:
    """bool[rows]: whether the encoder can read both sides; empty `reads` means it reads everything."""
    if not reads:
        return np.ones(batch.num_rows, bool)
    languages = pa.array(list(reads))
    both = pc.and_(pc.is_in(batch["query_lang"], languages), pc.is_in(batch["positive_lang"], languages))
    result: np.ndarray[Any, Any] = both.to_numpy(zero_copy_only=False)
    return result

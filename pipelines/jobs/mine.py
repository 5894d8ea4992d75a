"""mine: hard negatives for every training pair, from the deduplicated passages of the training side.

    1. the passages are encoded, one task a shard; vectors are kept as float16 .npy in embeddings/
    2. where the rules need them, texts and an index of words are laid out as memory-mapped files (_texts, _words), which
       go when the job is done
    3. every pair shard: queries are encoded and mined (trainer.mining) against the passages of their kind

Writes the role `mined`, row by row beside the pair shard of the same name (MINED_SCHEMA). Rows are row numbers in dedup's
passage shards, in shard order. The reference of the rules on scores is the lowest positive of the query's cluster. What a
query must not get: pipelines.passage_members. Negatives that came with the source are not touched; pack puts them first.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines import embeddings, mined_before, storage
from pipelines.embeddings import Embeddings
from pipelines.errors import UserError
from pipelines.job import PAIRS, Job, Outcome, Plan, finished, is_committed, pair_plan, pairs_before
from pipelines.jobs.dedup import PASSAGES
from pipelines.jobs.score import readable_rows
from pipelines.judges import judge_facts, make_judge
from pipelines.manifest import fingerprint, input_names
from pipelines.mined_before import MinedBefore
from pipelines.mining.texts import StoredRows
from pipelines.passage_members import MemberFiles, Members, group_of, key_pairs, load_members
from pipelines.progress import TaskProgress
from pipelines.recipe import MineSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.shards import REJECTS, Part, ShardFile, ShardSet, Tally, commit_part, read_batches
from sources.schema import text_ids
from trainer.backbone import model_fingerprint
from trainer.ragged import Ragged

if TYPE_CHECKING:
    from pipelines.kept_neighbours import KeptFiles  # with numba, which a plan needs not
    from trainer.bm25 import Bm25Index
    from trainer.kept_neighbours import KeptSearch
    from trainer.mining import MinedBlock, PassageTexts
    from trainer.vector_files import VectorFiles

VERSION = 4
MINED: Final = "mined"
MINED_SCHEMA: Final = pa.schema(
    [
        ("pair_id", pa.binary(16)),
        ("source", pa.string()),
        ("positive_row", pa.int64()),
        ("positive_score", pa.float32()),  # the encoder's; null where it cannot read the pair
        ("negative_rows", pa.list_(pa.int64())),
        ("negative_scores", pa.list_(pa.float32())),
        ("negative_ranks", pa.list_(pa.int32())),  # -1: drawn at random
        ("negative_origins", pa.list_(pa.string())),  # "dense", "dense+bm25", ..., "random"
        # Of a judge: null or empty without one. A score that it did not give is null.
        ("positive_judge_score", pa.float32()),
        ("negative_judge_scores", pa.list_(pa.float32())),
        ("relabelled_rows", pa.list_(pa.int64())),  # passages that the judge finds to be positives
        ("relabelled_scores", pa.list_(pa.float32())),
        ("relabelled_judge_scores", pa.list_(pa.float32())),
    ]
)
EMBEDDINGS: Final = "embeddings"
_TEXTS: Final = "_texts"
_WORDS: Final = "_words"


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.mine is not None
    facts = {"model_fingerprint": model_fingerprint(recipe.mine.encoder.model), "seed": recipe.seed}
    judge = judge_facts(recipe.mine.judge)
    pairs = pair_plan(recipe, run, "mine", recipe.mine, (PAIRS,), judge=judge, **facts)
    from_dedup = [file for role in (PASSAGES, REJECTS) for file in finished(run, "dedup").files_of(role)]
    return Plan(pairs.settings, [*pairs.inputs, *input_names(from_dedup, "dedup")])


def execute(job: Job) -> Outcome:
    from pipelines import kept_neighbours
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
                input=file.sha256,
                wanted=hashlib.sha256(wanted).hexdigest(),
                encoder=settings.encoder.model_dump(mode="json"),
                model=job.plan.settings["model_fingerprint"],
            ),
            storage.join(job.run.job("dedup"), file.path),
        )
        for file, wanted in zip(passages, _wanted_of_each(passages, load_members(members)), strict=True)
    ]
    size = sum(file.bytes for file in passages)
    vectors = embeddings.prepare(job)
    write_vectors = partial(write_embeddings, job.folder, settings, members, vectors)
    embedded = job.run_tasks(encoding, write_vectors, bytes_to_read=size, encoder=True)
    mining = [
        Task(_stem(file.path), job.fingerprint, storage.join(job.run.job(before.job), file.path))
        for file in before.files_of(PAIRS)
    ]
    open_tasks = [task for task in mining if not is_committed(job.folder, task.name, task.fingerprint)]
    texts = write_texts(job.folder, passages, passage_urls) if open_tasks and settings.needs_texts else ()
    words = write_words(job.folder, texts) if open_tasks and "bm25" in settings.candidates.sources else None
    matrices = tuple(storage.join(job.folder, EMBEDDINGS, f"{task.name}.npy") for task in encoding)
    near = _kept_neighbours(job, members, matrices)
    of_settings = fingerprint(version=VERSION, settings=job.plan.settings)
    before_now = None
    if _keeps_mined(job):
        before_now = mined_before.prepare(job.folder, of_settings)
    else:
        mined_before.forget(job.folder)  # before a shard is overwritten that it tells of
    corpus = CorpusFiles(members, vectors, matrices, texts, words, near, before_now)
    write = partial(write_mined, job.folder, settings, job.recipe.seed, corpus)
    size = sum(file.bytes for file in before.files_of(PAIRS))
    mined = job.run_tasks(mining, write, bytes_to_read=size, encoder=True)
    if near is not None:
        kept_neighbours.finish(near)
    if _keeps_mined(job):
        shards = [file for part in mined for file in part.files if file.role == MINED]
        mined_before.finish(job.folder, of_settings, load_members(members), shards)
    for scratch in (_TEXTS, _WORDS):
        storage.remove(storage.join(job.folder, scratch))
    details: dict[str, Any] = {"passages": sum(file.rows for file in passages)}
    for name in COUNTS:
        details[name] = sum(part.details[name] for part in mined)
    for name in ("candidates_left_out", "judged"):
        counted: Counter[str] = Counter()
        for part in mined:
            counted.update(part.details[name])
        details[name] = dict(counted)
    return Outcome([*embedded, *mined], details)


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".parquet")


def _keeps_mined(job: Job) -> bool:
    assert job.recipe.mine is not None
    return job.recipe.mine.refresh == "affected" and storage.is_local(job.folder)


def _wanted_of_each(passages: list[ShardFile], members: Members) -> list[bytes]:
    """Which passages of each shard are encoded, a byte each."""
    ends = np.cumsum([file.rows for file in passages])
    return [part.tobytes() for part in np.split(members.encoded, ends[:-1])]


def _kept_neighbours(job: Job, files: MemberFiles, matrices: tuple[str, ...]) -> "KeptFiles | None":
    """Where neighbours are kept; None where all queries are searched in full."""
    from pipelines import kept_neighbours

    settings = job.recipe.mine
    assert settings is not None
    keeps = storage.is_local(job.folder) and settings.keeps_neighbours
    if not keeps or len(load_vectors(matrices)) == 0:
        kept_neighbours.forget(job.folder)
        return None
    members, vectors = load_members(files), load_vectors(matrices)
    groups = {group: None if len(rows) == len(vectors) else rows for group, rows in members.of_kind.items()}
    return kept_neighbours.prepare(job.folder, job.fingerprint, vectors, groups)


def write_embeddings(
    folder: str, settings: MineSettings, files: MemberFiles, vectors: Embeddings, task: Any, progress: TaskProgress
) -> Part:
    """The vectors of one shard's passages that belong to a pair the encoder reads: float16[rows, dimensions], zeros else."""
    members = load_members(files)
    matrices, encoded = [], 0
    for batch in read_batches(task.payload):
        chosen = members.encoded[members.rows_of(batch["passage_id"])]
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


def write_texts(folder: str, passages: list[ShardFile], urls: tuple[str, ...]) -> tuple[str, ...]:
    """The passages' texts as uncompressed Arrow files, one a shard, to be memory-mapped; those that are there are kept. In a
    run folder that is not local nothing is written: the shards themselves are returned."""
    if not storage.is_local(folder):
        return urls
    paths = []
    for file, url in zip(passages, urls, strict=True):
        path = storage.join(folder, _TEXTS, f"{file.sha256}.arrow")
        if not storage.exists(path):
            schema = pa.schema([("text", pa.large_string())])
            with storage.atomic_write(path) as stream, pa.ipc.new_file(stream, schema) as writer:
                for batch in read_batches(url, ["text"]):
                    writer.write_batch(
                        pa.RecordBatch.from_arrays([batch["text"].cast(pa.large_string())], schema=schema)
                    )
        paths.append(path)
    return tuple(paths)


def write_words(folder: str, texts: tuple[str, ...]) -> str:
    """An index of the passages' words (BM25), made anew: its folder. Raises UserError where the run folder is not local."""
    from trainer.bm25 import Bm25Index

    if not storage.is_local(folder):
        raise UserError(
            "mine.candidates.sources names bm25, which needs a local run folder for its memory-mapped index. Run in a local"
            " folder, or take bm25 out."
        )
    rows = load_texts(texts)

    def blocks() -> Iterator[pa.Array]:
        for start in range(0, len(rows), 4096):
            yield rows.take(np.arange(start, min(start + 4096, len(rows))))

    words = storage.join(folder, _WORDS)
    Bm25Index.build(blocks(), words)
    return words


@dataclass(frozen=True)
class CorpusFiles:
    """The passages, their vectors and texts, in the same order. Small: it is sent to workers."""

    members: MemberFiles
    queries: Embeddings  # where the queries' vectors come from
    embeddings: tuple[str, ...]
    texts: tuple[str, ...] = ()  # write_texts; empty where they are not needed
    words: str | None = None  # write_words
    near: "KeptFiles | None" = None
    before: str | None = None  # mined_before.prepare


@cache
def load_vectors(urls: tuple[str, ...]) -> "VectorFiles":
    """Read as they are needed where the files are local; else one copy a process."""
    from trainer.vector_files import VectorFiles

    if all(storage.is_local(url) for url in urls):
        return VectorFiles.open([storage.split_url(url)[1] for url in urls])
    matrices = []
    for url in urls:
        with storage.open_for_reading(url) as stream:
            matrices.append(np.lib.format.read_array(stream, allow_pickle=False))
    return VectorFiles.of(np.concatenate(matrices))


@dataclass(frozen=True)
class _Texts:
    """Texts by row number: a column of stored rows, or an array in memory."""

    rows: StoredRows | pa.Array

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray[Any, Any]) -> pa.Array:
        return self.rows.take(rows).column(0) if isinstance(self.rows, StoredRows) else self.rows.take(pa.array(rows))


@cache
def load_texts(urls: tuple[str, ...]) -> "PassageTexts":
    """What write_texts gave: Arrow files memory-mapped, passage shards as one copy a process."""
    if all(url.endswith(".arrow") for url in urls):
        return _Texts(StoredRows([Path(storage.split_url(url)[1]) for url in urls], ["text"]))
    chunks = [batch["text"].cast(pa.large_string()) for url in urls for batch in read_batches(url, ["text"])]
    return _Texts(pa.chunked_array(chunks, pa.large_string()).combine_chunks())


@cache
def load_search(files: CorpusFiles, group: str, settings_json: str) -> "KeptSearch | None":
    """The search of a group's queries that goes on from neighbours of an earlier run; None where none are kept."""
    from pipelines import kept_neighbours
    from trainer.search_settings import SearchSettings

    if files.near is None:
        return None
    vectors, searched = load_vectors(files.embeddings), load_members(files.members).of_kind[group]
    rows = searched if len(searched) < len(vectors) else None
    settings = SearchSettings.model_validate_json(settings_json)
    return kept_neighbours.open_search(files.near, group, vectors, rows, settings)


@cache
def load_words(folder: str) -> "Bm25Index":
    from trainer.bm25 import Bm25Index

    return Bm25Index.open(folder)


COUNTS: Final = ("queries", "negatives", "without_negatives", "not_read", "relabelled", "drawn_at_random")


def write_mined(
    folder: str, settings: MineSettings, seed: int, files: CorpusFiles, task: Any, progress: TaskProgress
) -> Part:
    """One pair shard -> its `mined` shard."""
    from pipelines import kept_neighbours

    tally = Tally()
    counts = dict.fromkeys(COUNTS, 0)
    left_out: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    searched_in_full, groups = 0, sorted(load_members(files.members).of_kind)
    searching = settings.search.model_dump_json()
    keeping = kept_neighbours.ListWriter(files.near, task.name) if files.near is not None else nullcontext()
    with ShardSet(folder, task.name, {MINED: MINED_SCHEMA}, always=[MINED]) as shards, keeping as keep:
        earlier = _mined_before(files, task.name)
        for batch in read_batches(task.payload):
            mined, found = mine_affected(batch, earlier, files, settings, seed, progress.beat)
            shards.write(MINED, mined)
            tally.add(batch, "in")
            tally.add(batch, "out")
            not_read = mined["positive_score"].null_count
            lengths = pc.list_value_length(mined["negative_rows"]).to_numpy()
            counts["queries"] += batch.num_rows - not_read
            counts["not_read"] += not_read
            counts["negatives"] += int(lengths.sum())
            counts["without_negatives"] += int((lengths == 0).sum()) - not_read
            counts["relabelled"] += len(mined["relabelled_rows"].flatten())
            if keep is not None:
                searches = (load_search(files, group, searching) for group in groups)
                searched_in_full += keep.write(search for search in searches if search is not None)
            for each in found:
                left_out.update(each.negatives.dropped)
                judged.update(each.judged)
                counts["drawn_at_random"] += int((each.negatives.ranks < 0).sum())
    details: dict[str, Any] = {
        **counts,
        "candidates_left_out": dict(sorted(left_out.items())),
        "judged": dict(sorted(judged.items())),
    }
    if keep is not None:
        details["searched_in_full"] = searched_in_full
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [MINED], details=details)


def _mined_before(files: CorpusFiles, name: str) -> MinedBefore | None:
    if files.before is None:
        return None
    return MinedBefore.of_shard(files.before, name, load_members(files.members))


def mine_affected(
    batch: pa.RecordBatch,
    earlier: MinedBefore | None,
    files: CorpusFiles,
    settings: MineSettings,
    seed: int,
    on_batch: Callable[[int], None],
) -> "tuple[pa.RecordBatch, list[MinedBlock]]":
    """As mine_batch; pairs that keep what an earlier run mined are not mined."""
    if earlier is None:
        return mine_batch(batch, files, settings, seed, on_batch)
    places = earlier.find(batch, load_members(files.members), settings.within)
    mined, found = mine_batch(batch.filter(pa.array(places < 0)), files, settings, seed, on_batch)
    at = np.where(places < 0, earlier.rows.num_rows + np.cumsum(places < 0) - 1, places)
    rows = pa.Table.from_batches([earlier.rows, mined]).take(pa.array(at)).combine_chunks().to_batches()
    return (rows[0] if rows else mined), found


def mine_batch(
    batch: pa.RecordBatch, files: CorpusFiles, settings: MineSettings, seed: int, on_batch: Callable[[int], None]
) -> "tuple[pa.RecordBatch, list[MinedBlock]]":
    """PAIR batch -> its MINED batch, row by row, and what was found for the queries of each kind."""
    from trainer.mining import MiningCorpus, QueryBlock, mine_block

    members, vectors = load_members(files.members), load_vectors(files.embeddings)
    mining = settings.mining(seed)
    judge = make_judge(settings.judge) if settings.judge else None
    texts = load_texts(files.texts) if files.texts else None
    words = load_words(files.words) if files.words else None
    readable = readable_rows(batch, settings.reads)
    kinds = np.array(batch["kind"].to_pylist(), dtype=object)
    found: list[MinedBlock] = []
    places, own = [], members.rows_of(text_ids(batch["positive"]))
    for kind in sorted(set(kinds[readable])):
        chosen = np.flatnonzero(readable & (kinds == kind))
        pairs = batch.take(pa.array(chosen))
        searched = members.of_kind[group_of(kind, settings.within)]
        block = QueryBlock(
            key_pairs(pairs["pair_id"])["low"],
            pairs["query"],
            files.queries.embed(settings.encoder, "query", pairs["query"], on_batch),
            members.positives(pairs),
            members.forbidden(pairs),
        )
        near = load_search(files, group_of(kind, settings.within), settings.search.model_dump_json())
        rows = searched if len(searched) < len(vectors) else None
        corpus = MiningCorpus(vectors, texts, rows, words, near=near)
        mined = mine_block(block, corpus, mining, judge, on_batch)
        found.append(mined)
        places.append(_Place(chosen, block.positives, own[chosen]))
    return _mined_batch(batch, own, found, places, settings), found


@dataclass(frozen=True)
class _Place:
    """Where the queries of one kind stand in their batch."""

    rows: np.ndarray[Any, Any]  # int64[queries]: rows of the batch
    positives: Ragged  # passages
    own: np.ndarray[Any, Any]  # int64[queries]: the pair's own positive

    def of_own(self, scores: Ragged | None) -> np.ndarray[Any, Any]:
        """float32[queries]: of scores beside the positives that of the pair's own; NaN without any."""
        if scores is None:
            return np.full(len(self.rows), np.nan, np.float32)
        is_own = self.positives.values == np.repeat(self.own, self.positives.lengths)
        result: np.ndarray[Any, Any] = scores.values[is_own]
        return result


def _mined_batch(
    batch: pa.RecordBatch,
    own: np.ndarray[Any, Any],
    found: "list[MinedBlock]",
    places: list[_Place],
    settings: MineSettings,
) -> pa.RecordBatch:
    from trainer.candidates import origin_names

    total, mined = batch.num_rows, np.concatenate([np.empty(0, np.int64), *(place.rows for place in places)])
    at = np.full(total, len(mined))  # rows that were not mined take the last list, an empty one
    at[mined] = np.arange(len(mined))

    def own_scores(scores: "list[Ragged | None]") -> pa.Array:
        column = np.full(total, np.nan, np.float32)
        for place, each in zip(places, scores, strict=True):
            column[place.rows] = place.of_own(each)
        return _rounded(column)

    def lists(parts: "list[Ragged]", kind: pa.DataType) -> pa.Array:
        joined = Ragged.concatenate([*parts, Ragged.empty(1, kind.to_pandas_dtype())], kind.to_pandas_dtype()).take(at)
        values = _rounded(joined.values) if kind == pa.float32() else pa.array(joined.values, kind)
        return pa.ListArray.from_arrays(pa.array(joined.offsets, pa.int32()), values)

    def negatives(name: str) -> list[Ragged]:
        return [Ragged(getattr(each.negatives, name), each.negatives.offsets) for each in found]

    def judged(scores: "Ragged | None", block: "MinedBlock") -> Ragged:
        return Ragged.empty(len(block.relabelled), np.float32) if scores is None else scores

    origins = Ragged.concatenate([*negatives("origins"), Ragged.empty(1, np.uint8)], np.uint8).take(at)
    names = origin_names(origins.values, settings.candidates.sources)
    columns = [
        batch["pair_id"],
        batch["source"],
        pa.array(own),
        own_scores([each.positive_scores for each in found]),
        lists(negatives("rows"), pa.int64()),
        lists(negatives("scores"), pa.float32()),
        lists(negatives("ranks"), pa.int32()),
        pa.ListArray.from_arrays(pa.array(origins.offsets, pa.int32()), names),
        own_scores([each.positive_judge_scores for each in found]),
        lists([judged(each.negatives.judged, each) for each in found], pa.float32()),
        lists([each.relabelled for each in found], pa.int64()),
        lists([each.relabelled_scores for each in found], pa.float32()),
        lists([judged(each.relabelled_judge_scores, each) for each in found], pa.float32()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=MINED_SCHEMA)


def _rounded(scores: np.ndarray[Any, Any]) -> pa.Array:
    """float32, four decimals: below the noise of a bf16 forward; NaN is null."""
    return pa.array(scores.astype(np.float32).round(4), pa.float32(), mask=np.isnan(scores))

"""dedup: exact and near-duplicates of pairs, caps, and the division into training and held-out documents.

    1. each shard's texts are keyed and sketched (pipelines.sketches); kept, so that only new shards are sketched
    2. similar queries form clusters, and similar positives (pipelines.clusters, pipelines.cluster_rounds)
    3. each pair becomes one SIGNATURE row of ids (pipelines.pair_signatures), and exchanges follow one another:

    by the pair of clusters     of duplicates and near-duplicates one is kept (a symmetric pair equals its mirror image)
    by the query's cluster      training rows that share a text or cluster with a held-out row are dropped; more than
                                max_pairs_per_query too
    by the positive's cluster   the same for positives; the first row of each distinct passage is marked
    by document, by domain      more than max_pairs_per_document and max_pairs_per_domain, where they are set

The dropped positions then meet their shards, and each shard is written: roles pairs, held_out, passages (the distinct training
positives, the corpus of mine and pack) and rejects. Which rows are kept depends neither on the order of the shards nor on the
number of workers: shards are numbered by their contents' hashes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.minhash import SKETCH_VERSION, SketchSettings
from pipelines import clusters, pair_signatures, storage
from pipelines import progress as progress_files
from pipelines.clusters import Shard
from pipelines.job import HELD_OUT, PAIRS, Job, Outcome, Plan, forget_parts, is_committed, pair_plan, pairs_before
from pipelines.manifest import fingerprint
from pipelines.pair_signatures import NOTHING, OWNS_PASSAGE, VERDICT, VERDICTS, ShardTexts
from pipelines.progress import TaskProgress
from pipelines.recipe import DedupSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.runner import Load, is_embedded, run_pipeline, spill_folder
from pipelines.shards import REJECTS, Part, ShardSet, Tally, commit_part, read_batches, read_part, recommit_part
from pipelines.sketches import Sketching, forget_sketches, is_sketched, read_rows, read_texts, sketch_shard
from sources import schema
from sources.schema import SCHEMA_VERSION

VERSION = 2
REASONS: Final = pair_signatures.REASONS
PASSAGES: Final = "passages"
ROWS_PER_PARTITION: Final = 500_000  # about 100 MB of signatures

_LAST_ROW: Final = (1 << 40) - 1
_WRITTEN_FROM: Final = "written_from"  # of a part's details
_SCHEMAS = {PAIRS: schema.PAIR, HELD_OUT: schema.PAIR, PASSAGES: schema.PASSAGE, REJECTS: schema.REJECT}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.dedup is not None
    return pair_plan(recipe, run, "dedup", recipe.dedup, (PAIRS,), seed=recipe.seed, sketch_version=SKETCH_VERSION)


def execute(job: Job) -> Outcome:
    settings = job.recipe.dedup
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "dedup")
    files = before.files_of(PAIRS)
    names = [_stem(file.path) for file in files]
    progress_files.announce(job.folder, names)
    folder = job.run.job(before.job)
    # Numbered by content: equal rows in two shards are told apart by their positions.
    shards = [
        Shard(_stem(file.path), storage.join(folder, file.path), file.sha256)
        for file in sorted(files, key=lambda file: (file.sha256, file.path))
    ]
    steps = _Steps(job, settings, shards, sum(file.rows for file in files), sum(file.bytes for file in files))
    steps.sketch()  # also where every shard is written: a sketch that a crash cut short is for the next refresh
    if not all(is_committed(job.folder, name, job.fingerprint) for name in names):
        steps.cluster()
        steps.decide_and_write()
    parts = job.parts(names)
    passages = sum(file.rows for part in parts for file in part.files if file.role == PASSAGES)
    held_out = sum(file.rows for part in parts for file in part.files if file.role == HELD_OUT)
    return Outcome(parts, {"passages": passages, "held_out": held_out})


def _stem(path: str) -> str:
    return path.rsplit("/", 1)[-1].removesuffix(".parquet")


@dataclass(frozen=True)
class _Steps:
    """The job's three steps, and what they work on."""

    job: Job
    settings: DedupSettings
    shards: list[Shard]  # in the order of their numbers
    rows: int
    bytes: int

    @property
    def folder(self) -> str:
        return self.job.folder

    @property
    def partitions(self) -> int:
        return self.settings.partitions or max(1, min(1024, -(-self.rows // ROWS_PER_PARTITION)))

    def sketch(self) -> None:
        """Key and sketch the shards that are not yet."""
        near = self.settings.near
        sketching = Sketching(
            near is not None and near.queries,
            near is not None and near.positives,
            near.sketch if near is not None else SketchSettings(),
        )
        forget_sketches(self.folder, {shard.name for shard in self.shards})
        wanted = [(shard, sketching.fingerprint(shard.sha256)) for shard in self.shards]
        missing = [(s.name, s.url, key) for s, key in wanted if not is_sketched(self.folder, s.name, key)]

        def build(pipeline: Any) -> None:
            import apache_beam as beam

            tasks = pipeline | "shards" >> beam.Create(missing) | "spread" >> beam.Reshuffle()
            _ = tasks | "sketch" >> beam.MapTuple(partial(_sketch, self.folder, sketching))

        if missing:
            run_pipeline(self.job.runner, Load(len(missing), self.bytes), self.job.name, build)

    def cluster(self) -> None:
        """Write the clusters of the shards' texts."""
        rounds = self.settings.components == "rounds"
        if self.settings.components == "auto":
            rounds = not is_embedded(self.job.runner)
        if not rounds:
            clusters.write_clusters(self.folder, self.shards, self.settings.near)
            return
        from pipelines.cluster_rounds import Rounds

        near, load = self.settings.near, Load(len(self.shards), self.bytes)
        Rounds(self.folder, tuple(self.shards), near, self.job.runner, load, self.partitions).write_clusters()

    def decide_and_write(self) -> None:
        """Decide which pairs are dropped, and write every shard."""
        build = partial(_build, self)
        run_pipeline(self.job.runner, Load(len(self.shards), self.bytes), self.job.name, build)

    def division(self) -> str:
        """The fingerprint of what divides the pairs."""
        settings = self.settings
        return fingerprint(
            version=VERSION,
            schema=SCHEMA_VERSION,
            seed=self.job.recipe.seed,
            held_out=(settings.held_out_share, settings.held_out_sources),
        )

    def divide(self) -> pair_signatures.Divide:
        return partial(
            pair_signatures.held_out_documents,
            seed=self.job.recipe.seed,
            share=self.settings.held_out_share,
            sources=self.settings.held_out_sources,
        )


def _sketch(folder: str, sketching: Sketching, name: str, url: str, wanted: str) -> None:
    sketch_shard(folder, name, url, wanted, sketching)


def _build(steps: _Steps, pipeline: Any) -> None:
    import apache_beam as beam

    from pipelines.transforms import SHARD_BITS, Exchange, WriteShards, hash_partition, shard_partition

    settings, folder, shards = steps.settings, steps.folder, steps.shards
    spill_to = spill_folder(steps.job.runner, folder)

    def exchange(label: str, partition: Any = None) -> Any:
        spill = storage.join(spill_to, label.rsplit(maxsplit=1)[-1]) if spill_to else None
        return f"by {label}" >> Exchange(partition or hash_partition("key", steps.partitions), spill, folder)

    def decide(label: str, function: Any, *arguments: Any) -> Any:
        return label >> beam.FlatMap(_tagged, function, *arguments).with_outputs("verdicts", main="kept")

    def keyed(column: str, rows: Any) -> Any:
        return rows | f"key {column}" >> beam.Map(pair_signatures.with_key, column).with_output_types(pa.RecordBatch)

    numbered = [(number << SHARD_BITS, shard.name, shard.url) for number, shard in enumerate(shards)]
    sign = partial(_signed, folder, settings, steps.divide())
    signed = (
        pipeline
        | "shards" >> beam.Create(numbered)
        | "spread" >> beam.Reshuffle()
        | "sign" >> beam.FlatMapTuple(sign).with_outputs("query", "positive", main="rows")
    )
    distinct = signed.rows | exchange("pair") | decide("distinct pairs", pair_signatures.drop_duplicate_pairs)
    verdicts, rows = [distinct.verdicts], distinct.kept
    for side, cap, counted in (
        ("query", settings.max_pairs_per_query, settings.query_cap_counts),
        ("positive", settings.max_pairs_per_positive, settings.positive_cap_counts),
    ):
        decided = (
            (keyed(f"{side}_cluster", rows), signed[side])
            | exchange(side)
            | decide(f"cap {side}", pair_signatures.drop_leaks_and_cap, side, cap, counted)
        )
        verdicts, rows = [*verdicts, decided.verdicts], decided.kept
    coarse = {"document": settings.max_pairs_per_document, "domain": settings.max_pairs_per_domain}
    for column, most in coarse.items():
        if most is None:
            continue
        decision = decide(f"cap {column}", pair_signatures.cap_rows, column, most)
        decided = keyed(column, rows) | exchange(column) | decision
        verdicts, rows = [*verdicts, decided.verdicts], decided.kept
    if any(coarse.values()):  # the rows of a passage, together after the exchange by positives, were parted again
        rows = keyed("passage_id", rows) | exchange("passage") | "passages" >> beam.Map(_batch_of)
    owners = rows | "own passages" >> beam.Map(pair_signatures.passage_owners).with_output_types(pa.RecordBatch)
    ends = [pa.record_batch([[(n << SHARD_BITS) + _LAST_ROW], [NOTHING]], schema=VERDICT) for n in range(len(shards))]
    every_shard = pipeline | "every shard" >> beam.Create(ends).with_output_types(pa.RecordBatch)
    _ = (
        (*verdicts, owners, every_shard)
        | exchange("shard", shard_partition)
        | "tasks" >> beam.Map(_task, shards, steps.job.fingerprint)
        | WriteShards(
            "dedup", folder, partial(write_deduplicated, folder, steps.division(), steps.divide()), spread=False
        )
    )


def _signed(
    folder: str, settings: DedupSettings, divide: pair_signatures.Divide, first_position: int, name: str, url: str
) -> Iterator[Any]:
    """The signatures of a shard; marks of its held-out rows go to the outputs named for the sides."""
    from apache_beam.pvalue import TaggedOutput

    texts, all_rows = (
        ShardTexts(read_texts(folder, name), clusters.read_clusters(folder, name)),
        read_rows(folder, name),
    )
    progress = TaskProgress(folder, f"sign-{name}")
    row = 0
    for batch in read_batches(url, pair_signatures.COLUMNS):
        rows = all_rows.slice(row, batch.num_rows)
        signatures = pair_signatures.signature_rows(
            batch,
            rows,
            texts,
            first_position + row,
            divide,
            by_quality=settings.keep == "quality",
            by_document=settings.max_pairs_per_document is not None,
            by_domain=settings.max_pairs_per_domain is not None,
        )
        yield signatures
        if settings.held_out_share:
            for side in clusters.SIDES:
                yield TaggedOutput(side, pair_signatures.held_out_marks(signatures, rows, texts, side))
        row += batch.num_rows
        progress.beat(row)


def _batch_of(partition: tuple[int, pa.Table]) -> pa.RecordBatch:
    return pa.concat_batches(partition[1].to_batches())


def _tagged(partition: tuple[int, pa.Table], decide: Any, *arguments: Any) -> Iterator[Any]:
    """Run one decision on one partition: kept signatures to the main output, verdicts to theirs."""
    from apache_beam.pvalue import TaggedOutput

    kept, verdicts = decide(_batch_of(partition), *arguments)
    yield kept
    yield TaggedOutput("verdicts", verdicts)


def _task(partition: tuple[int, pa.Table], shards: Sequence[Shard], fingerprint: str) -> Any:
    from pipelines.transforms import Task

    number, verdicts = partition
    return Task(shards[number].name, fingerprint, (shards[number], verdicts))


def write_deduplicated(
    folder: str, division: str, divide: pair_signatures.Divide, task: Any, progress: TaskProgress
) -> Part:
    """One shard and the verdicts on its rows -> its pairs, held-out pairs, passages and rejects.

    A shard that was written before, with the same verdicts and clusters, keeps its files.
    """
    shard, verdicts = task.payload
    written_from = _written_from(folder, shard, division, verdicts)
    done = read_part(folder, task.name)
    if done is not None and done.fingerprint == task.fingerprint:
        return done
    if done is not None and done.details.get(_WRITTEN_FROM) == written_from:
        return recommit_part(folder, done, task.fingerprint)
    forget_parts(folder, [task.name])
    positions = verdicts["position"].to_numpy() & _LAST_ROW
    codes = verdicts["verdict"].to_numpy()
    owners = np.sort(positions[codes == OWNS_PASSAGE])
    dropped = codes < len(REASONS)
    dropped_rows = positions[dropped]
    reasons = pa.array(VERDICTS).take(pa.array(codes[dropped]))
    order = np.argsort(dropped_rows)
    dropped_rows, reasons = dropped_rows[order], reasons.take(pa.array(order))
    texts = ShardTexts(read_texts(folder, task.name), clusters.read_clusters(folder, task.name))
    all_rows = read_rows(folder, task.name)
    tally, row = Tally(), 0
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS, PASSAGES]) as shards:
        for read in read_batches(shard.url):
            batch = _with_clusters(read, all_rows.slice(row, read.num_rows), texts)
            low, high = np.searchsorted(dropped_rows, [row, row + batch.num_rows])
            reason = _scatter(dropped_rows[low:high] - row, reasons.slice(low, high - low), batch.num_rows)
            kept, rejects = schema.split_rejects(batch, reason)
            held_out = divide(kept)
            first, last = np.searchsorted(owners, [row, row + batch.num_rows])
            owning = batch.take(pa.array(owners[first:last] - row))
            tally.add(batch, "in")
            tally.add(kept, "out")
            tally.add_rejects(rejects)
            shards.write(PAIRS, kept.filter(pc.invert(held_out)))
            shards.write(HELD_OUT, kept.filter(held_out))
            shards.write(REJECTS, rejects)
            shards.write(PASSAGES, _passages(owning))
            row += batch.num_rows
            progress.beat(row)
    details = {_WRITTEN_FROM: written_from}
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [PAIRS, HELD_OUT], details=details)


def _written_from(folder: str, shard: Shard, division: str, verdicts: pa.Table) -> str:
    """All that decides what is written of a shard: its rows, the verdicts on them and the clusters of its texts."""
    told = hashlib.sha256(f"{division}\0{shard.sha256}".encode())
    rows, codes = verdicts["position"].to_numpy() & _LAST_ROW, verdicts["verdict"].to_numpy()
    order = np.lexsort((codes, rows))
    for column in (rows[order], codes[order]):
        told.update(column.tobytes())
    with storage.open_for_reading(clusters.clusters_file(folder, shard.name)) as stream:
        told.update(stream.read())
    return told.hexdigest()


def _with_clusters(batch: pa.RecordBatch, rows: pa.RecordBatch, texts: ShardTexts) -> pa.RecordBatch:
    for side in clusters.SIDES:
        of_side = rows[side].to_numpy()
        for name, column in (("id", texts.cluster(side, of_side)), ("size", texts.size(side, of_side))):
            place = schema.PAIR.get_field_index(f"{side}_cluster_{name}")
            batch = batch.set_column(place, schema.PAIR.field(place), column)
    return batch


def _scatter(rows: np.ndarray[Any, Any], values: pa.Array, length: int) -> pa.Array:
    """string[length]: values at `rows` (sorted), null elsewhere."""
    index = np.full(length, -1, np.int64)
    index[rows] = np.arange(len(rows))
    return values.take(pa.array(index, mask=index < 0))


def _passages(owning: pa.RecordBatch) -> pa.RecordBatch:
    text = owning["positive"]
    columns = [
        schema.text_ids(text),
        text,
        owning["document_id"],
        owning["positive_cluster_id"],
        owning["positive_cluster_size"],
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema.PASSAGE)

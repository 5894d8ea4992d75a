"""dedup: exact duplicates of pairs, caps per query and per positive, and the division into training and held-out documents.

Only ids ride the shuffle. Each pair becomes one SIGNATURE row; three exchanges follow one another:

    by the pair's key       all but the first of equal pairs are dropped (a symmetric pair equals its mirror image)
    by the query's key      training rows that share a text with a held-out row are dropped; more than max_pairs_per_query too
    by the positive's key   the same for positives; the first row of each distinct passage is marked

"First" is the first in shard order. The dropped positions then meet their shards, and each shard is written: roles pairs,
held_out, passages (the distinct training positives, the corpus of mine and pack) and rejects.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates import dedup_key, first_of_each, in_any_group, rank_in_group
from pipelines import progress as progress_files
from pipelines import storage
from pipelines.job import HELD_OUT, PAIRS, Job, Outcome, Plan, forget_parts, is_committed, pair_plan, pairs_before
from pipelines.progress import TaskProgress
from pipelines.recipe import DedupSettings, Recipe
from pipelines.run_folder import RunFolder
from pipelines.runner import Load, run_pipeline, spill_folder
from pipelines.shards import REJECTS, Part, ShardSet, Tally, commit_part, read_batches, read_part
from sources import schema

VERSION = 2
PASSAGES: Final = "passages"
ROWS_PER_PARTITION: Final = 1_000_000  # about 120 MB of signatures

REASONS = {
    "duplicate_pair": "the same query and positive came before",
    "leaks_held_out": "a training pair that shares a text with a held-out document",
    "query_cap": "more than max_pairs_per_query pairs of this query, kind and language",
    "positive_cap": "more than max_pairs_per_positive pairs of this positive, kind and language",
}
# Verdicts ride the shuffle as numbers: one for each reason, and two that are no reason to drop.
_VERDICTS: Final = (*REASONS, "owns_passage", "nothing")
_OWNS_PASSAGE: Final = _VERDICTS.index("owns_passage")  # this row is the first of its passage
_NOTHING: Final = _VERDICTS.index("nothing")  # one such row a shard, so that every shard comes out of the exchange
_LAST_ROW: Final = (1 << 40) - 1

_COLUMNS: Final = ("query", "positive", "kind", "query_lang", "positive_lang", "source", "document_id", "symmetric")
_KEY: Final = pa.binary(16)
SIGNATURE: Final = pa.schema(
    [
        ("key", _KEY),  # what the next exchange is by
        ("position", pa.int64()),
        ("query_key", _KEY),
        ("positive_key", _KEY),
        ("query_cap_key", _KEY),
        ("positive_cap_key", _KEY),
        ("passage_id", _KEY),
        ("held_out", pa.bool_()),
        ("marker", pa.bool_()),  # not a pair of its own: says that a held-out row holds the text `key`
    ]
)
VERDICT: Final = pa.schema([("position", pa.int64()), ("verdict", pa.int8())])

_SCHEMAS = {PAIRS: schema.PAIR, HELD_OUT: schema.PAIR, PASSAGES: schema.PASSAGE, REJECTS: schema.REJECT}


def plan(recipe: Recipe, run: RunFolder) -> Plan:
    assert recipe.dedup is not None
    return pair_plan(recipe, run, "dedup", recipe.dedup, (PAIRS,), seed=recipe.seed)


def execute(job: Job) -> Outcome:
    from pipelines.transforms import SHARD_BITS

    settings = job.recipe.dedup
    assert settings is not None
    before = pairs_before(job.recipe, job.run, "dedup")
    files = before.files_of(PAIRS)
    urls = [storage.join(job.run.job(before.job), file.path) for file in files]
    names = [file.path.rsplit("/", 1)[-1].removesuffix(".parquet") for file in files]
    rows = sum(file.rows for file in files)
    progress_files.announce(job.folder, names)
    open_names = [name for name in names if not is_committed(job.folder, name, job.fingerprint)]
    forget_parts(job.folder, open_names)
    if open_names:
        partitions = settings.partitions or max(1, min(512, -(-rows // ROWS_PER_PARTITION)))
        divide = partial(
            held_out_documents, seed=job.recipe.seed, share=settings.held_out_share, sources=settings.held_out_sources
        )
        write = partial(write_deduplicated, job.folder, divide)
        steps = _Steps(settings, partitions, spill_folder(job.runner, job.folder), job.fingerprint, divide)
        build = partial(_build, job.folder, urls, names, steps, write, SHARD_BITS)
        run_pipeline(job.runner, Load(len(urls), sum(f.bytes for f in files)), job.name, build)
    parts = job.parts(names)
    passages = sum(file.rows for part in parts for file in part.files if file.role == PASSAGES)
    held_out = sum(file.rows for part in parts for file in part.files if file.role == HELD_OUT)
    return Outcome(parts, {"passages": passages, "held_out": held_out})


class _Steps:
    """What the steps of the pipeline are set to."""

    def __init__(
        self, settings: DedupSettings, partitions: int, spill: str | None, fingerprint: str, divide: Any
    ) -> None:
        self.settings, self.partitions, self.spill, self.fingerprint, self.divide = (
            settings,
            partitions,
            spill,
            fingerprint,
            divide,
        )


def _build(
    folder: str, urls: list[str], names: list[str], steps: _Steps, write: Any, shard_bits: int, pipeline: Any
) -> None:
    import apache_beam as beam

    from pipelines.transforms import Exchange, ReadShards, WriteShards, hash_partition, shard_partition

    def exchange(label: str, partition: Any = None) -> Any:
        spill = storage.join(steps.spill, label.rsplit(maxsplit=1)[-1]) if steps.spill else None
        return label >> Exchange(partition or hash_partition("key", steps.partitions), spill, folder)

    def decide(label: str, function: Any, *arguments: Any) -> Any:
        return label >> beam.FlatMap(_tagged, function, *arguments).with_outputs("verdicts", "markers", main="kept")

    def keyed(label: str, signatures: Any) -> Any:
        return signatures | label >> beam.Map(with_key, f"{label}_key").with_output_types(pa.RecordBatch)

    signatures = (
        pipeline
        | "read" >> ReadShards(urls, _COLUMNS, folder)
        | "sign" >> beam.Map(signature_rows, steps.divide).with_output_types(pa.RecordBatch)
    )
    distinct = signatures | exchange("by pair") | decide("distinct pairs", drop_duplicate_pairs)
    caps = steps.settings
    by_query = (
        (keyed("query", distinct.kept), distinct.markers)
        | exchange("by query")
        | decide("cap queries", drop_leaks_and_cap, "query_cap", "query_cap_key", caps.max_pairs_per_query)
    )
    by_positive = (
        (keyed("positive", by_query.kept), distinct.markers)
        | exchange("by positive")
        | decide("cap positives", drop_leaks_and_cap, "positive_cap", "positive_cap_key", caps.max_pairs_per_positive)
    )
    owners = by_positive.kept | "own passages" >> beam.Map(passage_owners).with_output_types(pa.RecordBatch)
    ends = [pa.record_batch([[(n << shard_bits) + _LAST_ROW], [_NOTHING]], schema=VERDICT) for n in range(len(urls))]
    every_shard = pipeline | "every shard" >> beam.Create(ends).with_output_types(pa.RecordBatch)
    _ = (
        (distinct.verdicts, by_query.verdicts, by_positive.verdicts, owners, every_shard)
        | exchange("by shard", shard_partition)
        | "tasks" >> beam.Map(_task, urls, names, steps.fingerprint)
        | WriteShards("dedup", folder, write, spread=False)
    )


def _task(partition: tuple[int, pa.Table], urls: list[str], names: list[str], fingerprint: str) -> Any:
    from pipelines.transforms import Task

    shard, verdicts = partition
    return Task(names[shard], fingerprint, (urls[shard], verdicts))


def _tagged(partition: tuple[int, pa.Table], function: Any, *arguments: Any) -> Iterator[Any]:
    """Run one decision on one partition: kept signatures to the main output, verdicts and markers to their tags."""
    from apache_beam.pvalue import TaggedOutput

    kept, verdicts, markers = function(partition[1].combine_chunks(), *arguments)
    yield from (batch for batch in kept.combine_chunks().to_batches() if batch.num_rows)
    for tag, rows in (("verdicts", verdicts), ("markers", markers)):
        yield from (TaggedOutput(tag, batch) for batch in rows.to_batches() if batch.num_rows)


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


def signature_rows(batch: pa.RecordBatch, divide: Any) -> pa.RecordBatch:
    """PAIR columns with `position` -> SIGNATURE rows, keyed by the pair."""
    query, positive = dedup_key(batch["query"]), dedup_key(batch["positive"])
    mirrored = pc.and_(batch["symmetric"], pc.less(positive.cast(pa.binary()), query.cast(pa.binary())))
    first, second = pc.if_else(mirrored, positive, query), pc.if_else(mirrored, query, positive)
    rows = batch.num_rows
    return pa.RecordBatch.from_arrays(
        [
            _combined(first, second, batch["kind"]),
            batch["position"],
            query,
            positive,
            _combined(query, batch["kind"], batch["positive_lang"]),
            _combined(positive, batch["kind"], batch["query_lang"]),
            schema.text_ids(batch["positive"]),
            divide(batch),
            pa.repeat(pa.scalar(False), rows),
        ],
        schema=SIGNATURE,
    )


def _combined(*columns: pa.Array) -> pa.Array:
    joined = pc.binary_join_element_wise(
        *(column.cast(pa.binary()) for column in columns), pa.scalar(b"\x00", pa.binary())
    )
    return pa.array([xxhash.xxh3_128_digest(value) for value in joined.to_pylist()], _KEY)


def with_key(batch: pa.RecordBatch, column: str) -> pa.RecordBatch:
    return batch.set_column(0, SIGNATURE.field("key"), batch[column])


Decision = tuple[pa.Table, pa.Table, pa.Table]  # signatures kept, verdicts, markers


def drop_duplicate_pairs(table: pa.Table) -> Decision:
    """Keep the first of equal pairs. Held-out rows leave two markers, one for each of their texts."""
    first = first_of_each(_one(table["key"]), _one(table["position"]))
    kept = table.filter(pa.array(first))
    held_out = kept.filter(kept["held_out"])
    held_out = held_out.set_column(8, SIGNATURE.field("marker"), pa.repeat(pa.scalar(True), held_out.num_rows))
    markers = pa.concat_tables(
        [held_out.set_column(0, SIGNATURE.field("key"), held_out[name]) for name in ("query_key", "positive_key")]
    )
    return kept, _verdicts(table.filter(pa.array(~first)), "duplicate_pair"), markers


def drop_leaks_and_cap(table: pa.Table, reason: str, cap_key: str, cap: int) -> Decision:
    """Drop training rows whose key a held-out row holds, then all but the first `cap` rows of each cap key."""
    is_marker = _one(table["marker"])
    markers, rows = table.filter(is_marker), table.filter(pc.invert(is_marker))
    training = ~rows["held_out"].to_numpy()
    leaks = training & in_any_group(_one(rows["key"]), _one(markers["key"]))
    clean = rows.filter(pa.array(~leaks))
    over = np.zeros(clean.num_rows, bool)
    for side in (True, False):
        of_side = clean["held_out"].to_numpy() == side
        chosen = clean.filter(pa.array(of_side))
        over[of_side] = rank_in_group(_one(chosen[cap_key]), _one(chosen["position"])) >= cap
    verdicts = pa.concat_tables(
        [_verdicts(rows.filter(pa.array(leaks)), "leaks_held_out"), _verdicts(clean.filter(pa.array(over)), reason)]
    )
    return clean.filter(pa.array(~over)), verdicts, table.slice(0, 0)


def passage_owners(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The verdict `owns_passage` for the first training row of each passage. All rows of one passage share their positive's
    key, so they are in one partition; a partition comes as one batch."""
    training = batch.filter(pc.invert(batch["held_out"]))
    first = first_of_each(training["passage_id"], training["position"])
    positions = training["position"].filter(pa.array(first))
    verdicts = pa.repeat(pa.scalar(_OWNS_PASSAGE, pa.int8()), len(positions))
    return pa.RecordBatch.from_arrays([positions, verdicts], schema=VERDICT)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _verdicts(rows: pa.Table, reason: str) -> pa.Table:
    verdict = pa.scalar(_VERDICTS.index(reason), pa.int8())
    return pa.table([rows["position"], pa.repeat(verdict, rows.num_rows)], schema=VERDICT)


def write_deduplicated(folder: str, divide: Any, task: Any, progress: TaskProgress) -> Part:
    """One shard and the verdicts on its rows -> its pairs, held-out pairs, passages and rejects."""
    url, verdicts = task.payload
    done = read_part(folder, task.name)
    if done is not None and done.fingerprint == task.fingerprint:
        return done
    positions = verdicts["position"].to_numpy() & _LAST_ROW
    codes = verdicts["verdict"].to_numpy()
    owners = np.sort(positions[codes == _OWNS_PASSAGE])
    dropped = codes < len(REASONS)
    dropped_rows = positions[dropped]
    reasons = pa.array(_VERDICTS).take(pa.array(codes[dropped]))
    order = np.argsort(dropped_rows)
    dropped_rows, reasons = dropped_rows[order], reasons.take(pa.array(order))
    tally, row = Tally(), 0
    with ShardSet(folder, task.name, _SCHEMAS, always=[PAIRS, PASSAGES]) as shards:
        for batch in read_batches(url):
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
    return commit_part(folder, task.name, task.fingerprint, shards.files, tally, [PAIRS, HELD_OUT])


def _scatter(rows: np.ndarray[Any, Any], values: pa.Array, length: int) -> pa.Array:
    """string[length]: values at `rows` (sorted), null elsewhere."""
    index = np.full(length, -1, np.int64)
    index[rows] = np.arange(len(rows))
    return values.take(pa.array(index, mask=index < 0))


def _passages(owning: pa.RecordBatch) -> pa.RecordBatch:
    text = owning["positive"]
    columns = [schema.text_ids(text), text, owning["document_id"], dedup_key(text), pa.nulls(len(text), pa.int32())]
    return pa.RecordBatch.from_arrays(columns, schema=schema.PASSAGE)

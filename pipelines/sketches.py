"""The texts of a pair shard, each once, with what near-duplicates are found by; kept, so that only new shards are sketched.

For the shard NAME of a job, in JOB/sketches, uncompressed Arrow files that are memory-mapped:

    NAME.texts.arrow      one row a distinct text of the shard, by key (TEXTS); queries and positives together
    NAME.rows.arrow       one row a pair, in the shard's order (ROWS): which texts it has
    NAME.sketches.arrow   sketches of the texts (filters.minhash), `text` being a row of TEXTS

JOB/_sketched/NAME.json is written after them and says under which fingerprint (shard, sketch settings, code version) they
were made. Texts are one where filters.duplicates.dedup_key is; of the ways such a text is written, the one with the smallest
hash is sketched, so that a text's sketch does not depend on the order of rows; of several shards', that of those which have
the text on a side whose near-duplicates are looked for.
"""

import hashlib
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from filters.duplicates import KEY, dedup_key, key_halves, keys_of_halves, order_of_keys
from filters.minhash import SKETCH_VERSION, SketchSettings, sketch_schema, sketch_texts
from pipelines import storage
from pipelines.manifest import fingerprint
from pipelines.progress import TaskProgress
from pipelines.shards import read_batches
from sources.schema import text_ids

SKETCHES: Final = "sketches"
_SKETCHED: Final = "_sketched"
_VERSION: Final = 1  # of the files' layout

TEXTS: Final = pa.schema(
    [
        pa.field("key", KEY, nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),  # of the way the text is written
        pa.field("queries", pa.int32(), nullable=False),  # pairs whose query it is
        pa.field("positives", pa.int32(), nullable=False),
        pa.field("mirrored", pa.bool_(), nullable=False),  # the positive of a symmetric pair: compared with queries too
        pa.field("row", pa.int64(), nullable=False),  # the pair it is written in, and on which side
        pa.field("as_query", pa.bool_(), nullable=False),
    ]
)
ROWS: Final = pa.schema(
    [
        pa.field("query", pa.int32(), nullable=False),  # rows of TEXTS
        pa.field("positive", pa.int32(), nullable=False),
        pa.field("passage_id", pa.binary(16), nullable=False),
    ]
)
_READ: Final = ("query", "positive", "symmetric")


@dataclass(frozen=True)
class Sketching:
    """What is sketched, and how."""

    queries: bool
    positives: bool
    sketch: SketchSettings

    def fingerprint(self, shard_sha256: str) -> str:
        return fingerprint(
            shard=shard_sha256,
            queries=self.queries,
            positives=self.positives,
            sketch=self.sketch.model_dump(mode="json"),
            sketch_version=SKETCH_VERSION,
            version=_VERSION,
        )


def is_sketched(folder: str, name: str, wanted: str) -> bool:
    """Whether the files of a shard are there and were made under this fingerprint."""
    record = storage.read_record(_record(folder, name))
    if record is None or record["fingerprint"] != wanted:
        return False
    return bool(_sizes(folder, name) == record.get("bytes"))


def _sizes(folder: str, name: str) -> dict[str, int | None]:
    return {part: storage.size_of(_file(folder, name, part)) for part in ("texts", "rows", "sketches")}


def sketches_fault(folder: str, name: str, record: Mapping[str, Any], quick: bool) -> tuple[str, str] | None:
    """The first file of a shard that is not what its record tells, and how; `quick` looks at sizes alone."""
    sizes, told, digests = _sizes(folder, name), record.get("bytes", {}), record.get("sha256", {})
    for part, size in sizes.items():
        path = f"{SKETCHES}/{name}.{part}.arrow"
        if size is None:
            return path, "it is missing"
        if size != told.get(part):
            return path, f"it has {size} bytes where {told.get(part)} were written"
        if quick or part not in digests:
            continue
        with storage.open_for_reading(_file(folder, name, part)) as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digests[part]:  # type: ignore[arg-type]
                return path, "its sha256 is not that of what was written"
    return None


def forget_sketches(folder: str, names: set[str]) -> None:
    """Remove the files of shards that are not among `names`."""
    for path in storage.list_files(storage.join(folder, _SKETCHED)):
        name = path.removesuffix(".json")
        if name not in names:
            storage.remove(_record(folder, name))
            for part in ("texts", "rows", "sketches"):
                storage.remove(_file(folder, name, part))


def sketch_shard(folder: str, name: str, url: str, wanted: str, sketching: Sketching) -> None:
    """Write the files of one pair shard, and their record under the fingerprint `wanted`.

    Holds about 150 bytes a pair in memory; the shard is read twice, so that each text is sketched once.
    """
    progress = TaskProgress(folder, f"sketch-{name}")
    storage.remove(_record(folder, name))  # a record must not outlive the files it describes
    texts, rows = _distinct_texts(url, progress)
    digests = {
        "texts": _write(_file(folder, name, "texts"), TEXTS, [texts]),
        "rows": _write(_file(folder, name, "rows"), ROWS, [rows]),
    }
    sketches = _sketches(url, texts, sketching, progress)
    schema = sketch_schema(sketching.sketch.permutations)
    digests["sketches"] = _write(_file(folder, name, "sketches"), schema, sketches)
    record = {"fingerprint": wanted, "texts": texts.num_rows, "bytes": _sizes(folder, name), "sha256": digests}
    storage.write_json(_record(folder, name), record)


def read_texts(folder: str, name: str) -> pa.RecordBatch:
    """The TEXTS of a shard, memory-mapped where the folder is local."""
    return one_batch(read_arrow(_file(folder, name, "texts")))


def read_rows(folder: str, name: str) -> pa.RecordBatch:
    """The ROWS of a shard."""
    return one_batch(read_arrow(_file(folder, name, "rows")))


def sketched_texts(texts: pa.RecordBatch, *, queries: bool, positives: bool) -> NDArray[np.bool_]:
    """Which of a shard's TEXTS have sketches, where near-duplicates of these sides are looked for: bool [texts]."""
    sketched = np.zeros(texts.num_rows, bool)
    if queries:
        sketched |= (texts["queries"].to_numpy() > 0) | texts["mirrored"].to_numpy(zero_copy_only=False)
    if positives:
        sketched |= texts["positives"].to_numpy() > 0
    return sketched


def read_sketches(folder: str, name: str) -> pa.Table:
    """The sketches of a shard."""
    return read_arrow(_file(folder, name, "sketches"))


class MappedSketches:
    """The sketches of a shard, whose pages can be let go of between two readings."""

    def __init__(self, folder: str, name: str) -> None:
        url = _file(folder, name, "sketches")
        self._pages: mmap.mmap | None = None
        if not storage.is_local(url):
            self.table = read_arrow(url)
            return
        with storage.open_for_reading(url) as stream:
            self._pages = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        self.table = pa.ipc.open_file(pa.py_buffer(self._pages)).read_all()

    def let_go(self) -> None:
        """Take what was read out of this process's memory; it is read again where it is looked at again."""
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)


def read_written_texts(url: str, texts: pa.RecordBatch) -> Iterator[tuple[NDArray[np.int64], pa.Array]]:
    """Rows of a TEXTS batch (int64 [n]) and their texts (string [n]), as the shard at `url` is read."""
    places, as_query = texts["row"].to_numpy(), texts["as_query"].to_numpy(zero_copy_only=False)
    sides = []
    for side, of_side in (("query", as_query), ("positive", ~as_query)):
        numbers = np.flatnonzero(of_side)
        numbers = numbers[np.argsort(places[numbers], kind="stable")]
        sides.append((side, numbers, places[numbers]))
    row = 0
    for batch in read_batches(url, _READ[:2]):
        for side, numbers, rows in sides:
            first, last = np.searchsorted(rows, [row, row + batch.num_rows])
            if first < last:
                yield numbers[first:last], batch[side].take(pa.array(rows[first:last] - row))
        row += batch.num_rows


def write_arrow(url: str, batch: pa.RecordBatch) -> None:
    """One record batch as an uncompressed Arrow file, to be memory-mapped."""
    _write(url, batch.schema, [batch])


def read_arrow(url: str) -> pa.Table:
    """An Arrow file without a copy where it is local."""
    if storage.is_local(url):
        source = pa.memory_map(storage.split_url(url)[1])
    else:
        with storage.open_for_reading(url) as stream:
            source = pa.py_buffer(stream.read())
    return pa.ipc.open_file(source).read_all()


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """A table of one record batch, or of none, as that batch, without a copy."""
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


def _record(folder: str, name: str) -> str:
    return storage.join(folder, _SKETCHED, f"{name}.json")


def _file(folder: str, name: str, part: str) -> str:
    return storage.join(folder, SKETCHES, f"{name}.{part}.arrow")


def _write(url: str, schema: pa.Schema, batches: Any) -> str:
    """The sha256 of what was written."""
    with storage.atomic_write(url) as stream, pa.ipc.new_file(stream, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return stream.sha256


def _distinct_texts(url: str, progress: TaskProgress) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """The TEXTS and the ROWS of the pair shard at `url`."""
    columns = _read_keys(url, progress)
    rows = len(columns["query_high"])
    high = np.concatenate([columns.pop("query_high"), columns.pop("positive_high")])
    low = np.concatenate([columns.pop("query_low"), columns.pop("positive_low")])
    written = np.concatenate([columns["query_hash"], columns["positive_hash"]])
    order = order_of_keys(high, low, written)
    sorted_high, sorted_low = high[order], low[order]
    starts = np.r_[True, (sorted_high[1:] != sorted_high[:-1]) | (sorted_low[1:] != sorted_low[:-1])][: 2 * rows]
    number = np.empty(2 * rows, np.int32)
    number[order] = np.cumsum(starts) - 1
    first = order[starts]
    queries, positives = number[:rows], number[rows:]
    mirrored = np.zeros(len(first), bool)
    mirrored[positives[columns["symmetric"]]] = True
    texts = [
        keys_of_halves(high[first], low[first]),
        written[first],
        np.bincount(queries, minlength=len(first)).astype(np.int32),
        np.bincount(positives, minlength=len(first)).astype(np.int32),
        mirrored,
        np.where(first < rows, first, first - rows),
        first < rows,
    ]
    passage_ids = keys_of_halves(columns["positive_hash"], columns["positive_hash_low"])
    return (
        pa.RecordBatch.from_arrays([pa.array(column) for column in texts], schema=TEXTS),
        pa.RecordBatch.from_arrays([pa.array(queries), pa.array(positives), passage_ids], schema=ROWS),
    )


def _read_keys(url: str, progress: TaskProgress) -> dict[str, NDArray[Any]]:
    """Keys and hashes of all texts of a shard, row by row, in halves."""
    kinds: dict[str, Any] = dict.fromkeys(
        ("query_high", "query_low", "query_hash", "positive_high", "positive_low", "positive_hash"), np.uint64
    ) | {"positive_hash_low": np.uint64, "symmetric": np.bool_}
    pieces: dict[str, list[NDArray[Any]]] = {name: [np.zeros(0, kind)] for name, kind in kinds.items()}
    rows = 0
    for batch in read_batches(url, _READ):
        for side in ("query", "positive"):
            high, low = key_halves(dedup_key(batch[side]))
            hashed, hashed_low = key_halves(text_ids(batch[side]))
            pieces[f"{side}_high"].append(high)
            pieces[f"{side}_low"].append(low)
            pieces[f"{side}_hash"].append(hashed)
            if side == "positive":
                pieces["positive_hash_low"].append(hashed_low)
        pieces["symmetric"].append(batch["symmetric"].to_numpy(zero_copy_only=False))
        rows += batch.num_rows
        progress.beat(rows)
    return {name: np.concatenate(column) for name, column in pieces.items()}


def _sketches(
    url: str, texts: pa.RecordBatch, sketching: Sketching, progress: TaskProgress
) -> Iterator[pa.RecordBatch]:
    """The sketches of the texts that lie on a side whose near-duplicates are looked for."""
    wanted = sketched_texts(texts, queries=sketching.queries, positives=sketching.positives)
    done = 0
    for numbers, written in read_written_texts(url, texts):
        here = wanted[numbers]
        sketches = sketch_texts(written.filter(pa.array(here)), sketching.sketch)
        yield sketches.set_column(0, sketches.schema.field("text"), pa.array(numbers[here]).take(sketches["text"]))
        done += len(numbers)
        progress.beat(done)

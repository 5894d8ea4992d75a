"""The three PTransforms every job is made of, over Arrow record batches of thousands of rows.

    ReadShards   shard files -> record batches, each row with its `position` (shard number and row number in one int64)
    Exchange     record batches -> (partition, record batches): the columnar shuffle. Where the workers share a file system
                 it writes Arrow files into the job's folder and only file names go through GroupByKey (FnApiRunner holds
                 four times the shuffled bytes in memory); elsewhere the batches ride the runner's own GroupByKey.
    WriteShards  tasks -> committed parts: each task reads its input, works, writes its shards and commits them, in one
                 element, so a killed job keeps what was committed and the bytes do not depend on the runner

Text never rides the shuffle: batches that go through Exchange hold ids, signatures, scores and positions.
"""

import time
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders import Coder, registry
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from pipelines import storage
from pipelines.progress import TaskProgress, report_error
from pipelines.shards import Part, read_batches

POSITION: Final = "position"
SHARD_BITS: Final = 40  # rows of a shard below 2^40, shards of a job below 2^23


class RecordBatchCoder(Coder):
    """A record batch as an Arrow IPC stream: no pickling, one header for thousands of rows."""

    def encode(self, batch: pa.RecordBatch) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        with pa.ipc.open_stream(pa.py_buffer(encoded)) as reader:
            return reader.read_next_batch()

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> Any:
        return pa.RecordBatch


registry.register_coder(pa.RecordBatch, RecordBatchCoder)


@dataclass(frozen=True)
class Task:
    """One unit of work of a job: its name (that of its shards), what it reads, and the fingerprint of both."""

    name: str
    fingerprint: str
    payload: Any


class ReadShards(beam.PTransform):
    """Shard files -> record batches with a `position` column: shard number << 40 | row number in the shard."""

    def __init__(self, urls: Sequence[str], columns: Sequence[str], progress_folder: str) -> None:
        super().__init__()
        self._shards = list(enumerate(urls))
        self._columns, self._progress_folder = list(columns), progress_folder

    def expand(self, begin: Any) -> Any:
        return (
            begin
            | "shards" >> beam.Create(self._shards)
            | "spread" >> beam.Reshuffle()
            | "read"
            >> beam.FlatMap(_read_positions, self._columns, self._progress_folder).with_output_types(pa.RecordBatch)
        )


def _read_positions(shard: tuple[int, str], columns: list[str], progress_folder: str) -> Iterator[pa.RecordBatch]:
    number, url = shard
    progress = TaskProgress(progress_folder, f"read-{number}")
    row = 0
    for batch in read_batches(url, columns):
        start = (number << SHARD_BITS) + row
        positions = pa.array(np.arange(start, start + batch.num_rows, dtype=np.int64))
        yield batch.append_column(POSITION, positions)
        row += batch.num_rows
        progress.beat(row)


class Exchange(beam.PTransform):
    """Record batches -> (partition, table) for every partition that has rows; rows in no particular order.

    Takes one PCollection or a tuple of them. (A Flatten before the exchange would hold all rows in FnApiRunner's memory.)

    Args:
        partition: the partition of each row: (batch) -> int array[rows]; choose so many that one partition's rows fit in a
            worker's memory.
        spill_folder: a folder all workers share (the embedded default), or None for the runner's own shuffle.
    """

    def __init__(
        self,
        partition: Callable[[pa.RecordBatch], np.ndarray[Any, Any]],
        spill_folder: str | None,
        progress_folder: str,
    ) -> None:
        super().__init__()
        self._partition, self._spill_folder, self._progress_folder = partition, spill_folder, progress_folder

    def expand(self, batches: Any) -> Any:
        inputs = batches if isinstance(batches, tuple) else (batches,)
        if self._spill_folder is None:
            divide = beam.FlatMap(_divide, self._partition).with_output_types(tuple[int, pa.RecordBatch])
            divided = tuple(each | f"divide {number}" >> divide for number, each in enumerate(inputs))
            grouped = divided | "flatten" >> beam.Flatten() | "group" >> beam.GroupByKey()
            return grouped | "table" >> beam.MapTuple(_table_of_batches)
        spill = beam.ParDo(_Spill(self._partition, self._spill_folder)).with_output_types(tuple[int, str])
        spilled = tuple(each | f"spill {number}" >> spill for number, each in enumerate(inputs))
        grouped = spilled | "flatten" >> beam.Flatten() | "group" >> beam.GroupByKey()
        return grouped | "table" >> beam.Map(_table_of_files, self._progress_folder)


def hash_partition(column: str, partitions: int) -> Callable[[pa.RecordBatch], np.ndarray[Any, Any]]:
    """A partition function over a binary(16) hash column: its first eight bytes modulo `partitions`."""

    def partition(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
        keys = np.frombuffer(batch[column].buffers()[1], np.uint64).reshape(-1, 2)
        offset = batch[column].offset
        return (keys[offset : offset + batch.num_rows, 0] % np.uint64(partitions)).astype(np.int64)

    return partition


def shard_partition(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """Partition by the shard a row came from, as `position` tells it."""
    positions: np.ndarray[Any, Any] = batch[POSITION].to_numpy()
    return positions >> SHARD_BITS


def _divide(
    batch: pa.RecordBatch, partition: Callable[[pa.RecordBatch], np.ndarray[Any, Any]]
) -> Iterator[tuple[int, pa.RecordBatch]]:
    if batch.num_rows == 0:
        return
    parts = partition(batch)
    order = np.argsort(parts, kind="stable")
    numbers, starts = np.unique(parts[order], return_index=True)
    arranged = batch.take(pa.array(order))
    for number, start, end in zip(numbers.tolist(), starts, [*starts[1:], batch.num_rows], strict=True):
        yield number, arranged.slice(start, end - start)


class _Spill(beam.DoFn):
    """Collects a bundle's rows by partition in Arrow files and sends on (partition, file name)."""

    BUFFER_ROWS: Final = 500_000

    def __init__(self, partition: Callable[[pa.RecordBatch], np.ndarray[Any, Any]], folder: str) -> None:
        super().__init__()
        self._partition, self._folder = partition, folder

    def start_bundle(self) -> None:
        self._buffers: dict[int, list[pa.RecordBatch]] = {}
        self._rows = 0

    def process(self, batch: pa.RecordBatch) -> Iterator[tuple[int, str]]:
        for number, rows in _divide(batch, self._partition):
            self._buffers.setdefault(number, []).append(rows)
        self._rows += batch.num_rows
        if self._rows >= self.BUFFER_ROWS:
            yield from self._spill()

    def finish_bundle(self) -> Iterator[Any]:
        for number, url in self._spill():
            yield WindowedValue((number, url), GlobalWindow().max_timestamp(), (GlobalWindow(),))

    def _spill(self) -> Iterator[tuple[int, str]]:
        for number, batches in self._buffers.items():
            url = storage.join(self._folder, str(number), f"{uuid.uuid4().hex}.arrow")
            with (
                storage.atomic_write(url, sync=False) as stream,
                pa.ipc.new_stream(stream, batches[0].schema) as writer,
            ):
                for batch in batches:
                    writer.write_batch(batch)
            yield number, url
        self._buffers, self._rows = {}, 0


def _table_of_files(spilled: tuple[int, Iterable[str]], progress_folder: str) -> tuple[int, pa.Table]:
    partition, urls = spilled
    TaskProgress(progress_folder, f"exchange-{partition}").beat(0)
    tables = []
    for url in sorted(urls):
        with storage.open_for_reading(url) as stream, pa.ipc.open_stream(stream) as reader:
            tables.append(reader.read_all())
    return partition, pa.concat_tables(tables)


def _table_of_batches(partition: int, batches: Iterable[pa.RecordBatch]) -> tuple[int, pa.Table]:
    return partition, pa.Table.from_batches(list(batches))


class WriteShards(beam.PTransform):
    """Tasks -> committed parts. `write(task, progress)` does the whole of a task and commits it (shards.commit_part).

    `spread` is off where the tasks come straight out of a GroupByKey and are spread already. Rows dropped are counted in Beam counters by reason
    (namespace: the job), beside the records in the parts, which are what the manifest adds up.
    """

    def __init__(
        self, job: str, folder: str, write: Callable[[Task, TaskProgress], Part], *, spread: bool = True
    ) -> None:
        super().__init__()
        self._job, self._folder, self._write, self._spread = job, folder, write, spread

    def expand(self, tasks: Any) -> Any:
        if self._spread:
            tasks = tasks | "spread" >> beam.Reshuffle()
        return tasks | "write" >> beam.ParDo(_WriteTask(self._job, self._folder, self._write)).with_output_types(str)


class _WriteTask(beam.DoFn):
    def __init__(self, job: str, folder: str, write: Callable[[Task, TaskProgress], Part]) -> None:
        super().__init__()
        self._job, self._folder, self._write = job, folder, write

    def process(self, task: Task) -> Iterator[str]:
        started = time.monotonic()
        progress = TaskProgress(self._folder, task.name)
        progress.beat(0)
        try:
            part = self._write(task, progress)
        except Exception as error:
            report_error(
                self._folder,
                type(error).__name__,
                f"{error}" if isinstance(error, ValueError) else traceback.format_exc(),
            )
            raise
        Metrics.counter(self._job, "rows_in").inc(part.rows_in)
        Metrics.counter(self._job, "rows_out").inc(part.rows_out)
        for reason, rows in part.dropped.items():
            Metrics.counter(self._job, f"dropped_{reason}").inc(rows)
        Metrics.distribution(self._job, "task_milliseconds").update(int(1000 * (time.monotonic() - started)))
        yield part.task

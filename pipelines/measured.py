"""Measurements kept beside the pairs, so that another threshold re-decides without measuring again.

JOB/measurements/NAME.parquet has one row a pair of the input shard, in its order; JOB/_measured/NAME.json is written after it
and says under which fingerprint (input shard, measuring settings, code version - not thresholds) it was measured. A job that
measures several families of things keeps each in a file of its own, NAME.FAMILY: what is asked for later is measured alone.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from pipelines import storage
from pipelines.shards import ShardFile, ShardWriter, is_there, read_batches
from sources.schema import PAIR, SCORES

MEASUREMENTS: Final = "measurements"
_MEASURED: Final = "_measured"
_FAST: Final = "lz4"  # read again and again: half the time of zstd, at twice the bytes of a small file


@dataclass(frozen=True)
class Measuring:
    """How one family of measurements is had: `measure` turns a PAIR batch into one of `schema`, row by row."""

    name: str  # of its file: the shard's, and the family's where there are several
    fingerprint: str
    schema: pa.Schema
    measure: Callable[[pa.RecordBatch], pa.RecordBatch]
    needed: frozenset[str] | None = None  # the columns that are read where it is kept; None: all


def with_measurements(
    folder: str, url: str, families: Sequence[Measuring]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """(pairs, measurements) batch by batch for the pair shard at `url`: each family is read where it is kept under its
    fingerprint (of its columns those needed), else measured, and kept."""
    writers: list[ShardWriter] = []
    with contextlib.ExitStack() as writing:
        sources: list[Callable[[pa.RecordBatch], pa.RecordBatch]] = []
        for family in families:
            kept = _kept(folder, family.name)
            if kept is not None and kept[0] == family.fingerprint:
                sources.append(_reader(storage.join(folder, kept[1].path), family))
                continue
            storage.remove(_record(folder, family.name))  # a record must not outlive the file it describes
            writer = writing.enter_context(ShardWriter(folder, MEASUREMENTS, family.name, family.schema, _FAST))
            writers.append(writer)
            sources.append(_measurer(family, writer))
        for batch in read_batches(url):
            yield batch, _side_by_side([source(batch) for source in sources])
    measured = {f"{MEASUREMENTS}/{family.name}.parquet": family for family in families}
    for writer in writers:
        assert writer.file is not None
        family = measured[writer.file.path]
        record = {"fingerprint": family.fingerprint, "file": writer.file.model_dump()}
        storage.write_json(_record(folder, family.name), record)


def measurement_files(folder: str, families: Sequence[Measuring]) -> list[ShardFile]:
    """The measurements' files, after `with_measurements` came to its end."""
    files = []
    for family in families:
        kept = _kept(folder, family.name)
        assert kept is not None
        files.append(kept[1])
    return files


def _reader(url: str, family: Measuring) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    columns = [name for name in family.schema.names if family.needed is None or name in family.needed]
    batches = read_batches(url, columns)

    def read(pairs: pa.RecordBatch) -> pa.RecordBatch:
        batch = next(batches)
        assert batch.num_rows == pairs.num_rows
        return batch

    return read


def _measurer(family: Measuring, writer: ShardWriter) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    def measure(pairs: pa.RecordBatch) -> pa.RecordBatch:
        measured = family.measure(pairs)
        writer.write(measured)
        return measured

    return measure


def _side_by_side(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    columns = [column for batch in batches for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=[name for batch in batches for name in batch.schema.names])


def _record(folder: str, name: str) -> str:
    return storage.join(folder, _MEASURED, f"{name}.json")


def _kept(folder: str, name: str) -> tuple[str, ShardFile] | None:
    record = storage.read_record(_record(folder, name))
    if record is None:
        return None
    file = ShardFile.model_validate(record["file"])
    return (record["fingerprint"], file) if is_there(folder, file) else None


def with_scores(batch: pa.RecordBatch, measured: dict[str, pa.Array]) -> pa.RecordBatch:
    """The PAIR batch with some fields of its `scores` column replaced (float32 arrays by field name)."""
    scores = batch["scores"]
    fields = []
    for field in SCORES:
        if field.name in measured:
            fields.append(measured[field.name].cast(pa.float32()))
        else:
            # `field` of a struct ignores the struct's own nulls, `flatten` does not.
            fields.append(scores.flatten()[SCORES.get_field_index(field.name)])
    column = pa.StructArray.from_arrays(fields, fields=list(SCORES))
    return batch.set_column(PAIR.get_field_index("scores"), PAIR.field("scores"), column)

"""Measurements kept beside the pairs, so that another threshold re-decides without measuring again.

JOB/measurements/NAME.parquet has one row a pair of the input shard, in its order; JOB/_measured/NAME.json is written after it
and says under which fingerprint (input shard, measuring settings, code version - not thresholds) it was measured.
"""

from collections.abc import Callable, Iterator
from typing import Final

import pyarrow as pa

from pipelines import storage
from pipelines.shards import ShardFile, ShardWriter, read_batches
from sources.schema import PAIR, SCORES

MEASUREMENTS: Final = "measurements"
_MEASURED: Final = "_measured"


def with_measurements(
    folder: str,
    name: str,
    fingerprint: str,
    url: str,
    schema: pa.Schema,
    measure: Callable[[pa.RecordBatch], pa.RecordBatch],
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """(pairs, measurements) batch by batch for the pair shard at `url`: read where they are kept under this fingerprint, else
    measured, and kept."""
    kept = _kept(folder, name)
    if kept is not None and kept[0] == fingerprint:
        measured = read_batches(storage.join(folder, kept[1].path))
        for batch, measurements in zip(read_batches(url), measured, strict=True):
            yield batch, measurements
        return
    storage.remove(storage.join(folder, _MEASURED, f"{name}.json"))  # a record must not outlive the file it describes
    with ShardWriter(folder, MEASUREMENTS, name, schema) as writer:
        for batch in read_batches(url):
            measurements = measure(batch)
            writer.write(measurements)
            yield batch, measurements
    assert writer.file is not None
    record = {"fingerprint": fingerprint, "file": writer.file.model_dump()}
    storage.write_json(storage.join(folder, _MEASURED, f"{name}.json"), record)


def measurement_file(folder: str, name: str) -> ShardFile:
    """The measurements' file, after `with_measurements` came to its end."""
    kept = _kept(folder, name)
    assert kept is not None
    return kept[1]


def _kept(folder: str, name: str) -> tuple[str, ShardFile] | None:
    url = storage.join(folder, _MEASURED, f"{name}.json")
    if not storage.exists(url):
        return None
    record = storage.read_json(url)
    file = ShardFile.model_validate(record["file"])
    return (record["fingerprint"], file) if storage.exists(storage.join(folder, file.path)) else None


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

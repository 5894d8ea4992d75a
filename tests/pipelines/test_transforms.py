from functools import partial

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from pipelines.runner import Load, RunnerSettings, run_pipeline
from pipelines.shards import ShardWriter
from pipelines.transforms import SHARD_BITS, Exchange, ReadShards, RecordBatchCoder, hash_partition, shard_partition
from sources.schema import text_ids

SCHEMA = pa.schema([("key", pa.binary(16))])


def test_the_coder_gives_back_the_batch():
    batch = pa.record_batch({"a": [1, None], "b": [["x"], []]})
    coder = RecordBatchCoder()
    assert coder.decode(coder.encode(batch)).equals(batch)


@pytest.mark.parametrize("offset", [0, 3])
def test_the_hash_partition_respects_a_slice(offset):
    batch = pa.record_batch([text_ids(pa.array([f"t{i}" for i in range(10)]))], schema=SCHEMA)
    whole = hash_partition("key", 4)(batch)
    expected = [int.from_bytes(value[:8], "little") % 4 for value in batch["key"].to_pylist()]
    assert whole.tolist() == expected
    assert hash_partition("key", 4)(batch.slice(offset)).tolist() == expected[offset:]


def write_shards(folder: str) -> list[str]:
    urls = []
    for number in range(3):
        with ShardWriter(folder, "pairs", f"s{number}", SCHEMA) as writer:
            writer.write(pa.record_batch([text_ids(pa.array([f"{number} {i}" for i in range(500)]))], schema=SCHEMA))
        urls.append(f"{folder}/{writer.file.path}")
    return urls


def half_of(batch: pa.RecordBatch, half: int) -> pa.RecordBatch:
    return batch.filter(pa.array(np.arange(batch.num_rows) % 2 == half))


def write_summary(folder: str, partition: tuple[int, pa.Table]) -> None:
    number, table = partition
    rows = sorted(zip(table["position"].to_pylist(), table["key"].to_pylist(), strict=True))
    (folder / f"{number}.txt").write_text("\n".join(f"{position} {key.hex()}" for position, key in rows))


@pytest.mark.parametrize(("mode", "spill"), [("in_memory", True), ("in_memory", False), ("multi_processing", True)])
def test_exchange_brings_every_row_to_its_partition_whatever_the_way(tmp_path, mode, spill):
    urls = write_shards(str(tmp_path))
    out = tmp_path / "out"
    out.mkdir()

    def build(pipeline):
        exchange = Exchange(hash_partition("key", 4), str(tmp_path / "spill") if spill else None, str(tmp_path))
        batches = pipeline | ReadShards(urls, ["key"], str(tmp_path))
        even, odd = (batches | f"half {half}" >> beam.Map(half_of, half) for half in (0, 1))
        _ = (even, odd) | exchange | beam.Map(partial(write_summary, out))

    run_pipeline(RunnerSettings(mode=mode, workers=2), Load(3, 0), "test", build)
    rows = [line.split() for file in sorted(out.iterdir()) for line in file.read_text().splitlines()]
    expected = {
        (number << SHARD_BITS) + row: key.hex()
        for number in range(3)
        for row, key in enumerate(text_ids(pa.array([f"{number} {i}" for i in range(500)])).to_pylist())
    }
    assert {int(position): key for position, key in rows} == expected
    assert len(rows) == 1500
    for file in out.iterdir():
        keys = [bytes.fromhex(line.split()[1]) for line in file.read_text().splitlines()]
        assert {int.from_bytes(key[:8], "little") % 4 for key in keys} == {int(file.stem)}


def test_the_shard_partition_is_the_shard_number():
    batch = pa.record_batch({"position": pa.array([5, (7 << SHARD_BITS) + 1], pa.int64())})
    assert shard_partition(batch).tolist() == [0, 7]
    assert shard_partition(batch).dtype == np.int64

import hashlib
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import storage
from pipelines.errors import JobFailed
from pipelines.shards import ROWS_PER_GROUP, ShardSet, ShardWriter, Tally, commit_part, read_batches, read_part
from sources.schema import PAIR, REJECT, make_pairs, split_rejects

NUMBERS = pa.schema([("n", pa.int64()), ("text", pa.string())])


def numbers(first: int, last: int) -> pa.RecordBatch:
    rows = range(first, last)
    return pa.record_batch([list(rows), [f"row {n}" for n in rows]], schema=NUMBERS)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 9999), max_size=6))
def test_the_same_rows_give_the_same_bytes_however_they_are_batched(tmp_path_factory, cuts):
    def write(edges):
        folder = str(tmp_path_factory.mktemp("shards"))
        with ShardWriter(folder, "pairs", "a", NUMBERS) as writer:
            for first, last in pairwise(edges):
                writer.write(numbers(first, last))
        return writer.file.sha256

    total = ROWS_PER_GROUP + 1808
    assert write([0, total]) == write(sorted({0, total, *cuts}))


def test_a_shard_holds_what_was_written_and_its_record_tells_its_bytes(tmp_path):
    with ShardWriter(str(tmp_path), "pairs", "a", NUMBERS) as writer:
        writer.write(numbers(0, 5))
        writer.write(numbers(5, 20_000))
    content = (tmp_path / "pairs" / "a.parquet").read_bytes()
    assert pq.read_table(tmp_path / "pairs" / "a.parquet")["n"].to_pylist() == list(range(20_000))
    assert writer.file.rows == 20_000
    assert writer.file.bytes == len(content)
    assert writer.file.sha256 == hashlib.sha256(content).hexdigest()


def test_a_writer_that_fails_leaves_no_file_behind(tmp_path):
    with pytest.raises(ZeroDivisionError), ShardWriter(str(tmp_path), "pairs", "a", NUMBERS) as writer:
        writer.write(numbers(0, 10))
        raise ZeroDivisionError
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_shards_are_written_and_read_through_any_fsspec_store():
    folder = "memory://bucket/run/extract"
    with ShardWriter(folder, "pairs", "a", NUMBERS) as writer:
        writer.write(numbers(0, 100))
    rows = [n for batch in read_batches(storage.join(folder, writer.file.path), ["n"]) for n in batch["n"].to_pylist()]
    assert rows == list(range(100))
    assert storage.list_files(f"{folder}/pairs") == ["a.parquet"]


def pairs_and_rejects():
    batch, _ = make_pairs(
        query=["a", "b", "c"], positive=["x", "y", "z"], kind="other", source="s", document_id=["1", "2", "3"]
    )
    return split_rejects(batch, pa.array([None, "too_short", None], pa.string()))


def commit(folder: str, *, counted_in: int, reasons: tuple[str, ...] = ("too_short",)):
    kept, rejects = pairs_and_rejects()
    tally = Tally()
    one = kept.slice(0, 1)
    for _ in range(counted_in):
        tally.add(one, "in")
    for reason in reasons:
        tally.add(one, f"drop:{reason}")
    with ShardSet(folder, "t", {"pairs": PAIR, "rejects": REJECT}) as shards:
        shards.write("pairs", kept)
        shards.write("rejects", rejects)
    return commit_part(folder, "t", "f", shards.files, tally, ["pairs"])


def test_a_part_whose_rows_add_up_is_committed(tmp_path):
    part = commit(str(tmp_path), counted_in=3)
    assert (part.rows_in, part.rows_out, part.dropped) == (3, 2, {"too_short": 1})
    assert read_part(str(tmp_path), "t") == part


@pytest.mark.parametrize(("counted_in", "reasons"), [(4, ("too_short",)), (3, ()), (3, ("other_reason",))])
def test_rows_that_do_not_add_up_fail_the_commit(tmp_path, counted_in, reasons):
    with pytest.raises(JobFailed, match="do not add up"):
        commit(str(tmp_path), counted_in=counted_in, reasons=reasons)
    assert read_part(str(tmp_path), "t") is None


def test_a_part_whose_shard_was_deleted_counts_as_not_done(tmp_path):
    part = commit(str(tmp_path), counted_in=3)
    (tmp_path / part.files[0].path).unlink()
    assert read_part(str(tmp_path), "t") is None


def test_a_full_disk_is_reported_and_nothing_half_written_stays(tmp_path):
    def fail(_data):
        raise OSError(28, "No space left on device")

    writer = ShardWriter(str(tmp_path), "pairs", "a", NUMBERS)
    with pytest.raises(OSError, match="No space left"), writer:
        writer._stream._stream = type("Disk", (), {"write": staticmethod(fail), "flush": lambda self: None})()
        writer.write(numbers(0, 20_000))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

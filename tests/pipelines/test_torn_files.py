"""What a crash of the machine may leave: records that are no JSON, files that are shorter than they were written."""

import json

import pytest

from filters.minhash import SketchSettings
from pipelines import progress, storage
from pipelines.errors import with_remedy
from pipelines.job import BESIDE, is_whole
from pipelines.leak_index import INDEX, build_index
from pipelines.manifest import MANIFEST, Manifest, read_manifest
from pipelines.recipe import DecontaminateSettings
from pipelines.run_folder import RunFolder, append_log
from pipelines.shards import PARTS, ShardFile, ShardWriter, read_part
from pipelines.sketches import Sketching, is_sketched, sketch_shard
from sources.schema import PAIR
from tests.pipelines.dedup_runs import pairs

TORN = (b"", b'{"task": "a", "fing', b"\x00" * 40, b"\xff\xfe")


@pytest.mark.parametrize("content", TORN)
def test_a_torn_record_counts_as_none_and_is_told(tmp_path, caplog, content):
    (tmp_path / "record.json").write_bytes(content)
    assert storage.read_record(str(tmp_path / "record.json")) is None
    assert "record.json is no JSON" in caplog.text
    assert storage.read_record(str(tmp_path / "none.json")) is None


@pytest.mark.parametrize("content", TORN)
def test_a_job_with_a_torn_manifest_is_unfinished(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    assert read_manifest(str(tmp_path)) is None


def test_a_part_whose_file_is_shorter_than_it_was_written_is_not_committed(tmp_path):
    (tmp_path / "pairs").mkdir()
    shard = tmp_path / "pairs" / "a.parquet"
    shard.write_bytes(b"12345678")
    file = ShardFile(role="pairs", path="pairs/a.parquet", rows=1, bytes=8, sha256="0")
    part = {"task": "a", "fingerprint": "f", "files": [file.model_dump()], "rows_in": 1, "rows_out": 1, "dropped": {}}
    storage.write_json(str(tmp_path / PARTS / "a.json"), part)
    assert read_part(str(tmp_path), "a") is not None
    shard.write_bytes(b"1234")
    assert read_part(str(tmp_path), "a") is None


@pytest.mark.parametrize("cut", ["pairs/a.parquet", "model/model.safetensors"])
def test_a_job_is_whole_while_its_files_have_the_bytes_that_were_written(tmp_path, cut):
    for path in ("pairs/a.parquet", "model/model.safetensors"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(b"12345678")
    manifest = Manifest(
        job="train",
        pairmill="0",
        fingerprint="f",
        settings={},
        inputs=[],
        rows_in=0,
        rows_out=0,
        dropped={},
        funnel={},
        files=[ShardFile(role="pairs", path="pairs/a.parquet", rows=1, bytes=8, sha256="0")],
        details={BESIDE: {"model/model.safetensors": 8}},
    )
    assert is_whole(str(tmp_path), manifest)
    (tmp_path / cut).write_bytes(b"1234")
    assert not is_whole(str(tmp_path), manifest)


def test_an_index_that_was_cut_is_built_again(tmp_path):
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "where is the sea"}\n')
    sets = [{"name": "a", "queries": [str(tmp_path / "queries.jsonl")]}]
    settings = DecontaminateSettings.model_validate({"evaluation_sets": sets})
    build_index(str(tmp_path), settings, "key")
    files = sorted((tmp_path / INDEX).glob("*.arrow"))
    before = {file: file.read_bytes() for file in files}
    build_index(str(tmp_path), settings, "key")
    files[0].write_bytes(before[files[0]][:-10])
    build_index(str(tmp_path), settings, "key")
    assert {file: file.read_bytes() for file in files} == before


def test_sketches_that_were_cut_are_made_again(tmp_path):
    with ShardWriter(str(tmp_path), "pairs", "s", PAIR) as writer:
        writer.write(pairs([("where is the sea", "the sea is behind the hills")]))
    sketching = Sketching(queries=True, positives=True, sketch=SketchSettings())
    sketch_shard(str(tmp_path), "s", str(tmp_path / "pairs" / "s.parquet"), "wanted", sketching)
    assert is_sketched(str(tmp_path), "s", "wanted")
    rows = tmp_path / "sketches" / "s.rows.arrow"
    rows.write_bytes(rows.read_bytes()[:-8])
    assert not is_sketched(str(tmp_path), "s", "wanted")


def test_an_error_that_the_run_folder_does_not_take_is_written_elsewhere(tmp_path):
    (tmp_path / "run").write_text("a file where the job's folder should be")
    progress.report_error(str(tmp_path / "run"), "OSError", "what happened", tmp_path / "error.json")
    assert json.loads((tmp_path / "error.json").read_text()) == {"kind": "OSError", "message": "what happened"}


def test_an_event_that_the_log_does_not_take_is_told_and_ends_nothing(tmp_path, caplog):
    (tmp_path / "log.jsonl").mkdir()
    append_log(RunFolder(str(tmp_path)), {"event": "started"})
    assert "log.jsonl could not be written" in caplog.text


def test_an_error_of_the_disk_is_told_with_a_remedy():
    told = with_remedy("OSError: [Errno 28] No space left on device: '/data/run'")
    assert told.startswith("OSError: [Errno 28] No space left on device: '/data/run'. The disk is full: make room")
    assert with_remedy("something else") == "something else"

import json
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UserError
from pipelines.job import BESIDE, MODEL_FINGERPRINT
from pipelines.refresh import versions
from pipelines.run_folder import RunFolder, locked
from pipelines.upkeep.verify_command import Verified, finding_line, summary_line, verify
from trainer.backbone import model_fingerprint
from trainer.embedding_store import EmbeddingStore

OneFile = Callable[[Path, str], Path]


def verified(run: Path, quick: bool = False) -> Verified:
    return verify(RunFolder(str(run)), quick)


def faulty_files(run: Path, quick: bool = False) -> list[str]:
    return [fault.file for fault in verified(run, quick).faults]


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_as_its_jobs_left_it_has_neither_faults_nor_notes(copied_run: Path) -> None:
    found = verified(copied_run)
    assert found.findings == ()
    assert found.files == sum(path.is_file() for path in copied_run.rglob("*"))


@pytest.mark.parametrize("quick", [False, True])
def test_a_missing_shard_is_a_fault(copied_run: Path, one_file: OneFile, quick: bool) -> None:
    shard = one_file(copied_run, "filter/pairs/*.parquet")
    shard.unlink()
    assert faulty_files(copied_run, quick) == [shard.relative_to(copied_run).as_posix()]


@pytest.mark.parametrize("quick", [False, True])
def test_a_shard_that_was_cut_short_is_a_fault(copied_run: Path, one_file: OneFile, quick: bool) -> None:
    shard = one_file(copied_run, "dedup/passages/*.parquet")
    shard.write_bytes(shard.read_bytes()[:-1])
    assert faulty_files(copied_run, quick) == [shard.relative_to(copied_run).as_posix()]


def test_one_changed_byte_is_a_fault_unless_only_a_quick_look_is_asked_for(copied_run: Path, one_file: OneFile) -> None:
    shard = one_file(copied_run, "pack/export/flagembedding*/*.jsonl")
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    assert faulty_files(copied_run) == [shard.relative_to(copied_run).as_posix()]
    assert faulty_files(copied_run, quick=True) == []


def test_rows_that_a_footer_lacks_are_a_fault(copied_run: Path, one_file: OneFile) -> None:
    shard = one_file(copied_run, "extract/pairs/*.parquet")
    name = shard.relative_to(copied_run / "extract").as_posix()
    pq.write_table(pq.read_table(shard).slice(1), shard, compression="zstd", store_schema=False)
    for record in (copied_run / "extract").rglob("*.json"):
        content = json.loads(record.read_text())
        for file in content.get("files", []):
            if file["path"] == name:
                file["bytes"] = shard.stat().st_size
        record.write_text(json.dumps(content))
    (fault,) = verified(copied_run, quick=True).faults
    assert fault.what == "it holds 36 rows where 37 were written"


def test_rejects_with_other_reasons_than_were_counted_are_a_fault(copied_run: Path, one_file: OneFile) -> None:
    part = one_file(copied_run, "extract/_parts/*.json")
    rewrite(part, dropped={"too_short": 1})
    faults = verified(copied_run).faults
    assert [(fault.file, fault.what) for fault in faults] == [
        (
            "extract/_MANIFEST.json",
            "dropped is {'empty_positive': 2}, and the parts hold {'empty_positive': 1, 'too_short': 1}",
        ),
        (
            part.relative_to(copied_run).as_posix(),
            "it tells {'too_short': 1} dropped, and its rejects hold {'empty_positive': 1}",
        ),
    ]


def test_rows_that_do_not_add_up_are_a_fault(copied_run: Path) -> None:
    manifest = copied_run / "filter" / "_MANIFEST.json"
    rewrite(manifest, rows_out=73)
    whats = [fault.what for fault in verified(copied_run).faults]
    assert "74 rows in are not 73 out and 0 dropped" in whats
    assert "rows_out is 73, and the parts hold 74" in whats


def test_rows_of_forgotten_documents_are_counted_without_a_reject(copied_run: Path, one_file: OneFile) -> None:
    part, manifest = one_file(copied_run, "filter/_parts/*.json"), copied_run / "filter" / "_MANIFEST.json"
    old = json.loads(part.read_text())
    rewrite(part, rows_in=old["rows_in"] + 2, dropped={"forgotten": 2}, funnel={})
    rewrite(manifest, rows_in=76, dropped={"forgotten": 2}, funnel={})
    funnel = json.loads(one_file(copied_run, "filter/_parts/*-part_1*.json").read_text())["funnel"]
    rewrite(manifest, funnel=funnel)
    assert faulty_files(copied_run) == []


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"job": 3, "schema_version": 2}', "[" * 100_000])
def test_a_manifest_that_cannot_be_read_is_one_fault(copied_run: Path, content: str) -> None:
    (copied_run / "dedup" / "_MANIFEST.json").write_text(content)
    assert faulty_files(copied_run) == ["dedup/_MANIFEST.json"]


def test_a_record_of_a_task_that_is_gone_is_a_fault(copied_run: Path, one_file: OneFile) -> None:
    one_file(copied_run, "extract/_parts/*.json").unlink()
    assert "extract/_parts" in faulty_files(copied_run)


def test_a_job_made_from_other_files_than_there_are_now_is_a_fault(copied_run: Path) -> None:
    manifest = copied_run / "dedup" / "_MANIFEST.json"
    content = json.loads(manifest.read_text())
    content["inputs"][1]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(content))
    stale, edited = verified(copied_run).faults
    assert stale.what.startswith("1 of its 2 inputs are no longer what it was made from, e.g. filter/pairs/")
    assert edited.what == "its settings or inputs are not those that its fingerprint was made of"


def test_an_unfinished_job_and_files_of_killed_writers_are_notes(copied_run: Path) -> None:
    (copied_run / "pack" / "_MANIFEST.json").unlink()
    (copied_run / "filter" / "pairs" / ".x.parquet.tmp-0123abcd").write_bytes(b"half")
    found = verified(copied_run)
    assert found.faults == []
    assert [note.file for note in found.findings] == ["pack", "filter/pairs/.x.parquet.tmp-0123abcd"]


def test_changed_settings_are_a_note(copied_run: Path) -> None:
    recipe = copied_run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("held_out_share: 0.3", "held_out_share: 0.2"))
    found = verified(copied_run)
    assert [(each.level, each.file) for each in found.findings] == [("note", "dedup/_MANIFEST.json")]


def test_a_run_that_is_in_use_is_refused(copied_run: Path) -> None:
    run = RunFolder(str(copied_run))
    with locked(run), pytest.raises(UserError, match="is in use by process"):
        verify(run)


@pytest.mark.parametrize("quick", [False, True])
def test_faults_of_the_embedding_store_are_found(copied_run: Path, quick: bool) -> None:
    space = EmbeddingStore(copied_run / "embeddings").space({"model": "x"}, 4)
    keys = np.arange(6, dtype=np.uint64).reshape(3, 2)
    name = space.add(keys, np.ones((3, 4), np.float16))
    assert verified(copied_run, quick).findings == ()
    vectors = space.folder / f"{name}.vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-30])
    assert len(verified(copied_run, quick).faults) == 1
    (space.folder / f"{name}.json").write_text("{")
    (fault,) = verified(copied_run, quick).faults
    assert fault.what.startswith("the record of a segment cannot be read")


def test_a_damaged_database_of_answers_is_a_fault(copied_run: Path) -> None:
    path = copied_run / "synthesize" / "answers.sqlite"
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, text TEXT)")
    database.executemany("INSERT INTO answers VALUES (?, ?)", [(str(n), "x" * 500) for n in range(100)])
    database.commit()
    database.close()
    assert faulty_files(copied_run) == []
    content = bytearray(path.read_bytes())
    content[4096:8192] = b"\x07" * 4096
    path.write_bytes(content)
    assert faulty_files(copied_run) == ["synthesize/answers.sqlite"]
    path.write_text("no database at all")
    assert faulty_files(copied_run) == ["synthesize/answers.sqlite"]


def test_weights_that_were_cut_short_are_a_fault(copied_run: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    weights = copied_run / "train" / "model" / "model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    assert faulty_files(copied_run) == []
    weights.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 7)
    assert faulty_files(copied_run) == ["train/model/model.safetensors"]
    weights.write_bytes(b"\xff" * 40)
    assert faulty_files(copied_run) == ["train/model/model.safetensors"]


def test_a_promoted_model_that_was_changed_is_a_fault(copied_run: Path, tiny_model: str) -> None:
    run = RunFolder(str(copied_run))
    versions.promote(run, Path(tiny_model), {})
    assert verified(copied_run).findings == ()
    config = copied_run / "models" / "000001" / "model" / "config.json"
    content = config.read_text()
    config.unlink()  # a hard link: the model it was promoted from stays as it is
    config.write_text(content + " ")
    assert faulty_files(copied_run) == ["models/000001/model"]
    (copied_run / "models" / "current.json").write_text('{"version": 7, "newest": 7}')
    assert faulty_files(copied_run) == ["models/current.json"]


def test_no_line_lets_a_name_act_on_the_terminal(copied_run: Path, one_file: OneFile) -> None:
    part = one_file(copied_run, "filter/_parts/*.json")
    part.with_name("\x1b[31mred\u202e.json").write_text("{")
    found = verified(copied_run)
    lines = [*(finding_line(each) for each in found.findings), summary_line(RunFolder(str(copied_run)), found, False)]
    assert not any("\x1b" in line or "\u202e" in line for line in lines)
    assert any("\\u001b[31mred" in line for line in lines)


def test_the_held_out_set_and_other_files_beside_the_shards_are_checked(copied_run: Path) -> None:
    corpus = copied_run / "pack" / "evaluation" / "held_out" / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("river", "RIVER", 1).replace("garden", "GARDEN", 1))
    (copied_run / "forgotten.json").write_text("{")
    (copied_run / "refresh" / "000001.json").write_text("[")
    assert faulty_files(copied_run) == [
        "forgotten.json",
        "refresh/000001.json",
        "pack/evaluation/held_out/corpus.jsonl",
    ]
    corpus.unlink()
    assert "pack/evaluation/held_out/corpus.jsonl" in faulty_files(copied_run, quick=True)


@pytest.mark.parametrize("job", ["extract", "filter", "dedup"])
def test_a_job_whose_folder_is_gone_is_a_fault_of_those_made_from_it(copied_run: Path, job: str) -> None:
    shutil.rmtree(copied_run / job)
    (fault, *more) = verified(copied_run).faults
    assert (fault.file, fault.what.split(" ", 2)[2]) == (job, "was made from it, and nothing of it is there")
    assert {each.file for each in more} <= {job}


def test_a_job_whose_folder_lies_elsewhere_is_checked_there(
    copied_run: Path, tmp_path: Path, one_file: OneFile
) -> None:
    (copied_run / "filter").rename(tmp_path / "another disk")
    (copied_run / "filter").symlink_to(tmp_path / "another disk")
    assert verified(copied_run).findings == ()
    shard = one_file(copied_run / "filter", "pairs/*.parquet")
    shard.write_bytes(shard.read_bytes()[:-1])
    assert faulty_files(copied_run) == [shard.relative_to(copied_run).as_posix()]


@pytest.mark.parametrize("part", ["texts", "rows", "sketches"])
def test_sketches_that_changed_are_a_fault(copied_run: Path, one_file: OneFile, part: str) -> None:
    sketches = one_file(copied_run, f"dedup/sketches/*.{part}.arrow")
    content = bytearray(sketches.read_bytes())
    content[len(content) // 2] ^= 1
    sketches.write_bytes(content)
    name = sketches.relative_to(copied_run).as_posix()
    assert faulty_files(copied_run) == [name]
    assert faulty_files(copied_run, quick=True) == []
    sketches.unlink()
    assert faulty_files(copied_run, quick=True) == [name]


@pytest.mark.parametrize("pattern", ["dedup/_sketched/*.json", "filter/_measured/*.json"])
def test_a_torn_record_of_what_later_runs_use_is_a_fault(copied_run: Path, one_file: OneFile, pattern: str) -> None:
    record = one_file(copied_run, pattern)
    for content in (record.read_text()[:-3], ""):
        record.write_text(content)
        assert faulty_files(copied_run) == [record.relative_to(copied_run).as_posix()]


@pytest.mark.parametrize("key", ["bytes", "rows", "sha256"])
def test_a_part_that_tells_other_files_than_the_manifest_is_a_fault(
    copied_run: Path, one_file: OneFile, key: str
) -> None:
    part = one_file(copied_run, "filter/_parts/*.json")
    content = json.loads(part.read_text())
    file = content["files"][0]
    file[key] = "0" * 64 if key == "sha256" else file[key] + 1
    part.write_text(json.dumps(content))
    assert part.relative_to(copied_run).as_posix() in faulty_files(copied_run)


def test_counts_of_languages_and_settings_that_were_edited_are_faults(copied_run: Path) -> None:
    filtered, packed = copied_run / "filter" / "_MANIFEST.json", copied_run / "pack" / "_MANIFEST.json"
    content = json.loads(filtered.read_text())
    content["languages"]["tiny"]["eng_Latn"]["out"] += 1
    filtered.write_text(json.dumps(content))
    content = json.loads(packed.read_text())
    content["settings"]["packing"]["negatives"] += 1
    packed.write_text(json.dumps(content))
    whats = {fault.file: fault.what.split(" ")[0] for fault in verified(copied_run).faults}
    assert whats == {"filter/_MANIFEST.json": "languages", "pack/_MANIFEST.json": "its"}


def test_a_trained_model_is_compared_with_what_train_wrote(copied_run: Path, tiny_model: str) -> None:
    model = copied_run / "train" / "model"
    shutil.copytree(tiny_model, model)
    (model / "README.md").write_text("A card.")
    manifest = json.loads((copied_run / "pack" / "_MANIFEST.json").read_text())
    sizes = {path.relative_to(model.parent).as_posix(): path.stat().st_size for path in model.iterdir()}
    details = {"tasks": 0, BESIDE: sizes, MODEL_FINGERPRINT: model_fingerprint(str(model))}
    empty = {"files": [], "funnel": {}, "languages": {}, "inputs": [], "dropped": {}, "rows_in": 0, "rows_out": 0}
    (copied_run / "train" / "_MANIFEST.json").write_text(
        json.dumps(manifest | empty | {"job": "train", "details": details})
    )
    assert verified(copied_run).faults == []
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    assert faulty_files(copied_run) == ["train/model"]
    assert faulty_files(copied_run, quick=True) == []
    (model / "README.md").unlink()
    assert faulty_files(copied_run, quick=True) == ["train/model/README.md"]


def test_results_that_were_cut_short_are_faults(copied_run: Path, one_file: OneFile) -> None:
    table, page = copied_run / "evaluate" / "metrics.queries.parquet", copied_run / "report" / "index.html"
    for path, content in (
        (table, one_file(copied_run, "filter/pairs/*.parquet").read_bytes()),
        (page, b"<html></html>\n"),
    ):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert faulty_files(copied_run, quick=True) == []
    for path in (table, page):
        path.write_bytes(path.read_bytes()[:-3])
    assert faulty_files(copied_run, quick=True) == ["evaluate/metrics.queries.parquet", "report/index.html"]

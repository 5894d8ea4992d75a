import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipelines.command_line import app
from pipelines.errors import UserError
from pipelines.launcher import run_recipe
from pipelines.recipe import load_recipe
from pipelines.refresh import versions
from pipelines.run_folder import RunFolder, locked
from pipelines.upkeep.clean_command import Cleaning, clean, seconds_of
from pipelines.upkeep.temporary_folders import abandoned_entries
from pipelines.upkeep.verify_command import verify
from trainer.embedding_store import EmbeddingStore, text_keys

LEFT_BEHIND = (
    "extract/pairs/.000-x.parquet.tmp-0123abcd",
    "extract/_progress/task.json.4711.tmp-",
    "filter/_exchange/3/0123.arrow",
    "filter/_progress/_error.json",
    "filter/pairs/999-gone.parquet",
    "filter/measurements/999-gone.text.parquet",
    "dedup/rejects/999-gone.parquet",
    "dedup/sketches/999-gone.texts.arrow",
    "dedup/clusters/999-gone.arrow",
    "pack/export/flagembedding/999-gone.jsonl",
    "embeddings/0123456789abcdef0123456789abcdef/.0123456789abcdef0123456789abcdef",
    "train/checkpoints/step-000004.partial/model.safetensors",
    "models/.000002.partial/model/config.json",
)
NOT_OURS = (
    "notes.txt",
    ".hidden",
    "extract/README",
    "extract/pairs/mine.csv",
    "filter/wanted.parquet",
    "my folder/a.parquet",
    "my folder/.x.tmp-0123abcd.txt",
    "pack/evaluation/held_out/qrels/dev.tsv",
    "synthesize/batches/asked.jsonl",
    "another run/extract/pairs/.000-x.parquet.tmp-0123abcd",
    "another run/.recipe.yaml.tmp-0123abcd",
    "experiments/data.1.tmp-",
    "train/notes.partial",
)


def all_files(run: Path) -> set[str]:
    return {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}


def put(run: Path, *names: str) -> None:
    for name in names:
        path = run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")


def cleaned(run: Path, **cleaning: object) -> list:
    return clean(RunFolder(str(run)), Cleaning(**cleaning))


def test_a_run_as_its_jobs_left_it_keeps_every_file(copied_run: Path) -> None:
    before = all_files(copied_run)
    assert cleaned(copied_run) == []
    assert all_files(copied_run) == before


def test_files_of_killed_writers_and_superseded_files_go_and_all_others_stay(copied_run: Path) -> None:
    before = all_files(copied_run)
    put(copied_run, *LEFT_BEHIND, *NOT_OURS)
    removed = cleaned(copied_run)
    assert all_files(copied_run) == before | set(NOT_OURS)
    assert sum(each.files for each in removed) == len(LEFT_BEHIND)
    assert sum(each.bytes for each in removed) == 5 * len(LEFT_BEHIND)
    assert not (copied_run / "filter" / "_exchange").exists()
    assert verify(RunFolder(str(copied_run))).faults == []


def test_a_dry_run_tells_the_same_and_removes_nothing(copied_run: Path) -> None:
    put(copied_run, *LEFT_BEHIND)
    before = all_files(copied_run)
    told = cleaned(copied_run, dry_run=True)
    assert all_files(copied_run) == before
    assert told == cleaned(copied_run)


def test_files_younger_than_asked_for_stay(copied_run: Path) -> None:
    young, old = LEFT_BEHIND[0], LEFT_BEHIND[2]
    put(copied_run, young, old)
    an_hour_ago = time.time() - 3600
    os.utime(copied_run / old, (an_hour_ago, an_hour_ago))
    cleaned(copied_run, older_than=seconds_of("30m"))
    assert (copied_run / young).exists() and not (copied_run / old).exists()


@pytest.mark.parametrize(("age", "seconds"), [("7d", 604800), ("1.5h", 5400), ("90s", 90), ("2w", 1209600)])
def test_ages_are_read(age: str, seconds: float) -> None:
    assert seconds_of(age) == seconds


@pytest.mark.parametrize("age", ["7", "d", "-1d", "7 years", ""])
def test_other_ages_are_refused(age: str) -> None:
    with pytest.raises(UserError, match="write a number"):
        seconds_of(age)


def test_what_an_unfinished_job_committed_stays(copied_run: Path) -> None:
    (copied_run / "filter" / "_MANIFEST.json").unlink()
    (part, other) = sorted((copied_run / "filter" / "_parts").glob("*.json"))
    committed = {file["path"] for file in json.loads(part.read_text())["files"]}
    measured = {file["path"] for file in json.loads(other.read_text())["files"] if file["role"] == "measurements"}
    other.unlink()
    cleaned(copied_run)
    left = {name.removeprefix("filter/") for name in all_files(copied_run) if name.startswith("filter/")}
    assert committed <= left
    assert measured <= left  # a task that is to decide again reads them
    assert [name for name in left if name.startswith("pairs/")] == [
        name for name in committed if name.startswith("pairs/")
    ]


def test_checkpoints_of_a_finished_training_go_only_when_asked_for(copied_run: Path) -> None:
    put(copied_run, "train/checkpoints/step-000006/model.safetensors", "train/model/config.json")
    cleaned(copied_run, checkpoints=True)
    assert (copied_run / "train/checkpoints/step-000006").exists()  # the training is not finished
    manifest = json.loads((copied_run / "pack" / "_MANIFEST.json").read_text())
    manifest |= {"job": "train", "files": [], "details": {"tasks": 0}, "funnel": {}, "rows_in": 0, "rows_out": 0}
    (copied_run / "train" / "_MANIFEST.json").write_text(json.dumps(manifest))
    assert cleaned(copied_run) == []
    (row,) = cleaned(copied_run, checkpoints=True)
    assert row.kind == "checkpoints" and not (copied_run / "train/checkpoints/step-000006").exists()
    assert (copied_run / "train/model/config.json").exists()


def test_versions_beyond_those_kept_go_but_never_the_current_one(copied_run: Path, tmp_path: Path) -> None:
    run = RunFolder(str(copied_run))
    for number in range(4):
        model = tmp_path / f"model-{number}"
        model.mkdir()
        (model / "config.json").write_text(json.dumps({"number": number}))
        versions.promote(run, model, {})
    versions.roll_back(run, 1)
    recipe = copied_run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("keep_versions: 5", "keep_versions: 2"))
    (told,) = cleaned(copied_run, dry_run=True)
    assert [each.number for each in versions.all_versions(run)] == [1, 2, 3, 4]
    assert cleaned(copied_run, older_than=3600.0) == []
    assert [each.number for each in versions.all_versions(run)] == [1, 2, 3, 4]
    (row,) = cleaned(copied_run)
    assert (row.kind, row.files, row.bytes) == (told.kind, told.files, told.bytes)
    assert [each.number for each in versions.all_versions(run)] == [1, 4]


def test_versions_that_the_recipe_names_are_neither_removed_nor_told(copied_run: Path, tmp_path: Path) -> None:
    run = RunFolder(str(copied_run))
    for number in range(4):
        model = tmp_path / f"model-{number}"
        model.mkdir()
        (model / "config.json").write_text(json.dumps({"number": number}))
        versions.promote(run, model, {})
    (copied_run / "models" / "000002" / "version.json").write_text("{")
    recipe = copied_run / "recipe.yaml"
    text = recipe.read_text().replace("keep_versions: 5", "keep_versions: 1")
    recipe.write_text(text + f"# starts from {copied_run}/models/000003/model\n")
    (told,) = cleaned(copied_run, dry_run=True)
    (row,) = cleaned(copied_run)
    assert (row.files, row.bytes) == (told.files, told.bytes)
    assert sorted(each.name for each in (copied_run / "models").glob("0*")) == ["000003", "000004"]


def test_only_vectors_of_texts_that_are_gone_are_removed(copied_run: Path) -> None:
    (pairs, *_) = sorted((copied_run / "dedup" / "pairs").glob("*.parquet"))
    (held_out, *_) = sorted((copied_run / "dedup" / "held_out").glob("*.parquet"))
    known = [*pq.read_table(pairs)["query"].to_pylist(), *pq.read_table(held_out)["positive"].to_pylist()]
    keys = text_keys(pa.array([*known, "gone for good", "gone as well"]))
    vectors = np.arange(4 * len(keys), dtype=np.float16).reshape(-1, 4)
    space = EmbeddingStore(copied_run / "embeddings").space({"model": "x"}, 4)
    space.add(keys, vectors)
    space.add(text_keys(pa.array(["another one that is gone"])), np.ones((1, 4), np.float16))
    (row,) = cleaned(copied_run, embeddings=True)
    assert (row.kind, row.files, row.bytes) == ("embeddings", 3, 3 * (16 + 8))
    found, there = space.reader().lookup(keys)
    assert there.tolist() == [True] * len(known) + [False, False]
    assert np.array_equal(found[there], vectors[: len(known)])
    assert len(space.segments()) == 1
    assert EmbeddingStore(copied_run / "embeddings").verify() == []


def test_a_store_that_another_run_uses_is_left_alone(copied_run: Path) -> None:
    half = "embeddings/0123456789abcdef0123456789abcdef/.0123456789abcdef0123456789abcdef"
    put(copied_run, half, LEFT_BEHIND[0])
    using = (
        "import sys; from trainer.embedding_store import EmbeddingStore as S; S(sys.argv[1]).begin_use(tidy=False); "
    )
    other = subprocess.Popen(
        [sys.executable, "-c", using + "print(flush=True); input()", str(copied_run / "embeddings")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(UserError, match="in use by another run"):
            cleaned(copied_run, embeddings=True)
        cleaned(copied_run)
        assert (copied_run / half).exists() and not (copied_run / LEFT_BEHIND[0]).exists()
    finally:
        other.communicate(b"\n")
    cleaned(copied_run)
    assert not (copied_run / half).exists()


def test_what_links_lead_to_stays(copied_run: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere, "pairs/.x.parquet.tmp-0123abcd", "file.parquet")
    (copied_run / "mine").symlink_to(elsewhere)
    (copied_run / "filter" / "pairs" / "999-gone.parquet").symlink_to(elsewhere / "file.parquet")
    (copied_run / "filter" / "_exchange").symlink_to(elsewhere)
    cleaned(copied_run)
    assert all_files(elsewhere) == {"pairs/.x.parquet.tmp-0123abcd", "file.parquet"}


def test_embeddings_that_other_runs_may_share_are_refused(copied_run: Path, tmp_path: Path) -> None:
    recipe = copied_run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("folder: null", f"folder: {tmp_path}/shared"))
    with pytest.raises(UserError, match="which other runs may share"):
        cleaned(copied_run, embeddings=True)


def test_a_run_that_is_in_use_is_not_cleaned(copied_run: Path) -> None:
    put(copied_run, *LEFT_BEHIND)
    run = RunFolder(str(copied_run))
    with locked(run), pytest.raises(UserError, match="is in use by process"):
        clean(run, Cleaning())
    assert (copied_run / LEFT_BEHIND[0]).exists()


def test_nothing_is_removed_where_a_record_cannot_be_read(copied_run: Path) -> None:
    put(copied_run, *LEFT_BEHIND)
    (copied_run / "filter" / "_MANIFEST.json").write_text("{")
    with pytest.raises(UserError, match="Nothing was removed"):
        cleaned(copied_run)
    assert (copied_run / LEFT_BEHIND[0]).exists()


def test_a_cleaned_run_is_up_to_date(copied_run: Path) -> None:
    put(copied_run, *LEFT_BEHIND)
    cleaned(copied_run, embeddings=True, checkpoints=True)
    recipe, kinds = load_recipe(str(copied_run / "recipe.yaml")), []
    jobs = [job for job in recipe.jobs() if job != "report"]
    run_recipe(recipe, RunFolder(str(copied_run)), lambda event: kinds.append(event.kind), jobs)
    assert set(kinds) <= {"skipped", "comparing"}


def entry(folder: Path, name: str, hours: float) -> Path:
    path = folder / name
    path.mkdir(mode=0o700)
    file = path / "recipe.yaml"
    file.write_text("name: x")
    for each in (file, path):
        os.utime(each, (time.time() - 3600 * hours,) * 2)
    return path


def test_only_old_entries_of_ours_that_no_process_holds_are_abandoned(tmp_path: Path) -> None:
    abandoned = entry(tmp_path, "pairmill-abandone", 2)
    vectors = entry(tmp_path, "pairmill-vectors-0_abcdef", 2)
    entry(tmp_path, "pairmill-young_00", 0.5)
    entry(tmp_path, "somebody-elses", 2)
    entry(tmp_path, "pairmill-my-runs", 2)
    entry(tmp_path, "pairmill-for_all_", 2).chmod(0o755)
    run = entry(tmp_path, "pairmill-demo_run", 2)
    (run / ".lock").touch()
    os.utime(run / ".lock", (time.time() - 7200,) * 2)
    (tmp_path / "pairmill-link0000").symlink_to(abandoned)
    named, opened = entry(tmp_path, "pairmill-named_00", 2), entry(tmp_path, "pairmill-opened_0", 2)
    reading = "import sys, time; file = open(sys.stdin.readline().strip()); print(flush=True); time.sleep(60)"
    holders = [
        subprocess.Popen([sys.executable, "-c", reading], stdin=subprocess.PIPE, stdout=subprocess.PIPE),
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", str(named)]),
    ]
    try:
        assert holders[0].stdin and holders[0].stdout
        holders[0].stdin.write(f"{opened}/recipe.yaml\n".encode())
        holders[0].stdin.flush()
        holders[0].stdout.readline()
        assert [each.path for each in abandoned_entries(tmp_path)] == [abandoned, vectors]
    finally:
        for holder in holders:
            holder.kill()
            holder.communicate()


def test_the_command_tells_what_it_would_remove(copied_run: Path) -> None:
    put(copied_run, *LEFT_BEHIND)
    found = CliRunner().invoke(app, ["clean", str(copied_run), "--dry-run", "--no-temporary-folder", "--json"])
    assert found.exit_code == 0
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert sum(row["files"] for row in rows) == len(LEFT_BEHIND)
    assert {row["kind"] for row in rows} == {"unfinished", "superseded"}

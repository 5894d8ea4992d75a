"""Members of archives as inputs of a job."""

import zipfile
from pathlib import Path

from pipelines.jobs.extract import input_files, plan
from pipelines.recipe import Recipe, SourceEntry
from pipelines.run_folder import RunFolder


def write_zip(path: Path, *names: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "{}\n")
    return path


def identities(*paths: str) -> list[str]:
    return [identity for identity, _ in input_files(SourceEntry(source="jsonl", paths=paths))]


def test_a_member_is_named_by_archive_and_member_wherever_the_data_lie(tmp_path):
    archive = write_zip(tmp_path / "a" / "x.zip", "d/one.jsonl", "two.jsonl")
    assert identities(str(archive)) == ["x.zip!/d/one.jsonl", "x.zip!/two.jsonl"]
    assert identities(f"zip://*one.jsonl::{archive}") == ["x.zip!/d/one.jsonl"]
    assert identities(f"{tmp_path}/*/x.zip") == ["a/x.zip!/d/one.jsonl", "a/x.zip!/two.jsonl"]
    assert identities(f"zip://two*::{tmp_path}/*/x.zip") == ["a/x.zip!/two.jsonl"]


def test_archives_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        write_zip(tmp_path / folder / "x.zip", "one.jsonl")
    assert identities(f"{tmp_path}/a/x.zip", f"{tmp_path}/b/x.zip") == ["a/x.zip!/one.jsonl", "b/x.zip!/one.jsonl"]


def test_an_archive_that_changes_changes_what_the_job_reads(tmp_path):
    archive = write_zip(tmp_path / "x.zip", "one.jsonl")
    entry = SourceEntry(source="jsonl", paths=(str(archive),))
    before = _inputs(entry)
    assert before == _inputs(entry)
    write_zip(archive, "one.jsonl", "two.jsonl")
    assert _inputs(entry)[0] != before[0]
    assert len(_inputs(entry)) == 2


def _inputs(entry: SourceEntry) -> list[dict[str, object]]:
    run = RunFolder(str(Path(entry.paths[0]).parent / "run"))
    return plan(Recipe(name="test", sources=(entry,)), run).inputs

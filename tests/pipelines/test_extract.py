from pathlib import Path

from pipelines.jobs.extract import input_files, plan
from pipelines.recipe import Recipe, SourceEntry
from pipelines.run_folder import RunFolder


def identities(*paths: str) -> list[str]:
    return [identity for identity, _ in input_files(SourceEntry(source="jsonl", paths=paths))]


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n")


def test_a_shard_is_named_by_the_path_below_the_pattern_wherever_the_data_lie(tmp_path):
    make(tmp_path, "a/x.jsonl", "b/x.jsonl", "y.jsonl")
    assert identities(f"{tmp_path}/*/*.jsonl") == ["a/x.jsonl", "b/x.jsonl"]


def test_single_files_are_told_apart_by_as_much_of_their_path_as_needed(tmp_path):
    make(tmp_path, "a/x.jsonl", "b/x.jsonl", "y.jsonl")
    files = [f"{tmp_path}/{name}" for name in ("a/x.jsonl", "b/x.jsonl", "y.jsonl", "y.jsonl")]
    assert identities(*files) == ["a/x.jsonl", "b/x.jsonl", "y.jsonl"]
    assert identities(files[0]) == ["x.jsonl"]


def test_packaged_files_are_named_inside_their_package():
    assert identities("package://pipelines/report/*.css") == ["pipelines/report/style.css"]
    assert identities("package://pipelines/report/style.css") == ["pipelines/report/style.css"]


def test_two_folders_with_files_of_one_name_lose_none_of_them(tmp_path):
    make(tmp_path, "a/x.jsonl", "b/x.jsonl", "b/y.jsonl")
    entry = SourceEntry(
        source="jsonl", paths=(f"{tmp_path}/a/*.jsonl", f"{tmp_path}/b/*.jsonl", f"{tmp_path}/b/y.jsonl")
    )
    assert [identity for identity, _ in input_files(entry)] == ["a/x.jsonl", "b/x.jsonl", "y.jsonl"]
    assert len({path for _, path in input_files(entry)}) == 3


def test_a_relative_pattern_names_files_as_an_absolute_one_does(tmp_path, monkeypatch):
    make(tmp_path, "data/a/x.jsonl")
    monkeypatch.chdir(tmp_path)
    assert identities("data/*/*.jsonl") == identities(f"{tmp_path}/data/*/*.jsonl") == ["a/x.jsonl"]


def test_the_end_of_one_path_is_not_taken_for_what_a_pattern_names_another_file(tmp_path):
    make(tmp_path, "p/a/x.jsonl", "q/x.jsonl", "r/a/x.jsonl")
    named = identities(f"{tmp_path}/p/a/x.jsonl", f"{tmp_path}/q/x.jsonl", f"{tmp_path}/r/*/*.jsonl")
    assert named == ["p/a/x.jsonl", "q/x.jsonl", "r/a/x.jsonl"]


def test_thousands_of_files_of_one_name_are_told_apart(tmp_path):
    make(tmp_path, *(f"{number:04d}/x.jsonl" for number in range(3000)))
    files = [f"{tmp_path}/{number:04d}/x.jsonl" for number in range(3000)]
    assert identities(*files) == [f"{number:04d}/x.jsonl" for number in range(3000)]


def test_a_file_beside_the_input_that_changes_comes_or_goes_changes_what_the_job_reads(tmp_path):
    make(tmp_path, "d/a.xml", "d/b.xml", "d/c.xml")
    states = [beside(tmp_path / "d")]
    (tmp_path / "d/b.xml").write_text("changed")
    states.append(beside(tmp_path / "d"))
    make(tmp_path, "d/e.xml")
    states.append(beside(tmp_path / "d"))
    (tmp_path / "d/c.xml").rename(tmp_path / "d/d.xml")
    states.append(beside(tmp_path / "d"))
    assert [state["files"] for state in states] == [2, 2, 3, 3]
    assert len({state["fingerprint"] for state in states}) == 4
    assert states[-1] == beside(tmp_path / "d")


def beside(folder: Path) -> dict:
    recipe = Recipe(name="test", sources=(SourceEntry(source="jats", paths=(str(folder),)),))
    (only,) = plan(recipe, RunFolder(str(folder.parent / "run"))).inputs
    return only["beside"]

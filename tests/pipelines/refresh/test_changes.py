"""New, changed and gone files, by source; and a missing disk is not taken for them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.jobs import extract
from pipelines.recipe import Recipe
from pipelines.refresh.changes import (
    compare,
    inputs_before,
    inputs_now,
    keep_inputs,
    refuse_vanished,
    without_empty_paths,
)
from pipelines.run_folder import RunFolder
from tests.pipelines.refresh.models import a_manifest


def source(label: str, *paths: Path | str, **more: object) -> dict:
    return {"source": "jsonl", "label": label, "paths": [str(path) for path in paths], **more}


def recipe(*sources: dict, **more: object) -> Recipe:
    return Recipe.model_validate({"name": "r", "sources": sources, **more})


@pytest.fixture
def run(tmp_path) -> RunFolder:
    return RunFolder(str(tmp_path / "run"))


def write(folder: Path, **contents: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.jsonl").write_text(content)


def test_files_are_counted_by_source_as_new_changed_gone_and_unchanged(tmp_path, run):
    write(tmp_path / "news", a="1", b="22", c="333", d="4444")
    write(tmp_path / "вики", x="1")
    asked = recipe(source("news", tmp_path / "news"), source("вики", f"{tmp_path}/вики/*.jsonl"))
    keep_inputs(run, inputs_now(asked, run))
    (tmp_path / "news/a.jsonl").unlink()
    write(tmp_path / "news", b="2x", c="333", e="55555", f="666666")
    os.utime(tmp_path / "news/d.jsonl", (1, 1))
    news, wiki = compare(inputs_before(run), inputs_now(asked, run))
    assert (news.label, news.new, news.changed, news.gone, news.unchanged) == ("news", 2, 1, 1, 2)
    assert (news.new_bytes, news.bytes) == (5 + 6 + 2, 2 + 3 + 4 + 5 + 6)
    assert news.examples == {"new": ("e.jsonl", "f.jsonl"), "changed": ("b.jsonl",), "gone": ("a.jsonl",)}
    assert (wiki.label, wiki.any, wiki.unchanged) == ("вики", False, 1)


def test_a_touched_file_and_one_moved_with_its_folder_are_unchanged(tmp_path, run):
    write(tmp_path / "old", a="1", b="2")
    keep_inputs(run, inputs_now(recipe(source("s", f"{tmp_path}/old/*.jsonl")), run))
    (tmp_path / "old").rename(tmp_path / "new")
    os.utime(tmp_path / "new/a.jsonl", (1, 1))
    (change,) = compare(inputs_before(run), inputs_now(recipe(source("s", f"{tmp_path}/new/*.jsonl")), run))
    assert not change.any and change.unchanged == 2


def test_before_the_first_refresh_the_files_of_the_last_extract_count(tmp_path, run):
    from pipelines.manifest import write_manifest

    write(tmp_path / "d", a="1", b="2")
    asked = recipe(source("s", tmp_path / "d"))
    planned = extract.plan(asked, run)
    write_manifest(run.job("extract"), a_manifest("extract", "f", settings=planned.settings, inputs=planned.inputs))
    write(tmp_path / "d", c="3")
    (change,) = compare(inputs_before(run), inputs_now(asked, run))
    assert (change.new, change.changed, change.gone, change.unchanged) == (1, 0, 0, 2)


def test_without_any_run_all_files_are_new(tmp_path, run):
    write(tmp_path / "d", a="1", b="2")
    (change,) = compare(inputs_before(run), inputs_now(recipe(source("s", tmp_path / "d")), run))
    assert (change.new, change.unchanged) == (2, 0)


def test_a_source_that_left_the_recipe_is_told_last_with_all_files_gone(tmp_path, run):
    write(tmp_path / "d", a="1")
    write(tmp_path / "e", b="2", c="3")
    both, one = source("d", tmp_path / "d"), source("e", tmp_path / "e")
    keep_inputs(run, inputs_now(recipe(one, both), run))
    now = inputs_now(recipe(both), run)
    changes = compare(inputs_before(run), now)
    assert [(each.label, each.gone) for each in changes] == [("d", 0), ("e", 2)]
    refuse_vanished(recipe(both), run, inputs_before(run), now)


def test_two_sources_of_one_label_and_file_name_are_both_counted(tmp_path, run):
    write(tmp_path / "d", a="1")
    write(tmp_path / "e", a="2")
    asked = recipe(source("s", tmp_path / "d/a.jsonl"), source("s", tmp_path / "e/a.jsonl"))
    (change,) = compare({}, inputs_now(asked, run))
    assert change.new == 2


def test_a_glob_that_matches_nothing_any_more_is_an_error_that_names_the_source(tmp_path, run):
    write(tmp_path / "mount", a="1", b="2")
    asked = recipe(source("crawl", f"{tmp_path}/mount/*.jsonl"))
    keep_inputs(run, inputs_now(asked, run))
    for file in (tmp_path / "mount").iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"'crawl' had 2 files at the last refresh .*--allow-gone"):
        inputs_now(asked, run)


def test_a_glob_that_never_matched_is_an_error_without_history(tmp_path, run):
    with pytest.raises(UserError, match="no file matches") as raised:
        inputs_now(recipe(source("s", f"{tmp_path}/nothing/*.jsonl")), run)
    assert "last refresh" not in str(raised.value)


def test_a_source_that_lost_most_of_its_bytes_is_refused(tmp_path, run):
    write(tmp_path / "a", x="1" * 100)
    write(tmp_path / "b", y="1" * 101)
    asked = recipe(source("s", f"{tmp_path}/*/*.jsonl"))
    before = inputs_now(asked, run)
    (tmp_path / "b/y.jsonl").unlink()  # as where one of two disks is not mounted: 100 of 201 bytes are left
    with pytest.raises(UserError, match=r"'s' lost 1 of its 2 files \(b/y.jsonl\) and has 100 bytes .* read 201"):
        refuse_vanished(asked, run, before, inputs_now(asked, run))
    refuse_vanished(
        recipe(*[source("s", f"{tmp_path}/*/*.jsonl")], refresh={"least_left": 0.49}),
        run,
        before,
        inputs_now(asked, run),
    )


def test_a_dump_that_takes_the_place_of_another_is_no_loss(tmp_path, run):
    write(tmp_path / "d", dump_01="1" * 100)
    asked = recipe(source("s", f"{tmp_path}/d/*.jsonl"))
    before = inputs_now(asked, run)
    (tmp_path / "d/dump_01.jsonl").rename(tmp_path / "d/dump_02.jsonl")
    refuse_vanished(asked, run, before, inputs_now(asked, run))


def test_paths_without_files_are_left_out_and_a_source_without_paths_too(tmp_path):
    write(tmp_path / "d", a="1")
    asked = recipe(source("s", tmp_path / "d", f"{tmp_path}/none/*"), source("t", f"{tmp_path}/none/*"))
    (left,) = without_empty_paths(asked).sources
    assert (left.label, left.paths) == ("s", (str(tmp_path / "d"),))
    with pytest.raises(UserError, match="None of the sources"):
        without_empty_paths(recipe(source("t", f"{tmp_path}/none/*")))


@pytest.mark.parametrize("broken", ["", "{}", '{"version": 1, "sources": {"s": {"a": 3}}}', "[1]"])
def test_a_broken_record_of_the_inputs_is_as_none(tmp_path, run, broken):
    (tmp_path / "run/refresh").mkdir(parents=True)
    (tmp_path / "run/refresh/inputs.json").write_text(broken)
    assert inputs_before(run) == {}


FILES = st.dictionaries(st.text(max_size=3), st.tuples(st.none() | st.integers(0, 9), st.text(max_size=2)), max_size=6)


@given(FILES, FILES)
def test_every_file_is_new_changed_unchanged_or_gone(before, now):
    (change,) = compare({"s": before}, {"s": now})
    assert change.new + change.changed + change.unchanged == len(now)
    assert change.gone + change.changed + change.unchanged == len(before)
    assert change.new_bytes <= change.bytes == sum(size or 0 for size, _ in now.values())
    assert change.any == (before != now)


def test_without_comparing_contents_a_touched_file_is_changed(tmp_path, run):
    write(tmp_path / "d", a="1")
    asked = recipe(source("s", tmp_path / "d"), extract={"compare_files": "time"})
    before = inputs_now(asked, run)
    os.utime(tmp_path / "d/a.jsonl", (1, 1))
    (change,) = compare(before, inputs_now(asked, run))
    assert change.changed == 1
    assert not (tmp_path / "run").exists()

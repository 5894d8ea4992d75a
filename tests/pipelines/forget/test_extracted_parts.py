"""Take-downs over extract alone: small files, every row known."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from pipelines import storage
from pipelines.errors import UserError
from pipelines.forget.command import Choices, asked_documents, forget
from pipelines.forget.tombstones import BLANKED, FILE
from pipelines.forget.traces import Asked
from pipelines.job_process import execute
from pipelines.manifest import read_manifest
from pipelines.run_folder import RunFolder
from tests.pipelines.synthesize_runs import rows_of

LONG = "The wall of the harbour was built of granit in the summer of that year, and it stands to this day."
OTHER = "Nobody knows who paid for the second lighthouse, though its plans are kept in the library."
ROWS = {
    "a": [
        {"q": "Who built the wall?", "p": LONG, "id": "1", "u": "https://x.org/1"},
        {"q": "Когда построена стена?", "p": "Стена построена летом того же года из гранита.", "id": "1", "u": "https://x.org/1"},
        {"q": "Who paid?", "p": OTHER, "id": "2", "u": "https://x.org/2", "n": [LONG, "a short one"]},
        {"q": "Nothing below", "p": " ", "id": "1", "u": "https://x.org/1"},
    ],
    "b": [
        {"q": "Where are the plans?", "p": "In the library of the town.", "id": "3", "u": "https://x.org/3"},
        {"q": "What else?", "p": "Nothing else is kept there.", "id": "1", "u": "https://x.org/4"},
        {"q": "Без адреса", "p": "Этот документ не имеет адреса.", "id": "1", "u": None},
    ],
}  # fmt: skip


def write_corpus(folder: Path, rows=None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (rows or ROWS).items():
        words = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        broken = '{"q": "Who built", "u": "https://x.org/1", broken\n' if name == "a" else ""
        (folder / f"{name}.jsonl").write_text(words + broken)


def write_recipe(folder: Path) -> Path:
    fields = {
        "query": "q",
        "positive": "p",
        "negatives": "n",
        "document_id": "id",
        "url": "u",
        "kind": "question_answer",
    }
    source = {"source": "jsonl", "label": "rows", "paths": [f"{folder}/in/*.jsonl"], "language": "en", **fields}
    file = folder / "r.yaml"
    file.write_text(yaml.safe_dump({"name": "rows", "sources": [source]}))
    return file


def extract(folder: Path, run: str = "run") -> RunFolder:
    recipe = write_recipe(folder)
    (folder / run).mkdir(exist_ok=True)
    shutil.copy(recipe, folder / run / "recipe.yaml")
    execute(str(recipe), RunFolder(str(folder / run)), "extract")
    return RunFolder(str(folder / run))


def take_down(run: RunFolder, *asked: Asked, **choices):
    return forget(run, asked or [Asked(kind="url", name="https://x.org/1")], Choices(**choices))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def compared(run: RunFolder) -> dict[str, bytes]:
    """All files of extract but what differs between two runs: when, and how long."""
    files = files_of(Path(run.job("extract")))
    manifest = json.loads(files.pop("_MANIFEST.json"))
    files["manifest"] = json.dumps(manifest | {"finished": "", "seconds": 0}, sort_keys=True).encode()
    return files


@pytest.fixture
def run(tmp_path):
    write_corpus(tmp_path / "in")
    return extract(tmp_path)


def from_nothing(tmp_path: Path, run: RunFolder) -> RunFolder:
    (tmp_path / "fresh").mkdir()
    shutil.copy(Path(run.url) / FILE, tmp_path / "fresh" / FILE)
    return extract(tmp_path, "fresh")


def test_rows_of_the_url_go_and_are_counted(run, tmp_path):
    done = take_down(run)
    extract(tmp_path)
    queries = {row["query"] for row in rows_of(tmp_path / "run", "pairs", "extract")}
    # The row of document 1 that has another URL stays; the one that has none goes with the document.
    assert queries == {"Who paid?", "Where are the plans?", "What else?"}
    manifest = read_manifest(run.job("extract"))
    assert (manifest.rows_in, manifest.rows_out, manifest.dropped) == (7, 3, {"forgotten": 4})
    assert (done.rows, done.left) == (4, {})
    assert rows_of(tmp_path / "run", "rejects", "extract") == []


def test_a_text_of_it_is_no_negative_of_others_any_more(run, tmp_path):
    take_down(run)
    extract(tmp_path)
    [row] = [row for row in rows_of(tmp_path / "run", "pairs", "extract") if row["query"] == "Who paid?"]
    assert row["negatives"] == ["a short one"]


def test_excerpts_that_hold_it_are_blanked(run, tmp_path):
    assert "https://x.org/1" in rows_of(tmp_path / "run", "quarantine", "extract")[0]["excerpt"]
    take_down(run)
    extract(tmp_path)
    assert [row["excerpt"] for row in rows_of(tmp_path / "run", "quarantine", "extract")] == [BLANKED]


def test_the_bytes_are_those_of_a_run_from_nothing_with_the_tombstone(run, tmp_path):
    take_down(run)
    extract(tmp_path)
    assert compared(run) == compared(from_nothing(tmp_path, run))


def test_two_take_downs_after_each_other_give_the_bytes_of_both_at_once(run, tmp_path):
    take_down(run)
    take_down(run, Asked(kind="document_id", name="3", source="rows"))
    extract(tmp_path)
    assert {row["query"] for row in rows_of(tmp_path / "run", "pairs", "extract")} == {"Who paid?", "What else?"}
    assert compared(run) == compared(from_nothing(tmp_path, run))


def test_shards_that_hold_nothing_of_it_stay_the_same_files(run):
    shards = Path(run.job("extract")) / "pairs"
    before = {path.name: path.stat().st_ino for path in shards.iterdir()}
    take_down(run, Asked(kind="document_id", name="3"))
    changed = {path.name for path in shards.iterdir() if before[path.name] != path.stat().st_ino}
    assert [name for name in changed if "a.jsonl" in name] == []
    assert len(changed) == 1


def test_sources_are_not_read_again(run, tmp_path, monkeypatch):
    def read(*given):
        raise AssertionError("a source was read")

    take_down(run)
    monkeypatch.setattr("pipelines.jobs.extract.write_split", read)
    extract(tmp_path)
    assert len(rows_of(tmp_path / "run", "pairs", "extract")) == 3


def test_a_source_that_brings_it_again_brings_nothing(run, tmp_path):
    take_down(run)
    again = [
        ROWS["a"][0] | {"q": "Asked anew?"},
        {"q": "New", "p": "A new text.", "id": "9", "u": "https://x.org/9", "n": [LONG]},
    ]
    write_corpus(tmp_path / "in", {"c": again})
    extract(tmp_path)
    rows = {row["query"]: row for row in rows_of(tmp_path / "run", "pairs", "extract")}
    assert "Asked anew?" not in rows
    assert rows["New"]["negatives"] == []
    assert read_manifest(run.job("extract")).dropped == {"forgotten": 5}


def test_texts_that_another_document_has_stay_and_are_counted(tmp_path):
    same = {"q": "Who built the wall?", "p": LONG, "id": "8", "u": "https://x.org/8"}
    write_corpus(tmp_path / "in", ROWS | {"b": [same]})
    run = extract(tmp_path)
    assert take_down(run).shared == 2
    extract(tmp_path)
    rows = {row["query"]: row for row in rows_of(tmp_path / "run", "pairs", "extract")}
    assert rows["Who built the wall?"]["document_id"] == "8"
    assert LONG in rows["Who paid?"]["negatives"]


def test_an_id_is_forgotten_in_the_named_source_alone(run, tmp_path):
    with pytest.raises(UserError, match="its sources are rows"):
        take_down(run, Asked(kind="document_id", name="1", source="other"))
    take_down(run, Asked(kind="document_id", name="1", source="rows"))
    extract(tmp_path)
    assert {row["document_id"] for row in rows_of(tmp_path / "run", "pairs", "extract")} == {"2", "3"}


def test_without_its_tombstone_a_document_is_extracted_again(run, tmp_path):
    before = {row["query"] for row in rows_of(tmp_path / "run", "pairs", "extract")}
    take_down(run)
    extract(tmp_path)
    (tmp_path / "run" / FILE).unlink()
    extract(tmp_path)
    assert {row["query"] for row in rows_of(tmp_path / "run", "pairs", "extract")} == before


def test_neither_the_tombstone_nor_the_log_names_the_document(run):
    take_down(run, reason="request 17")
    content = (Path(run.url) / FILE).read_text() + (Path(run.url) / "log.jsonl").read_text()
    assert "request 17" in content
    assert "x.org" not in content and "granit" not in content


def test_a_dry_run_changes_nothing(run):
    before = files_of(Path(run.url))
    done = take_down(run, dry_run=True)
    assert done.counts == {"extract/pairs": 3, "extract/rejects": 1}
    after = files_of(Path(run.url))
    assert {name: after[name] for name in before if name != ".lock"} == {
        name: before[name] for name in before if name != ".lock"
    }
    assert set(after) - set(before) <= {".lock"}


class Stop(BaseException):
    """A process that ends at this moment."""


@pytest.mark.parametrize("at", range(1, 12))
def test_a_take_down_that_stops_anywhere_is_finished_by_the_next_one(tmp_path, monkeypatch, at):
    write_corpus(tmp_path / "in")
    run = extract(tmp_path)
    calls = 0
    for name in ("atomic_write", "remove"):
        original = getattr(storage, name)

        def counted(*given, original=original, **more):
            nonlocal calls
            calls += 1
            if calls == at:
                raise Stop
            return original(*given, **more)

        monkeypatch.setattr(storage, name, counted)
    try:
        take_down(run)
    except Stop:
        monkeypatch.undo()
        take_down(run)
    monkeypatch.undo()
    assert not (tmp_path / "run" / "_forgetting").exists()
    extract(tmp_path)
    assert len(rows_of(tmp_path / "run", "pairs", "extract")) == 3
    assert compared(run) == compared(from_nothing(tmp_path, run))


def test_the_next_run_finishes_a_take_down_that_was_cut_short(run, tmp_path, monkeypatch):
    from pipelines.launcher import run_recipe
    from pipelines.recipe import load_recipe

    monkeypatch.setattr("pipelines.forget.command._filter_extract", lambda *given: (_ for _ in ()).throw(Stop))
    with pytest.raises(Stop):
        take_down(run)
    monkeypatch.undo()
    assert (tmp_path / "run" / "_forgetting" / "plan.json").exists()
    run_recipe(load_recipe(str(tmp_path / "r.yaml")), run, lambda event: None)
    assert not (tmp_path / "run" / "_forgetting").exists()
    assert len(rows_of(tmp_path / "run", "pairs", "extract")) == 3


def test_a_file_that_pairmill_does_not_know_is_told_and_left(run, tmp_path):
    notes = tmp_path / "run" / "notes.txt"
    notes.write_text(f"Look at this: {LONG[10:]}")
    done = take_down(run)
    assert list(done.left) == ["notes.txt"]
    assert notes.exists()


def test_lines_of_logs_and_values_of_records_that_hold_it_are_replaced(run, tmp_path):
    (tmp_path / "run" / "logs").mkdir(exist_ok=True)
    log, record = tmp_path / "run" / "logs" / "extract.log", tmp_path / "run" / "refresh" / "000001.json"
    log.write_text(f"first line\nWARNING could not read {LONG}\nlast line\n")
    record.parent.mkdir(exist_ok=True)
    record.write_text(json.dumps({"number": 1, "error": f"it failed at {LONG}"}))
    assert take_down(run).left == {}
    assert log.read_text().splitlines()[::2] == ["first line", "last line"]
    assert "granit" not in log.read_text()
    assert json.loads(record.read_text())["number"] == 1
    assert "granit" not in record.read_text()


def test_what_cannot_be_meant_is_refused_in_words(run, tmp_path):
    with pytest.raises(UserError, match="--url URL or --document-id ID"):
        asked_documents([], [], None, None)
    with pytest.raises(UserError, match="the reason is kept in"):
        take_down(run, reason="https://x.org/1 must go")
    (tmp_path / "list.txt").write_text("\n \n")
    with pytest.raises(UserError, match="names no document"):
        asked_documents([], [], str(tmp_path / "list.txt"), None)
    (tmp_path / "run" / FILE).write_text("{")
    with pytest.raises(UserError, match="restore it"):
        extract(tmp_path)


def test_a_list_names_urls_and_ids(tmp_path):
    (tmp_path / "list.txt").write_text("https://x.org/1\n\n  17 \nhttps://x.org/1\n")
    assert [(each.kind, each.name) for each in asked_documents([], [], str(tmp_path / "list.txt"), None)] == [
        ("url", "https://x.org/1"),
        ("document_id", "17"),
    ]

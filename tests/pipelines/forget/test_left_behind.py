"""Places where something of a forgotten document could stay, and requests that are written otherwise than the data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UserError
from pipelines.forget.command import Choices, forget, lineage_of, read_list
from pipelines.forget.traces import Asked
from pipelines.job_process import execute
from pipelines.manifest import read_manifest
from pipelines.run_folder import RunFolder
from tests.pipelines.forget.taken_down_runs import GONE, pair, places_of, run_here, write_corpus, write_recipe
from tests.pipelines.forget.test_extracted_parts import LONG, OTHER, ROWS, extract, take_down
from tests.pipelines.forget.test_extracted_parts import write_corpus as write_rows
from tests.pipelines.synthesize_runs import rows_of


@pytest.fixture
def run(tmp_path):
    write_rows(tmp_path / "in")
    return extract(tmp_path)


def queries(tmp_path: Path) -> set[str]:
    return {row["query"] for row in rows_of(tmp_path / "run", "pairs", "extract")}


# Requests


def test_a_page_is_forgotten_in_all_its_spellings(tmp_path):
    spellings = ["http://x.org/K%c3%b6ln", "https://X.org/Köln/", "https://x.org:443/K%C3%B6ln#geschichte"]
    rows = [{"q": f"Frage {n}", "p": f"Antwort {n}", "id": f"k{n}", "u": url} for n, url in enumerate(spellings)]
    rows += [{"q": "stays", "p": "An answer that stays.", "id": "k9", "u": "https://x.org/K%C3%B6ln_am_Rhein"}]
    write_rows(tmp_path / "in", {"a": rows})
    run = extract(tmp_path)
    done = take_down(run, Asked(kind="url", name="https://x.org/Köln"))
    assert (done.rows, done.left) == (3, {})
    rows[0]["u"] = "http://x.org/K%C3%B6ln/"  # it comes again, written in a fourth way
    write_rows(tmp_path / "in", {"b": rows})
    extract(tmp_path)
    assert queries(tmp_path) == {"stays"}


def test_the_url_is_found_as_the_data_write_it_and_not_within_longer_ones(run, tmp_path):
    log = tmp_path / "run" / "logs" / "extract.log"
    log.parent.mkdir(exist_ok=True)
    lines = [
        "slow: https://x.org/1: 3 s",
        "slow: https://x.org/12",
        "see https://x.org/1",
        "https:\\/\\/x.org\\/1?",
        "end",
    ]
    lines[3] = '{"u": "https:\\/\\/x.org\\/1"}'
    log.write_text("\n".join(lines))
    assert take_down(run, Asked(kind="url", name="HTTP://X.org/1/")).left == {}
    kept = log.read_text().splitlines()
    assert [line for line in kept if "removed by" not in line] == [lines[1], "end"]


def test_a_url_at_the_end_of_a_file_that_is_no_log_is_told(run, tmp_path):
    (tmp_path / "run" / "notes.txt").write_text("asked about https://x.org/1")
    (tmp_path / "run" / "other.txt").write_text("asked about https://x.org/17")
    assert list(take_down(run).left) == ["notes.txt"]


def test_an_id_that_no_other_row_has_is_searched(tmp_path):
    name = "anna.muster@x.org"
    write_rows(tmp_path / "in", {"a": [{"q": "Who?", "p": "A person of that town.", "id": name}, ROWS["b"][0]]})
    run = extract(tmp_path)
    (tmp_path / "run" / "notes.json").write_text(json.dumps({"documents": [name]}))
    assert list(take_down(run, Asked(kind="document_id", name=name)).left) == ["notes.json"]


def test_the_url_of_a_row_that_stays_is_not_searched(tmp_path):
    same = {"q": "More?", "p": "Another document on the same page.", "id": "2", "u": "https://x.org/1"}
    write_rows(tmp_path / "in", {"a": [ROWS["a"][0], same]})
    run = extract(tmp_path)
    (tmp_path / "run" / "notes.txt").write_text("about https://x.org/1\n")
    assert take_down(run, Asked(kind="document_id", name="1")).left == {}
    extract(tmp_path)
    assert queries(tmp_path) == {"More?"}


def test_a_reason_may_hold_the_digits_of_an_id(run):
    take_down(run, Asked(kind="document_id", name="1"), reason="request 17")
    with pytest.raises(UserError, match="names the document itself"):
        take_down(run, Asked(kind="document_id", name="3"), reason="document 3, request 17")


@pytest.mark.parametrize(
    "name", ["a\nb", "\x1b[31mred\x1b[0m", "x" * 100_000, "../../etc/passwd", "[bold]", "\u202eoe"]
)
def test_odd_ids_are_forgotten_as_any_other(tmp_path, name):
    write_rows(tmp_path / "in", {"a": [{"q": "Who?", "p": LONG, "id": name}, ROWS["b"][0]]})
    run = extract(tmp_path)
    done = take_down(run, Asked(kind="document_id", name=name))
    assert (done.rows, done.left) == (1, {})
    extract(tmp_path)
    assert queries(tmp_path) == {"Where are the plans?"}


def test_an_id_that_is_no_text_is_refused_in_words(run):
    with pytest.raises(UserError, match="is not in UTF-8"):
        take_down(run, Asked(kind="document_id", name="caf\udce9"))


def test_a_list_is_cut_at_ends_of_lines_alone(tmp_path):
    (tmp_path / "list.txt").write_bytes("one\u2028two\r\nthree\x85four\n".encode())
    assert [name for _, name in read_list(str(tmp_path / "list.txt"))] == ["one\u2028two", "three\x85four"]


def test_examples_that_a_judge_saw_go(run, tmp_path):
    from pipelines.report.false_negatives import FILE

    example = {"score": 0.5, "query": "Who?", "negative": "short"}
    (tmp_path / "run" / FILE).write_text(json.dumps({"mine": None, "examples": [example]}))
    assert take_down(run, dry_run=True).swept.deleted.keys() == {FILE}
    assert take_down(run).left == {}
    assert not (tmp_path / "run" / FILE).exists()


def test_vectors_of_a_shard_that_has_a_text_of_it_as_a_negative_go(run, tmp_path):
    other = "001-more-more.jsonl-0123abcd-00000"
    texts, vectors = (
        tmp_path / "run" / path for path in (f"dedup/passages/{other}.parquet", f"mine/embeddings/{other}.npy")
    )
    kept = vectors.with_name("002-other-o-0123abcd-00000.npy")
    for path in (texts, vectors):
        path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"text": [OTHER, LONG]}), texts)
    for path in (vectors, kept):
        np.save(path, np.zeros((2, 4), np.float16))
    assert take_down(run).left == {}
    assert (texts.exists(), vectors.exists(), kept.exists()) == (False, False, True)


def test_words_of_a_vocabulary_and_names_of_source_files_are_nothing_of_it(tmp_path):
    write_rows(
        tmp_path / "in", {"a": [{"q": "information", "p": "What this is about.", "id": "a.jsonl:17"}, ROWS["b"][0]]}
    )
    run = extract(tmp_path)
    for path in ("models/000001/model/tokenizer.json", "models/000001/model/notes.json", "refresh/inputs.json"):
        (tmp_path / "run" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / path).write_text('{"information": "a.jsonl:17"}')
    inputs = (tmp_path / "run" / "refresh" / "inputs.json").read_text()
    assert list(take_down(run, Asked(kind="document_id", name="a.jsonl:17")).left) == ["models/000001/model/notes.json"]
    assert (tmp_path / "run" / "refresh" / "inputs.json").read_text() == inputs


def test_a_torn_record_of_a_task_does_not_stop_it(run, tmp_path):
    folder = tmp_path / "run" / "dedup" / "_parts"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text('{"files": [')
    assert take_down(run).left == {}
    assert list(folder.iterdir()) == []


# Take-downs one after the other


def test_what_an_earlier_cut_take_down_left_is_told_with_the_next_one(run, tmp_path, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(*given):
        raise Stop

    (tmp_path / "run" / "notes.txt").write_text(LONG)
    monkeypatch.setattr("pipelines.forget.command._filter_extract", stop)
    with pytest.raises(Stop):
        take_down(run)
    monkeypatch.undo()
    done = take_down(run, Asked(kind="url", name="https://x.org/3"))
    assert (done.rows, list(done.left)) == (1, ["notes.txt"])


def test_parts_of_other_tombstones_do_not_stay_either(run, tmp_path):
    take_down(run, Asked(kind="url", name="https://x.org/3"))
    extract(tmp_path)
    (tmp_path / "run" / "forgotten.json").unlink()
    assert take_down(run).left == {}
    assert places_of(tmp_path / "run", LONG) == []
    extract(tmp_path)
    assert queries(tmp_path) == {"Who paid?", "Where are the plans?", "What else?"}


# All jobs


def test_negatives_are_kept_where_they_hold_and_nothing_of_the_document_is(tmp_path, tiny_model):
    write_corpus(tmp_path / "in")
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "in", tiny_model, None)
    affected = recipe.read_text().replace("mine:\n", "mine:\n  refresh: affected\n")
    recipe.write_text(affected)
    run_here(recipe, tmp_path / "made")
    assert (tmp_path / "made" / "mine" / "_mined.json").exists()
    folder = shutil.copytree(
        tmp_path / "made", tmp_path / "run"
    )  # the jobs hold the store of the other in this process
    texts = [GONE, *(pair(3, part)[side] for part in range(4) for side in ("q", "p"))]
    assert forget(RunFolder(str(folder)), [Asked(kind="url", name=GONE)], Choices()).left == {}
    assert places_of(folder, *texts) == []
    run_here(recipe, folder)
    assert places_of(folder, *texts) == []
    assert read_manifest(str(folder / "pack")) is not None


def test_a_shared_cache_of_decoded_shards_loses_those_of_this_run(tmp_path, tiny_model):
    from trainer.packed_columns import name_in_cache

    write_corpus(tmp_path / "in", count=8)
    cache = tmp_path / "cache"
    settings = {"model": tiny_model, "data_cache": str(cache), "steps": 2}
    recipe = write_recipe(
        tmp_path / "r.yaml", tmp_path / "in", tiny_model, None, train=settings, score=None, mine=None, report=None
    )
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(recipe, folder / "recipe.yaml")
    for job in ("extract", "dedup", "pack"):
        execute(str(recipe), RunFolder(str(folder)), job)
    mine, others = cache / name_in_cache(folder / "pack"), cache / "pack-00000000"
    for each in (mine, others):
        each.mkdir(parents=True)
        (each / "tokens.npy").write_bytes(b"tokens")
    forget(RunFolder(str(folder)), [Asked(kind="url", name=GONE)], Choices())
    assert (mine.exists(), others.exists()) == (False, True)
    assert lineage_of(RunFolder(str(folder)), [GONE], [], [], None, None).uses == []

"""What job synthesize leaves out before it asks, what it carries on, and what it asks again."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.errors import UserError
from pipelines.job import PAIRS
from pipelines.manifest import read_manifest
from pipelines.progress import TaskProgress
from pipelines.question_carried import write_carried
from pipelines.shards import ShardFile
from pipelines.transforms import Task
from sources.schema import PAIR, make_pairs
from synth.chat_request import FAILURES
from tests.pipelines.synthesize_runs import (
    document,
    good_question,
    paragraph,
    rows_of,
    run_here,
    write_documents,
    write_recipe,
)
from tests.synth.batch_server import BatchServer
from tests.synth.scripted_server import Good, ScriptedServer, Status

GERMAN = (
    "Wer im Hafen von {} einen Speicher pachten wollte, musste dem Rat der Stadt drei Bürgen nennen und eine Abgabe "
    "zahlen, die nach der Länge der Kaimauer bemessen wurde. Die Fischer beschwerten sich vergeblich darüber, denn der "
    "Vogt brauchte das Geld für den neuen Leuchtturm, dessen Feuer auch bei Nebel zu sehen war."
)
ALL_TRAIN = {"counts": {"train": 40, "dev": 0, "test": 0, "distractors": 0}}


def write_rows(folder: Path, rows: list[dict]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def untranslated(number: int) -> dict[str, str]:
    """An English document with two German paragraphs around one of its own."""
    own = document(number, 1)
    return own | {"text": "\n\n".join([GERMAN.format("Emden"), own["text"], GERMAN.format("Husum")])}


def details_of(run: Path) -> dict:
    return read_manifest(str(run / "synthesize")).details


def test_nobody_is_asked_about_parts_in_another_language_than_their_document(tmp_path):
    german = {"id": "g", "title": "Häfen", "text": GERMAN.format("Emden") + "\n\n" + GERMAN.format("Husum")}
    rows = [untranslated(number) for number in range(8)]
    own = {"id": "h", "text": GERMAN.format("Wismar"), "language": "de"}
    write_rows(tmp_path / "in", [*rows, german | {"language": "en"}, own])
    with ScriptedServer(lambda asked: Good("Quoi?") if "Hafen" in asked.prompt else good_question(asked)) as server:
        recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "in", server.url, sampling=ALL_TRAIN)
        run_here(recipe, tmp_path / "run")
        assert sum("Hafen von" in asked.prompt for asked in server.asked) == 1  # that of the document in German
    questions = rows_of(tmp_path / "run", "questions")
    assert sorted(row["paragraph"] for row in questions) == sorted(document(n, 1)["text"] for n in range(8))
    passed_over = details_of(tmp_path / "run")["in_other_language"]
    assert set(passed_over) == {"eng_Latn"}
    assert passed_over["eng_Latn"] >= 2  # at least both of the document that is wholly in German


def test_a_changed_bound_for_languages_looks_at_the_paragraphs_again(tmp_path):
    write_rows(tmp_path / "in", [untranslated(number) for number in range(12)])
    german = []
    with ScriptedServer(lambda asked: good_question(asked) if "harbour" in asked.prompt else Good("Was?")) as server:
        for least in (100_000, 20):
            checks = {"checks": {"min_language_characters": least}}
            recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "in", server.url, sampling=ALL_TRAIN, **checks)
            run_here(recipe, tmp_path / "run")
            texts = [row["text"] for row in rows_of(tmp_path / "run", "paragraphs")]
            german.append(sum("Hafen von" in text for text in texts))
    assert german[0] > 0
    assert german[1] == 0


def test_pairs_of_documents_that_test_are_not_trained_on(tmp_path):
    articles = tmp_path / "english"
    rows = [
        {"id": f"n{number}", "title": f"Harbours, part {number}", "summary": f"On harbours {number}"}
        | {"text": paragraph("Arbon", 1500 + number), "url": ""}
        for number in range(20)
    ]
    rows += [row | {"id": f"copy of {row['id']}"} for row in rows]
    articles.mkdir()
    (articles / "english_train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = {"counts": {"train": 4, "dev": 3, "test": 3, "distractors": 20}}
    with ScriptedServer(good_question) as server:
        recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "unused", server.url, sampling=counts, near=None)
        content = yaml.safe_load(recipe.read_text())
        content["sources"] = [{"source": "xlsum", "paths": [f"{articles}/*.jsonl"], "documents": True}]
        recipe.write_text(yaml.safe_dump(content))
        run_here(recipe, tmp_path / "run")
    text_of = {row["document_id"]: row["text"] for row in rows_of(tmp_path / "run", "documents")}
    chosen = {row["document_id"]: row["split"] for row in rows_of(tmp_path / "run", "documents")}
    held_out = {text_of[name] for name, split in chosen.items() if split in ("dev", "test")}
    assert len(held_out) >= 4
    extracted = rows_of(tmp_path / "run", "pairs", "extract")
    carried = [row for row in rows_of(tmp_path / "run", "pairs") if row["kind"] != "synthetic_longdoc"]
    by_text = {f"xlsum:{row['id']}": " ".join(row["text"].split()) for row in rows}
    wanted = [row for row in extracted if by_text[row["document_id"]] not in held_out]
    assert 0 < len(wanted) < len(extracted)
    assert carried == wanted
    assert details_of(tmp_path / "run")["pairs_left_out"] == len(extracted) - len(wanted)


@pytest.mark.parametrize("links", [True, False])
def test_a_shard_without_documents_that_test_stays_the_same_file(tmp_path, monkeypatch, links):
    if not links:

        def refuse(path, source):
            raise OSError("this file system has no links")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    pairs, _ = make_pairs(
        query=pa.array(["first title", "second title", "third title"]),
        positive=pa.array(["first body", "second body", "third body"]),
        kind="title_body",
        source="s",
        document_id=pa.array(["a", "b", "c"]),
    )
    extracted = tmp_path / "extract" / "pairs" / "s-0.parquet"
    extracted.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_batches([pairs]).cast(PAIR), extracted)
    before = extracted.read_bytes()
    file = ShardFile(role=PAIRS, path="pairs/s-0.parquet", rows=3, bytes=len(before), sha256="0" * 64)
    target = tmp_path / "synthesize" / "pairs" / "s-0.parquet"
    progress = TaskProgress(str(tmp_path / "synthesize"), "carried-s-0")
    for held_out, expected in ((["t\x00a"], ["a", "b", "c"]), (["s\x00a"], ["b", "c"]), ([], ["a", "b", "c"])):
        task = Task("carried-s-0", "f", (file, str(extracted)))
        part = write_carried(str(tmp_path / "synthesize"), pa.array(held_out, pa.string()), task, progress)
        assert pq.read_table(target)["document_id"].to_pylist() == expected
        assert part.files[0].rows == len(expected)
        assert extracted.read_bytes() == before
    assert (target.stat().st_nlink == 2) is links


def test_what_the_server_never_answered_is_asked_again_and_nothing_old_stays(tmp_path):
    write_documents(tmp_path / "in", 12)
    broken = True

    def script(asked):
        return Status(500, "broken") if broken and "Arbon" in asked.prompt else good_question(asked)

    with ScriptedServer(script) as server:
        client = {"attempts": 2, "stop_after_failures": 100}
        recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "in", server.url, sampling=ALL_TRAIN, client=client)
        run_here(recipe, tmp_path / "run")
        assert read_manifest(str(tmp_path / "run" / "synthesize")).dropped == {"gave_up": 2}
        broken, paid = False, server.billed.total()
        run_here(recipe, tmp_path / "run")
        assert server.billed.total() == paid + 2
    assert read_manifest(str(tmp_path / "run" / "synthesize")).dropped == {}
    assert len(rows_of(tmp_path / "run", "questions")) == len(rows_of(tmp_path / "run", "pairs")) == 12


def test_a_run_without_any_good_question_ends_with_its_reasons(tmp_path):
    write_documents(tmp_path / "in", 12)
    with ScriptedServer(lambda asked: Good("", refusal="No.")) as server:
        run_here(write_recipe(tmp_path / "r.yaml", tmp_path / "in", server.url), tmp_path / "run")
    assert set(read_manifest(str(tmp_path / "run" / "synthesize")).dropped) == {"refused"} <= set(FAILURES)
    assert rows_of(tmp_path / "run", "questions") == rows_of(tmp_path / "run", "pairs") == []


def test_where_no_paragraph_is_in_the_documents_language_the_error_says_so(tmp_path):
    rows = [{"id": n, "text": GERMAN.format(n) + "\n\n" + GERMAN.format("Husum"), "language": "en"} for n in range(4)]
    write_rows(tmp_path / "in", rows)
    recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "in", "http://127.0.0.1:9/v1", sampling=ALL_TRAIN)
    with pytest.raises(UserError, match="in another language than their document were passed over: 8 of eng_Latn"):
        run_here(recipe, tmp_path / "run")


def test_batches_lie_in_the_run_and_none_waits_for_the_one_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "in", 40)
    with BatchServer(good_question) as server:
        batch = {"poll_seconds": 0.01, "most_requests": 6}
        recipe = write_recipe(tmp_path / "r.yaml", tmp_path / "in", server.url, batch=batch, block=3)
        run_here(recipe, tmp_path / "run")
    assert sorted(server.lines_of_a_batch) == [4, 6]
    assert not (tmp_path / "batches").exists()
    assert (tmp_path / "run" / "synthesize" / "_asked" / "batches").is_dir()


def test_a_shard_of_distractors_alone_has_no_questions(tmp_path):
    write_documents(tmp_path / "in", 8, files=8)
    counts = {"counts": {"train": 2, "dev": 0, "test": 0, "distractors": 6}}
    with ScriptedServer(good_question) as server:
        run_here(write_recipe(tmp_path / "r.yaml", tmp_path / "in", server.url, sampling=counts), tmp_path / "run")
    assert len(rows_of(tmp_path / "run", "documents")) == 8
    assert len(rows_of(tmp_path / "run", "questions")) == 2

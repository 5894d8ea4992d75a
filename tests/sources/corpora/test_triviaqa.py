"""TriviaQA: questions with the files of evidence beside them, without them, and hub rows."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sources.catalogue import load_source
from sources.corpora.triviaqa import PASSAGE, best_passage
from sources.source import SourceError
from tests.sources.reading_all import Everything, write

QUESTION = "Which machine grinds grain beside rivers?"
MILL = "Mill\nGrain is old.\nBeside rivers stands the water mill, a machine that grinds grain.\nA millstone is round.\n"
BLOG = "I like windmills.\nThey told me: water mill!\n"
RECORD = {
    "Question": QUESTION,
    "QuestionId": "tc_1",
    "Answer": {"Value": "Mill", "Aliases": ["Water mill", "mill", "Mill"], "NormalizedValue": "mill"},
    "EntityPages": [{"Filename": "Mill.txt", "Title": "Mill"}],
    "SearchResults": [
        {"Filename": "1/1_2.txt", "Title": "A blog", "Url": "http://blog/1", "Description": "All about the mill ..."},
        {"Filename": "1/1_3.txt", "Title": "Windmills", "Url": "http://blog/2", "Description": "Windmills only"},
    ],
}


def questions(*records: Any) -> str:
    return json.dumps({"Data": records, "Domain": "Web", "Version": 1.0}, indent=1)


@pytest.fixture
def evidence(tmp_path: Path) -> list[Path]:
    files = {"wikipedia/Mill.txt": MILL, "web/1/1_2.txt": BLOG, "web/1/1_3.txt": "Windmills turn.\n"}
    for name, text in files.items():
        path = tmp_path / "evidence" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [tmp_path / "evidence" / name for name in files]


def test_passages_of_the_evidence_that_hold_the_answer_are_positives(tmp_path: Path, evidence: list[Path]) -> None:
    found = Everything("triviaqa", [*evidence, write(tmp_path / "web-train.json", questions(RECORD))])
    assert [(pair["positive"], pair["kind"], pair["document_id"], pair["url"]) for pair in found.pairs] == [
        ("Mill", "question_answer", "triviaqa:tc_1", None),
        (
            "Beside rivers stands the water mill, a machine that grinds grain.",
            "question_context",
            "triviaqa:wikipedia/Mill.txt",
            None,
        ),
        ("They told me: water mill!", "question_context", "triviaqa:web/1/1_2.txt", "http://blog/1"),
    ]
    assert {pair["query"] for pair in found.pairs} == {QUESTION}
    assert (found.records, found.quarantine) == (1, [])


def test_whole_documents_and_snippets_are_chosen_by_settings(tmp_path: Path, evidence: list[Path]) -> None:
    file = write(tmp_path / "web-train.json", questions(RECORD))
    whole = Everything("triviaqa", [file, *evidence], evidence="document", kinds=["question_context"])
    assert [positive for _, positive in whole.sides] == [
        " ".join(text.split()) for text in (MILL, BLOG, "Windmills turn.")
    ]
    shown = Everything("triviaqa", file, snippets=True, kinds=["question_context"])
    assert shown.sides == [(QUESTION, "A blog All about the mill ...")]


def test_without_evidence_there_are_the_answers_only(tmp_path: Path) -> None:
    found = Everything("triviaqa", write(tmp_path / "web-train.json", questions(RECORD, RECORD | {"Answer": None})))
    assert found.sides == [(QUESTION, "Mill")]
    assert (found.records, found.quarantine) == (2, [])


def test_evidence_that_is_not_given_is_quarantined_unless_it_was_never_released(
    tmp_path: Path, evidence: list[Path]
) -> None:
    wikipedia, blog, _ = evidence
    text = questions(RECORD, RECORD | {"EntityPages": [{"Filename": "../../secret.txt"}]})
    write(tmp_path / "secret.txt", "The mill is secret.")
    found = Everything("triviaqa", [wikipedia, blog, write(tmp_path / "web-train.json", text)])
    assert found.reasons == [("entry", 1, "missing_evidence"), *[("entry", 2, "missing_evidence")] * 2]
    assert "web/1/1_3.txt is none of the files given" in found.quarantine[0]["excerpt"]
    assert not any("secret" in positive for _, positive in found.sides)
    # Without any file of a folder, none is expected; of the unfiltered questions most have none.
    assert Everything("triviaqa", [wikipedia, write(tmp_path / "web-dev.json", questions(RECORD))]).quarantine == []
    assert Everything("triviaqa", [*evidence, write(tmp_path / "unfiltered-web-dev.json", text)]).quarantine == []


def test_questions_are_told_from_evidence_by_the_folders(tmp_path: Path, evidence: list[Path]) -> None:
    source = load_source("triviaqa")
    paths = [str(path) for path in (*evidence, tmp_path / "qa/web-dev.json", tmp_path / "qa/wikipedia-dev.json")]
    files = {file.path: file.companions for file in source.gather(paths, source.Settings())}
    assert files == {paths[3]: tuple(paths[:3]), paths[4]: (paths[0],)}
    with pytest.raises(SourceError, match="no questions beside them"):
        source.gather(paths[:3], source.Settings())


def test_records_that_cannot_be_used_are_quarantined(tmp_path: Path) -> None:
    bad = [
        {"Answer": {}},
        RECORD | {"Answer": "mill"},
        RECORD | {"EntityPages": ["Mill.txt"]},
        RECORD | {"SearchResults": [{"Filename": 3}]},
        RECORD | {"Answer": {"Value": "Mill", "Aliases": {}}},
    ]
    found = Everything("triviaqa", write(tmp_path / "web-train.json", questions(*bad, RECORD)))
    assert found.reasons == [("entry", 1, "missing_field")] + [
        ("entry", number, "wrong_type") for number in range(2, 6)
    ]
    assert found.sides == [(QUESTION, "Mill")]


def test_rows_of_a_hub_hold_their_evidence(tmp_path: Path) -> None:
    row = {
        "question": QUESTION,
        "question_id": "tc_1",
        "answer": {"value": "Mill", "aliases": ["Water mill"]},
        "entity_pages": {"filename": ["Mill.txt"], "title": ["Mill"], "wiki_context": [MILL]},
        "search_results": {
            "filename": ["1/1_2.txt"],
            "title": ["A blog"],
            "url": ["http://blog/1"],
            "description": ["d"],
            "search_context": [BLOG],
        },
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    found = Everything("triviaqa", tmp_path / "a.parquet")
    assert [positive for _, positive in found.sides] == [
        "Mill",
        "Beside rivers stands the water mill, a machine that grinds grain.",
        "They told me: water mill!",
    ]
    assert [pair["url"] for pair in found.pairs] == [None, None, "http://blog/1"]


def test_a_long_passage_is_cut_around_the_answer_between_words() -> None:
    words = [f"word{number}" for number in range(1000)]
    words[600] = "mill"
    passage = best_passage(" ".join(words), "what?", ["mill"])
    assert passage is not None
    assert PASSAGE - 20 < len(passage) <= PASSAGE
    assert passage.split(" ") == words[words.index(passage.split(" ")[0]) :][: len(passage.split(" "))]
    assert " mill " in passage
    assert best_passage("windmills and millstones", "what mills?", ["mill"]) is None


def test_a_page_named_twice_makes_one_pair(tmp_path: Path, evidence: list[Path]) -> None:
    page = {"Filename": "Mill.txt"}
    question = {"Question": "Who mills?", "Answer": {"Value": "miller"}, "EntityPages": [page, page]}
    folder = tmp_path / "twice" / "evidence" / "wikipedia"
    folder.mkdir(parents=True)
    files = [
        write(folder / "Mill.txt", "The miller mills."),
        write(tmp_path / "twice" / "wikipedia-train.json", json.dumps({"Data": [question]})),
    ]
    assert Everything("triviaqa", files, kinds=["question_context"]).sides == [("Who mills?", "The miller mills.")]

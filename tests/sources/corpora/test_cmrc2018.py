"""CMRC 2018 in its own layout and squad-style."""

import json
from pathlib import Path

from tests.sources.reading_all import Everything, write

CONTEXT = "水磨坊建于1962年，位于河边。"
GOOD = {
    "context_id": "DEV_0",
    "context_text": CONTEXT,
    "title": "水磨坊",
    "qas": [
        {"query_id": "DEV_0_QUERY_0", "query_text": "水磨坊在哪里？", "answers": ["河边", "河边", "位于河边"]},
        {"query_id": "DEV_0_QUERY_1", "query_text": "哪年建的？", "answers": [1962, "1962年"]},
        {"query_id": "DEV_0_QUERY_2", "answers": ["x"]},
        {"query_id": "DEV_0_QUERY_3", "query_text": ["?"], "answers": ["x"]},
    ],
}


def test_questions_pair_with_their_paragraph_and_their_answers(tmp_path: Path) -> None:
    file = write(tmp_path / "cmrc2018_dev.json", json.dumps([GOOD, {"context_id": "DEV_1", "qas": []}]))
    found = Everything("cmrc2018", file)
    assert found.sides == [("水磨坊在哪里？", CONTEXT), ("哪年建的？", CONTEXT)]
    pair = found.pairs[0]
    assert (pair["kind"], pair["document_id"], pair["query_lang"]) == (
        "question_context",
        "cmrc2018:水磨坊",
        "zho_Hans",
    )
    assert found.reasons == [
        ("entry", 1, "missing_field"),
        ("entry", 1, "wrong_type"),
        ("entry", 2, "missing_field"),
    ]
    answers = Everything("cmrc2018", file, kinds=["question_answer"])
    assert [positive for _, positive in answers.sides] == ["河边", "位于河边", "1962", "1962年"]


def test_a_paragraph_without_a_title_is_named_by_its_number(tmp_path: Path) -> None:
    found = Everything("cmrc2018", write(tmp_path / "a.json", json.dumps([GOOD | {"title": ""}])))
    assert found.pairs[0]["document_id"] == "cmrc2018:DEV_0"


def test_the_squad_style_file_names_the_same_document(tmp_path: Path) -> None:
    question = {"id": "TRIAL_0_QUERY_0", "question": "水磨坊在哪里？", "answers": [{"text": "河边"}]}
    article = {
        "id": "TRIAL_0",
        "title": "水磨坊",
        "paragraphs": [{"id": "TRIAL_0", "context": CONTEXT, "qas": [question]}],
    }
    found = Everything("cmrc2018", write(tmp_path / "a.json", json.dumps({"version": "v1.0", "data": [article]})))
    assert found.sides == [("水磨坊在哪里？", CONTEXT)]
    assert (found.pairs[0]["document_id"], found.pairs[0]["positive_lang"]) == ("cmrc2018:水磨坊", "zho_Hans")
